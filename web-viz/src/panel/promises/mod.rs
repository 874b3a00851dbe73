//! The properties that Raft guarantees: each with its section, whether it held, and the proof if it
//! did not.

use raft_core::invariant::{Property, Violation};
use yew::prelude::*;

use super::dialog::use_dialog;
use super::parts::{Icon, glyph};
use crate::dispatch::Dispatch;
use crate::domain::feed::{Feed, Filter, Weight};
use crate::domain::history::Jump;
use crate::domain::promises::promise;
use crate::model::{Action, List, Model, UiAction};
use crate::num;
use crate::shared::Shared;

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    html! {
        <Promises
            open={model.ui.list == Some(List::Promises)}
            violations={model.violations.clone()}
            breach={model.breach.clone()}
            feed={model.feed.clone()}
            dispatch={dispatch.clone()}
        />
    }
}

/// Properties of [`Promises`].
#[derive(PartialEq, Properties)]
pub(crate) struct PromisesProps {
    pub(crate) open: bool,
    /// The violations at the shown moment.
    pub(crate) violations: Vec<Violation>,
    /// The first violation of the run.
    pub(crate) breach: Option<Violation>,
    pub(crate) feed: Shared<Feed>,
    pub(crate) dispatch: Dispatch,
}

/// The dialog with the properties.
#[component]
pub(crate) fn Promises(props: &PromisesProps) -> Html {
    let dialog = use_dialog(props.open);
    let close = props.dispatch.reform(|()| Action::Ui(UiAction::List(None)));
    let onclose = close.reform(|_: Event| ());
    let onclick = close.reform(|_: MouseEvent| ());
    html! {
        <dialog class="help promises" ref={dialog} aria-labelledby="promises-title" {onclose}>
            if props.open {
                <div class="help-head">
                    <h2 id="promises-title">{ "What Raft guarantees" }</h2>
                    <button type="button" class="button quiet" aria-label="Close" {onclick}>
                        { glyph(Icon::Close) }
                    </button>
                </div>
                if let Some(breach) = &props.breach {
                    { proof(breach, props) }
                }
                <ul class="properties" data-testid="properties">
                    { for Property::ALL.into_iter().map(|it| property(it, &props.violations)) }
                </ul>
            }
        </dialog>
    }
}

fn property(property: Property, violations: &[Violation]) -> Html {
    let violation = violations.iter().find(|violation| violation.property == property);
    let (section, words) = promise(property);
    let (class, icon) =
        if violation.is_some() { ("broken", Icon::Cross) } else { ("holding", Icon::Check) };
    html! {
        <li {class} data-state={class}>
            { glyph(icon) }
            <span>
                <b>{ property.to_string() }</b>
                <span class="section">{ section }</span>
                <span class="says">{ words }</span>
                if let Some(violation) = violation {
                    <span class="says bad">
                        { format!("Violated at {}: {}", num::span(violation.time.0), violation.explanation) }
                    </span>
                }
            </span>
        </li>
    }
}

/// The first violation, its evidence, and a button to jump to it.
fn proof(breach: &Violation, props: &PromisesProps) -> Html {
    let all = props.feed.lines(&Filter { least: Weight::Routine, ..Filter::default() });
    let mut evidence: Vec<_> =
        all.iter().filter(|line| breach.evidence.contains(&line.event.id)).collect();
    evidence.reverse();
    let (dispatch, at) = (props.dispatch.clone(), breach.time);
    let there = Callback::from(move |_: MouseEvent| {
        dispatch.emit(Action::Ui(UiAction::List(None)));
        dispatch.emit(Action::Jump(Jump::Time(at)));
    });
    html! {
        <section class="proof" data-testid="proof">
            <h3>{ format!("{} is violated", breach.property) }</h3>
            <p>{ &breach.explanation }</p>
            <button type="button" class="button" data-testid="go-to-violation" onclick={there}>
                { glyph(Icon::Flag) }
                <span>{ format!("Go there, {}", num::span(breach.time.0)) }</span>
            </button>
            <ol>
                { for evidence.into_iter().map(|line| html! {
                    <li>
                        <time>{ num::span(line.event.time.0) }</time>
                        <b>{ line.event.id.node.to_string() }</b>
                        <span>{ line.event.kind.to_string() }</span>
                    </li>
                }) }
            </ol>
        </section>
    }
}
