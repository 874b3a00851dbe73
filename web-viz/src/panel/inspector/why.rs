//! Why an event happened: the chosen event, its causes, and the rules behind them.

use std::rc::Rc;

use raft_core::types::NodeId;
use yew::prelude::*;

use crate::dispatch::Dispatch;
use crate::domain::feed::Line;
use crate::domain::run::SourceKind;
use crate::domain::why::{Basis, Why, basis};
use crate::model::{Action, UiAction};
use crate::panel::events::clock;
use crate::panel::parts::{Icon, glyph};

/// Properties of [`WhyCard`].
#[derive(PartialEq, Properties)]
pub(crate) struct WhyProps {
    pub(crate) why: Why,
    pub(crate) source: SourceKind,
    pub(crate) dispatch: Dispatch,
}

/// The card that explains the chosen event.
#[component]
pub(crate) fn WhyCard(props: &WhyProps) -> Html {
    let close = props.dispatch.reform(|_| Action::Ui(UiAction::Inspect(None)));
    let end = if props.why.whole {
        "This cause is external: a timer, a client, a fault or a start."
    } else {
        "The page no longer keeps what led to this."
    };
    html! {
        <section class="why" aria-labelledby="why-title" data-testid="why">
            <header>
                <h3 id="why-title">{ "Why?" }</h3>
                <button
                    type="button"
                    class="button quiet"
                    aria-label="Close"
                    title="Close (Esc)"
                    data-testid="why-close"
                    onclick={close}
                >
                    { glyph(Icon::Cross) }
                </button>
            </header>
            <ol>
                { for props.why.chain.iter().enumerate().map(|(place, line)| step(props, place, line)) }
            </ol>
            <p class="hint">{ end }</p>
        </section>
    }
}

fn step(props: &WhyProps, place: usize, line: &Rc<Line>) -> Html {
    let event = &line.event;
    let id = event.id;
    let onclick = props.dispatch.reform(move |_| Action::Ui(UiAction::Inspect(Some(id))));
    let who = name(id.node);
    html! {
        <li>
            if place > 0 {
                <span class="because">{ "because" }</span>
            }
            <button type="button" class="step" disabled={place == 0} {onclick}>
                <span class="who">{ who }</span>
                <time>{ clock(event.time, props.source) }</time>
                <span class="what">{ event.kind.to_string() }</span>
            </button>
            { for basis(&event.kind).map(rule) }
        </li>
    }
}

fn rule(basis: Basis) -> Html {
    html! {
        <p class="basis">
            { basis.says }
            { " " }
            <cite>{ basis.section }</cite>
            if let Some((function, line)) = basis.decided {
                { " " }
                <code>{ format!("core/src/rules.rs:{line} {function}") }</code>
            }
        </p>
    }
}

/// The name of a server or of the network.
pub(crate) fn name(node: NodeId) -> String {
    if node == NodeId::ENVIRONMENT { "net".to_owned() } else { node.to_string() }
}
