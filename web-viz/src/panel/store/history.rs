//! The operations of clients, as bars from call to answer, and the linearizability verdict.

use raft_core::types::Time;
use yew::prelude::*;

use crate::domain::clients::{Bar, Clients};
use crate::domain::run::SourceKind;
use crate::panel::parts::{Icon, glyph};
use crate::shared::Shared;

/// Properties of [`History`].
#[derive(PartialEq, Properties)]
pub(crate) struct HistoryProps {
    pub(crate) clients: Shared<Clients>,
    pub(crate) source: SourceKind,
    pub(crate) now: Time,
}

/// The panel of client operations.
#[component]
pub(crate) fn History(props: &HistoryProps) -> Html {
    if props.source == SourceKind::Live {
        return html! {
            <p class="hint" data-testid="verdict" data-state="unjudged">
                { "The page judges histories only in the simulation, where it sees all clients." }
            </p>
        };
    }
    let count = props.clients.operations.len();
    if count == 0 {
        return html! {};
    }
    let (class, icon, words) = match &props.clients.wrong {
        None if count == 1 => ("good", Icon::Check, "Linearizable".to_owned()),
        None => (
            "good",
            Icon::Check,
            format!("Linearizable: one order explains all {count} operations"),
        ),
        Some(key) => (
            "bad",
            Icon::Cross,
            format!("Not linearizable: no order explains what clients saw of “{key}”"),
        ),
    };
    html! {
        <div class="history">
            <p
                class={classes!("history-verdict", class)}
                title="In some order, each operation happens between its call and answer, and \
                       every read sees the last write."
                data-testid="verdict"
                data-state={class}
            >
                { glyph(icon) }
                <span>{ words }</span>
            </p>
            <ol class="bars" aria-label="Operations from call to answer">
                { for props.clients.bars(props.now).iter().map(bar) }
            </ol>
        </div>
    }
}

fn bar(bar: &Bar) -> Html {
    let place = format!("left:{:.1}%;width:{:.1}%", bar.from, bar.width);
    let class = classes!(
        "span",
        bar.open.then_some("open"),
        bar.reads.then_some("reads"),
        bar.wrong.then_some("wrong"),
    );
    html! {
        <li>
            <code title={bar.words.clone()}>{ &bar.words }</code>
            <span class="axis"><span {class} style={place}></span></span>
        </li>
    }
}
