//! The legend of the message shapes, in one line.

use raft_core::message::MessageName;
use yew::prelude::*;

use super::flight::shape;

/// Shows the legend.
pub(crate) fn legend() -> Html {
    html! {
        <ul class="legend" aria-label="Messages">
            { entry(MessageName::RequestVote, "request", "V", "asks for a vote") }
            { entry(MessageName::Heartbeat, "request heartbeat", "H", "heartbeat") }
            { entry(MessageName::AppendEntries, "request", "A", "log entries") }
            { entry(MessageName::AppendEntriesReply, "reply", "+", "hollow: reply") }
        </ul>
    }
}

fn entry(
    name: MessageName,
    class: &'static str,
    letter: &'static str,
    words: &'static str,
) -> Html {
    html! {
        <li>
            <svg viewBox="-14 -14 28 28" width="22" height="22" aria-hidden="true">
                <g class={classes!("flight", class)}>
                    { shape(name, 9.0) }
                    <text class="letter" style="font-size:11.5px">{ letter }</text>
                </g>
            </svg>
            { words }
        </li>
    }
}
