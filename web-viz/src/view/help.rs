//! The help: how to read the picture, and the keyboard shortcuts.

use raft_core::message::MessageName;
use yew::prelude::*;

use super::dialog::use_dialog;
use super::parts::{Icon, glyph};
use super::scrub::{SIGNS, sign_glyph};
use crate::dispatch::Dispatch;
use crate::keys::KEYS;
use crate::model::{Action, UiAction};

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

const PICTURE: [(&str, &str); 16] = [
    (
        "Term",
        "Time is cut into terms, each with at most one leader. A server's number and colour tell \
         the term that it knows; after a new election the others change to its colour.",
    ),
    (
        "Leader",
        "A full disc with a double ring and a crown. It takes all writes and sends heartbeats.",
    ),
    (
        "Candidate",
        "A dashed disc. Dots at its rim, each towards one server, are that server's vote: ticked \
         for yes, barred for no, small while it is not known. Before it spends a term on an \
         election it asks around whether it could win: dotted.",
    ),
    (
        "Arc",
        "The election timer. Each heartbeat winds it up; when it runs out, the server stands for \
         election. Each wait is drawn at random, so that seldom two stand at once.",
    ),
    (
        "Messages",
        "They move along the links because they are on their way. Requests are solid, replies \
         hollow with + or −. One that is lost ends in a cross.",
    ),
    (
        "In hand",
        "Draw a stroke across the ring to part the servers. Pull a message back along its lane to \
         delay it, flick it away to lose it; with the shift key it arrives twice. Press a server \
         twice, or rest on it with a finger, for what can be done to it.",
    ),
    (
        "Chosen",
        "What you choose is marked wherever it is shown, and the inspector says all that is known \
         of it. What has just changed is marked there, with what it was. A tick at a server: its \
         disk holds the chosen entry. A dashed ring around a message: it carries it.",
    ),
    (
        "Messages in time",
        "Opens at the bottom. A lane is a server, an arrow a message from its sending to its arrival; \
         the right edge is now. A lane is thick for the leader, dashed for a candidate, dotted for one \
         that asks around, and fades out while down. A full dot: the leader sees a majority. A ring: \
         a follower learns of it.",
    ),
    (
        "Log",
        "One row a server, one column an index. Dashed: proposed. Solid: committed, it will never \
         be lost. Filled: applied to the store. Underlined: on that server's disk. Choose \
         a column to see which disks count for its majority.",
    ),
    (
        "Down, frozen, cut off",
        "A hatched disc is down. Two bars: frozen, it runs on as if no time had passed. A bar \
         across a link: nothing passes there.",
    ),
    ("Disk", "A small cylinder shows while a write is on its way to that server's disk."),
    (
        "Faults",
        "On the left: a server with its disk, clock and links; the network; the members; the rules. \
         What is not possible says why.",
    ),
    (
        "Events",
        "Choose one to see why it happened: what led to it, back to what came from outside, each step \
         with its rule, the rule's section and its line in the core.",
    ),
    (
        "Safe so far",
        "What Raft promises is checked after every event. Press the chip for the list. With a rule \
         broken the clock stops where a promise fails.",
    ),
    (
        "Live",
        "Real servers, shown a moment late so that all have told; below the clock stands how late. Pause \
         or go back at any time: the cluster runs on, and End shows the present. What you do is done \
         to the cluster as it is now.",
    ),
    (
        "Linearizable",
        "The bars of the client run from call to answer: full a write, hollow a read, torn off \
         without an answer yet. The verdict says whether one order explains them all.",
    ),
];

fn picture() -> Html {
    let shapes = [
        (MessageName::PreVote, "P", "asks whether it would get a vote"),
        (MessageName::RequestVote, "V", "asks for a vote"),
        (MessageName::Heartbeat, "H", "heartbeat"),
        (MessageName::AppendEntries, "A", "log entries"),
        (MessageName::InstallSnapshot, "S", "part of a snapshot"),
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
                { "The whole run: a colour a term, the server that leads, hatched while nobody does. \
                   Drag the handle to go anywhere in it. What you do in the past of a simulation begins a \
                   branch; each branch is a lane, and its letter switches to it." }
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
