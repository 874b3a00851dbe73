//! A server: a disc in the colour of its term; the shape shows its role.

use raft_core::event::{RoleName, Timer};
use yew::prelude::*;

use crate::dispatch::Dispatch;
use crate::domain::cluster::Presence;
use crate::model::{Action, UiAction};
use crate::num::{px, real};
use crate::panel::parts::{choose_server, term_class};
use crate::scene::layout::{LINE, Point};
use crate::scene::server::{Arc, Ballot, ServerMark};

/// Draws a server. While a menu is `open`, a press belongs to the menu.
pub(super) fn server(mark: &ServerMark, open: bool, dispatch: &Dispatch) -> Html {
    let (id, selected) = (mark.id, mark.selected);
    let choose = {
        let dispatch = dispatch.clone();
        move |also| {
            if !open {
                dispatch.emit(choose_server(id, selected, also));
            }
        }
    };
    let menu = dispatch.reform(move |()| Action::Ui(UiAction::Menu(Some(id))));
    let onclick = Callback::from({
        let choose = choose.clone();
        move |event: MouseEvent| choose(event.shift_key())
    });
    let oncontextmenu = menu.reform(|event: MouseEvent| event.prevent_default());
    let ondblclick = menu.reform(|_: MouseEvent| ());
    let onkeydown = Callback::from(move |event: KeyboardEvent| {
        match (event.key().as_str(), event.shift_key()) {
            ("Enter" | " ", also) => choose(also),
            ("ContextMenu", _) | ("F10", true) => menu.emit(()),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    });
    html! {
        <g
            key={id.0}
            class={classes!(
                "server",
                role(mark),
                presence(mark.presence),
                term_class(mark.term),
                selected.then_some("selected"),
            )}
            transform={format!("translate({} {})", px(mark.spot.at.x), px(mark.spot.at.y))}
            role="button"
            tabindex="0"
            aria-label={mark.words.clone()}
            aria-pressed={selected.to_string()}
            data-testid={format!("server-{id}")}
            data-role={role(mark)}
            data-presence={presence(mark.presence)}
            data-term={mark.term.to_string()}
            aria-haspopup="menu"
            {onclick}
            {oncontextmenu}
            {ondblclick}
            {onkeydown}
        >
            <circle class="hit" r={px((mark.disc + 17.0).max(24.0))} />
            if selected {
                <circle class="halo" r={px(mark.disc + 22.0)} />
            }
            if let Some(arc) = mark.timer {
                { timer(arc, mark.disc) }
            }
            { disc(mark) }
            { face(mark) }
            if let Some(ballot) = &mark.votes {
                { votes(ballot, mark.spot.at) }
            }
            if mark.writing {
                { disk(mark.disc) }
            }
            if mark.holds {
                { holds(mark.disc) }
            }
            { label(mark) }
        </g>
    }
}

const fn role(mark: &ServerMark) -> &'static str {
    match (mark.presence, mark.role) {
        (Presence::Down | Presence::Unreachable, _) => "none",
        (_, RoleName::Leader) => "leader",
        (_, RoleName::Candidate) => "candidate",
        (_, RoleName::PreCandidate) => "pre-candidate",
        (_, RoleName::Follower) => "follower",
    }
}

const fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Up => "up",
        Presence::Frozen => "frozen",
        Presence::Down => "down",
        Presence::Unreachable => "unreachable",
    }
}

/// The remaining part of the timer, which drains clockwise.
fn timer(arc: Arc, disc: f64) -> Html {
    let radius = px(disc + 9.0);
    let kind = match arc.timer {
        Timer::Election if arc.left < 0.25 => "timer election urgent",
        Timer::Election => "timer election",
        Timer::Heartbeat => "timer heartbeat",
    };
    html! {
        <g class={kind} aria-hidden="true">
            <circle class="track" r={radius.clone()} />
            <circle
                class="left"
                r={radius}
                pathLength="100"
                stroke-dasharray={format!("{} 101", px(arc.left * 100.0))}
                transform="rotate(-90)"
            />
        </g>
    }
}

