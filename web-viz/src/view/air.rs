//! Messages on their way, and what can be done to each.

use raft_core::types::{EventId, NodeId};
use raft_core::view::Flight;
use yew::prelude::*;

use super::act::ActProps;
use crate::model::Action;
use crate::model::deeds::{Deed, MessageDeed};
use crate::source::SourceKind;

/// Messages that are listed; the newest first.
const LISTED: usize = 8;

/// A message that is delayed arrives so much later, in µs.
const LATER: u64 = 50_000;

/// The messages to and from a server, while the clock stands: no hand is quicker than a message.
pub(super) fn air(node: NodeId, props: &ActProps) -> Html {
    if props.source != SourceKind::Simulate {
        return html! {};
    }
    let flying = props.known.view.messages.iter().rev().filter(|(_, flight)| {
        let concerns = [flight.message.from, flight.message.to].contains(&node);
        flight.end.is_none() && concerns
    });
    let flying: Vec<_> = flying.take(LISTED).collect();
    html! {
        <>
            <h3>{ "Messages on their way" }</h3>
            if props.playing {
                <p class="hint">{ "Pause, and lose, hold, delay or double them here." }</p>
            } else if flying.is_empty() {
                <p class="hint">{ "None to or from this server." }</p>
            } else {
                <ul class="air" data-testid="air">
                    { for flying.into_iter().map(|(id, flight)| row(*id, flight, props)) }
                </ul>
            }
        </>
    }
}

fn row(id: EventId, flight: &Flight, props: &ActProps) -> Html {
    let message = &flight.message;
    let words = format!("{} {} → {}", message.body.name(), message.from, message.to);
    let hold = if flight.held {
        ("Release", MessageDeed::Release, "release")
    } else {
        ("Hold", MessageDeed::Hold, "hold")
    };
    let button = |(label, deed, testid): (&'static str, MessageDeed, &'static str)| {
        let onclick =
            props.dispatch.reform(move |_: MouseEvent| Action::Deed(Deed::Message(id, deed)));
        html! {
            <button
                type="button"
                class="button link-deed"
                aria-label={format!("{label}: {words}")}
                data-testid={format!("message-{testid}")}
                {onclick}
            >
                { label }
            </button>
        }
    };
    html! {
        <li key={format!("{id}")} class={classes!(flight.held.then_some("held"))}>
            <span>{ words.clone() }</span>
            { button(("Lose", MessageDeed::Drop, "drop")) }
            { button(hold) }
            { button(("Later", MessageDeed::Delay(LATER), "delay")) }
            { button(("Twice", MessageDeed::Duplicate, "duplicate")) }
        </li>
    }
}
