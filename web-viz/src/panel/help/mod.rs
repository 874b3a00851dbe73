//! The help: how to read the picture, and the keyboard shortcuts.

use raft_core::message::MessageName;
use yew::prelude::*;

use super::dialog::use_dialog;
use super::parts::{Icon, glyph};
use super::scrub::{SIGNS, sign_glyph};
use crate::dispatch::Dispatch;
use crate::keys::KEYS;
use crate::model::{Action, Model, UiAction};

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    html! { <Help open={model.ui.help} dispatch={dispatch.clone()} /> }
}

/// Properties of [`Help`].
#[derive(PartialEq, Properties)]
pub(crate) struct HelpProps {
    pub(crate) open: bool,
    pub(crate) dispatch: Dispatch,
}

/// The help dialog.
#[component]
pub(crate) fn Help(props: &HelpProps) -> Html {
    let dialog = use_dialog(props.open);
    let close = props.dispatch.reform(|()| Action::Ui(UiAction::Help(false)));
    let onclose = close.reform(|_: Event| ());
    let onclick = close.reform(|_: MouseEvent| ());
    html! {
        <dialog class="help" ref={dialog} aria-labelledby="help-title" {onclose}>
            <div class="help-head">
                <h2 id="help-title">{ "How to read the picture" }</h2>
                <button type="button" class="button quiet" aria-label="Close" {onclick}>
                    { glyph(Icon::Close) }
                </button>
            </div>
            { picture() }
            <h2>{ "Keys" }</h2>
            <dl class="keys">
                { for KEYS.iter().map(|line| html! {
                    <div>
                        <dt>{ for line.keys.iter().map(|key| html! { <kbd>{ *key }</kbd> }) }</dt>
                        <dd>{ line.does }</dd>
                    </div>
                }) }
            </dl>
        </dialog>
    }
}

const PICTURE: &[(&str, &str)] = &[
    (
        "Term",
        "Time is divided into terms, each with at most one leader. A server's number and colour \
         show the term that it knows. After an election the others change to the new colour.",
    ),
    (
        "Leader",
        "A full disc with a double ring and a crown. It accepts all writes and sends heartbeats.",
    ),
    (
        "Candidate",
        "A dashed disc. Dots at its rim point to the other servers and show their votes. Ticked: \
         yes. Barred: no. Small: unknown. A dotted disc is a pre-candidate, which asks whether it \
         could win.",
    ),
    (
        "Arc",
        "The election timer. Each heartbeat resets it; when it expires, the server starts an \
         election. Timeouts are random, so two servers seldom start at once.",
    ),
    (
        "Messages",
        "They move along the links while they are in transit. Requests are solid, replies hollow \
         with + or −. A lost message ends in a cross.",
    ),
    (
        "Gestures",
        "Draw a stroke across the ring to separate servers. Pull a message back along its lane to \
         delay it, flick it away to lose it. With the shift key it arrives twice. Press a server \
         twice, or rest on it with a finger, for its menu.",
    ),
    (
        "Chosen",
        "Every view marks what you choose, and the inspector shows all that is known of it. It \
         also marks each new value, with the old value. A tick at a server: its disk holds the \
         chosen entry. A dashed ring around a message: it carries the entry.",
    ),
    (
        "Messages in time",
        "Opens at the bottom. A lane is a server, an arrow a message from its sending to its \
         arrival. The right edge is now. A lane is thick for the leader, dashed for a candidate, \
         dotted for a pre-candidate, faint while down. A full dot: the leader sees a majority. A \
         ring: a follower learns of it.",
    ),
    (
        "Log",
        "A row is a server, a column an index. Dashed: proposed. Solid: committed, and never lost. \
         Filled: applied to the store. Underlined: on that server's disk. Choose a column to see \
         which disks count for its majority.",
    ),
    (
        "Down, frozen, cut off",
        "A hatched disc is down. Two bars: frozen; it later resumes as if no time had passed. A \
         bar across a link: no message passes.",
    ),
    ("Disk", "A small cylinder shows that a write to that server's disk is pending."),
    (
        "Faults",
        "On the left: a server with its disk, clock and links; the network; the members; the \
         rules. A button that cannot work now says why.",
    ),
    (
        "Events",
        "Choose an event to see its causes, back to an external cause. Each step has its rule, the \
         rule's section and its line in the core.",
    ),
    (
        "Safe so far",
        "The page checks Raft's properties after every event. Press the chip for the list. The \
         clock stops at the first violation.",
    ),
    (
        "Live",
        "Real servers, shown with a short delay to wait for the events of all. The delay is below \
         the clock. Pause or go back at any time: the cluster runs on, and End shows the present. \
         Actions apply to the cluster as it is now.",
    ),
    (
        "Linearizable",
        "The client's bars run from call to answer. Full: a write. Hollow: a read. Torn off: no \
         answer yet. The verdict says whether a single order explains all answers.",
    ),
];

fn picture() -> Html {
    let shapes = [
        (MessageName::PreVote, "P", "asks whether it would get a vote"),
        (MessageName::RequestVote, "V", "asks for a vote"),
        (MessageName::Heartbeat, "H", "heartbeat"),
        (MessageName::AppendEntries, "A", "log entries"),
        (MessageName::InstallSnapshot, "S", "chunk of a snapshot"),
    ];
    html! {
        <>
            <dl class="meanings">
                { for PICTURE.iter().map(|(name, meaning)| html! {
                    <div><dt>{ *name }</dt><dd>{ *meaning }</dd></div>
                }) }
            </dl>
            <h2>{ "The tape at the bottom" }</h2>
            <p>
                { "The whole run: each term has a colour and its leader; time without a leader is \
                   hatched. Drag the handle to go anywhere. An action in the past of a simulation \
                   begins a branch. Each branch is a lane, and its letter switches to it." }
            </p>
            <ul class="shapes">
                { for SIGNS.iter().map(|(kind, words)| html! {
                    <li>{ sign_glyph(*kind) }{ *words }</li>
                }) }
            </ul>
            <h2>{ "Messages" }</h2>
            <ul class="shapes">
                { for shapes.into_iter().map(|(name, letter, words)| html! {
                    <li>
                        <svg viewBox="-15 -15 30 30" width="30" height="30" aria-hidden="true">
                            <g class="flight request">
                                { super::stage::shape(name, 9.5) }
                                <text class="letter" style="font-size:12px">{ letter }</text>
                            </g>
                        </svg>
                        { words }
                    </li>
                }) }
            </ul>
        </>
    }
}
