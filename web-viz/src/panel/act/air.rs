//! The list of messages in transit with their actions.

use raft_core::types::EventId;
use raft_core::view::Flight;
use yew::prelude::*;

use super::ActProps;
use crate::domain::actions::{ClusterAction, LATER, MessageAction};
use crate::domain::run::SourceKind;
use crate::model::{Action, UiAction};

/// The maximum number of listed messages; the newest come first.
const LISTED: usize = 8;

/// The messages to and from the chosen server, or all. They are listed only while the clock stands,
/// because messages are faster than the user.
pub(super) fn air(props: &ActProps) -> Html {
    if props.source != SourceKind::Simulate {
        return html! {};
    }
    let concerns = |flight: &Flight| {
        let ends = [flight.message.from, flight.message.to];
        props.selected.is_none_or(|node| ends.contains(&node))
    };
    let all = props.cluster.view.messages.iter().rev();
    let flying = all.filter(|(id, flight)| {
        flight.end.is_none() && (concerns(flight) || props.message == Some(**id))
    });
    let flying: Vec<_> = flying.take(LISTED).collect();
    html! {
        <>
            <h3>{ "Messages in transit" }</h3>
            if props.playing {
                <p class="hint">{ "Pause to lose, hold, delay or duplicate them here." }</p>
            } else if flying.is_empty() {
                <p class="hint">{ "There are none." }</p>
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
    let pick = props.dispatch.reform(move |_: MouseEvent| Action::Ui(UiAction::Pick(id)));
    let hold = if flight.held {
        ("Release", MessageAction::Release, "release")
    } else {
        ("Hold", MessageAction::Hold, "hold")
    };
    let button = |(label, action, testid): (&'static str, MessageAction, &'static str)| {
        let onclick = props
            .dispatch
            .reform(move |_: MouseEvent| Action::Cluster(ClusterAction::Message(id, action)));
        html! {
            <button
                type="button"
                class="button link-action"
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
            <button
                type="button"
                class="message-name"
                aria-pressed={(props.message == Some(id)).to_string()}
                data-testid="message-pick"
                onclick={pick}
            >
                { words.clone() }
            </button>
            { button(("Lose", MessageAction::Drop, "drop")) }
            { button(hold) }
            { button(("Delay", MessageAction::Delay(LATER), "delay")) }
            { button(("Twice", MessageAction::Duplicate, "duplicate")) }
        </li>
    }
}
