//! A message in transit: shape and letter show its kind. A request is solid, a reply hollow with +
//! or −.

use raft_core::message::MessageName;
use yew::prelude::*;

use crate::num::px;
use crate::scene::traffic::{FlightMark, Phase};

/// Draws a message. `size` is half the size of the mark, in pixels; `name` is the label; `stop` is
/// whether the Tab key stops at it.
pub(super) fn flight(mark: &FlightMark, size: f64, name: &AttrValue, stop: bool) -> Html {
    let FlightMark { id, name: kind_of, reply, entries, at, tail, phase, .. } = mark;
    let key = id.to_string();
    let place = format!("translate({} {})", px(at.x), px(at.y));
    match *phase {
        Phase::Arrived { share } => html! {
            <circle
                {key}
                class="ripple"
                cx={px(at.x)}
                cy={px(at.y)}
                r={px(size * (0.6 + share))}
                opacity={px(1.0 - share)}
            />
        },
        Phase::Lost { share } => html! {
            <g {key} class="flight lost" transform={place} opacity={px(1.0 - share * share)}>
                <path d={cross(size * (0.75 + 0.35 * share))} />
            </g>
        },
        Phase::Moving => html! {
            <g
                key={key.clone()}
                class={classes!(
                    "flight",
                    kind(*kind_of),
                    tone(*reply),
                    mark.held.then_some("held"),
                    mark.chosen.then_some("chosen"),
                    mark.carries.then_some("carries"),
                )}
                role="button"
                tabindex={if stop { "0" } else { "-1" }}
                aria-label={name.clone()}
                aria-pressed={mark.chosen.to_string()}
                data-testid="flight"
                data-message={key}
            >
                <title>{ name }</title>
                <line
                    class="trail"
                    x1={px(tail.x)}
                    y1={px(tail.y)}
                    x2={px(at.x)}
                    y2={px(at.y)}
                />
                <g transform={place}>
                    <circle class="grip" r={px(size * 1.3 + 7.0)} />
                    if mark.chosen || mark.carries {
                        <circle class="ring" r={px(size * 1.3 + 7.0)} />
                    }
                    { shape(*kind_of, size) }
                    <text class="letter" style={format!("font-size:{}px", px(size * 1.25))}>
                        { letter(*kind_of, *reply) }
                    </text>
                    if *entries > 1 {
                        <text class="count" x={px(size + 3.0)} y={px(-size * 0.5)}>
                            { format!("×{entries}") }
                        </text>
                    }
                    if mark.held {
                        <path class="pin" d="M-2.5 -4v8M2.5 -4v8" transform={format!("translate({} {})", px(size + 7.0), px(size))} />
                    }
                </g>
            </g>
        },
    }
}

pub(in crate::panel) const fn kind(name: MessageName) -> &'static str {
    match name {
        MessageName::Heartbeat | MessageName::StateDigest => "heartbeat",
        MessageName::AppendEntries => "append",
        MessageName::AppendEntriesReply => "acknowledgement",
        MessageName::PreVote | MessageName::PreVoteReply => "pre-vote",
        MessageName::RequestVote | MessageName::RequestVoteReply => "vote",
        MessageName::InstallSnapshot | MessageName::InstallSnapshotReply => "snapshot",
        MessageName::TimeoutNow => "transfer",
        MessageName::ReadIndex | MessageName::ReadIndexReply => "read",
    }
}

pub(in crate::panel) const fn tone(reply: Option<bool>) -> &'static str {
    match reply {
        None => "request",
        Some(true) => "reply",
        Some(false) => "reply no",
    }
}

const fn letter(name: MessageName, reply: Option<bool>) -> &'static str {
    match reply {
        Some(true) => return "+",
        Some(false) => return "\u{2212}",
        None => {}
    }
    match name {
        MessageName::Heartbeat => "H",
        MessageName::AppendEntries | MessageName::AppendEntriesReply => "A",
        MessageName::PreVote | MessageName::PreVoteReply => "P",
        MessageName::RequestVote | MessageName::RequestVoteReply => "V",
        MessageName::InstallSnapshot | MessageName::InstallSnapshotReply => "S",
        MessageName::TimeoutNow => "T",
        MessageName::ReadIndex | MessageName::ReadIndexReply => "R",
        MessageName::StateDigest => "D",
    }
}

/// The outline of a kind of message, around the origin.
pub(in crate::panel) fn shape(name: MessageName, size: f64) -> Html {
    match name {
        MessageName::Heartbeat | MessageName::AppendEntriesReply | MessageName::StateDigest => {
            html! { <circle class="body" r={px(size * 0.88)} /> }
        }
        MessageName::AppendEntries => {
            let (corner, edge) = (px(-size), px(2.0 * size));
            html! {
                <rect
                    class="body"
                    x={corner.clone()}
                    y={corner}
                    width={edge.clone()}
                    height={edge}
                    rx="3"
                />
            }
        }
        MessageName::PreVote
        | MessageName::PreVoteReply
        | MessageName::RequestVote
        | MessageName::RequestVoteReply => {
            let reach = px(size * 1.38);
            html! { <path class="body" d={format!("M0 -{reach}L{reach} 0L0 {reach}L-{reach} 0z")} /> }
        }
        MessageName::TimeoutNow => {
            let (far, low) = (px(size * 1.4), px(size));
            html! { <path class="body" d={format!("M0 -{far}L{far} {low}L-{far} {low}z")} /> }
        }
        MessageName::ReadIndex | MessageName::ReadIndexReply => {
            let (far, low) = (px(size * 1.4), px(size));
            html! { <path class="body" d={format!("M0 {far}L{far} -{low}L-{far} -{low}z")} /> }
        }
        MessageName::InstallSnapshot | MessageName::InstallSnapshotReply => {
            let (far, half, high) = (px(size * 1.3), px(size * 0.65), px(size * 1.13));
            html! {
                <path
                    class="body"
                    d={format!(
                        "M-{far} 0L-{half} -{high}L{half} -{high}L{far} 0L{half} {high}L-{half} {high}z"
                    )}
                />
            }
        }
    }
}

fn cross(reach: f64) -> String {
    let reach = px(reach);
    format!("M-{reach} -{reach}L{reach} {reach}M-{reach} {reach}L{reach} -{reach}")
}