fn disc(mark: &ServerMark) -> Html {
    let radius = px(mark.disc);
    html! {
        <g class="disc">
            <circle class="plate" r={radius.clone()} />
            if matches!(mark.presence, Presence::Down | Presence::Unreachable) {
                <circle class="hatched" r={radius} />
            } else if mark.role == RoleName::Leader {
                <circle class="inner" r={px(mark.disc - 4.5)} />
            }
        </g>
    }
}

fn face(mark: &ServerMark) -> Html {
    let size = mark.disc * 0.5;
    let name = format!("font-size:{}px", px(size.max(13.0)));
    let small = format!("font-size:{}px", px((mark.disc * 0.29).max(10.0)));
    html! {
        <g class="face">
            <text class="name" style={name} y={px(-mark.disc * 0.12)}>{ mark.id.to_string() }</text>
            <text class="term" style={small} y={px(mark.disc * 0.44)}>
                { format!("T{}", mark.term) }
            </text>
            if mark.role == RoleName::Leader && matches!(mark.presence, Presence::Up | Presence::Frozen) {
                { crown(mark.disc) }
            }
            if mark.presence == Presence::Frozen {
                <g class="bars" transform={format!("translate({} {})", px(mark.disc * 0.72), px(-mark.disc * 0.72))}>
                    <circle r="11" />
                    <path d="M-3 -5v10M3 -5v10" />
                </g>
            }
        </g>
    }
}

/// A crown on the rim marks the leader, also from a distance and in print.
fn crown(disc: f64) -> Html {
    let scale = (disc / 44.0).max(0.62);
    html! {
        <g class="crown" transform={format!("translate(0 {}) scale({})", px(-disc - 5.0), px(scale))}>
            <path d="M-17 4L-20 -15L-9.5 -6.5L0 -20L9.5 -6.5L20 -15L17 4z" />
        </g>
    }
}

fn votes(ballot: &Ballot, own: Point) -> Html {
    let dot = |(at, answer): &(Point, Option<bool>)| {
        let place = format!("translate({} {})", px(at.x - own.x), px(at.y - own.y));
        match answer {
            Some(true) => html! {
                <g class="ballot yes" transform={place}>
                    <circle r="7.5" /><path d="M-3.4 .2L-1 2.8L3.6 -2.6" />
                </g>
            },
            Some(false) => html! {
                <g class="ballot no" transform={place}><circle r="7.5" /><path d="M-3.2 0h6.4" /></g>
            },
            None => html! { <g class="ballot open" transform={place}><circle r="4" /></g> },
        }
    };
    html! { <g class="votes" data-testid="votes">{ for ballot.dots.iter().map(dot) }</g> }
}

/// Shows that a disk write is pending.
fn disk(disc: f64) -> Html {
    let offset = px(disc * 0.76);
    html! {
        <g class="disk" transform={format!("translate({offset} {offset})")} data-testid="fsync">
            <circle r="11" />
            <path d="M-5 -3.5a5 2 0 0 1 10 0v7a5 2 0 0 1 -10 0zM-5 -3.5a5 2 0 0 0 10 0" />
        </g>
    }
}

/// Shows that the server's disk holds the chosen entry.
fn holds(disc: f64) -> Html {
    let offset = px(disc * 0.76);
    html! {
        <g class="holds" transform={format!("translate(-{offset} {offset})")} data-testid="holds">
            <circle r="9" />
            <path d="M-4 0l3 3.2L4.4 -3" />
        </g>
    }
}

fn label(mark: &ServerMark) -> Html {
    let x = px(mark.spot.label.x - mark.spot.at.x);
    let y = mark.spot.label.y - mark.spot.at.y;
    let title = mark.votes.as_ref().map_or_else(
        || mark.title.to_owned(),
        |ballot| format!("{}, {} of {}", mark.title, ballot.yes, ballot.needed),
    );
    html! {
        <g class="label" text-anchor={mark.spot.anchor.name()} aria-hidden="true">
            <text class="title" x={x.clone()} y={px(y)}>{ title }</text>
            { for mark.figures.iter().zip(1_u64..).map(|(figures, line)| html! {
                <text class="figures" x={x.clone()} y={px(y + LINE * real(line))}>{ figures }</text>
            }) }
        </g>
    }
}
