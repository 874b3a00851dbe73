//! All known facts about the selection: a server, a message, an event with its causes, or a log
//! index.

pub(super) mod why;

use std::collections::BTreeSet;

use raft_core::types::NodeId;
use yew::prelude::*;

use super::act::faults::{Offer, face};
use super::parts::{ActionButton, Icon, action_button, glyph};
use crate::dispatch::Dispatch;
use crate::domain::actions::{ClusterAction, LATER, MessageAction};
use crate::domain::run::SourceKind;
use crate::domain::selection::Selection;
use crate::model::facts::{Facts, Shown};
use crate::model::{Action, Model, UiAction};
use why::WhyCard;

/// The inspector of a model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    let ask = |action| (action, model.permits(action));
    let selection = &model.ui.selection;
    let actions = match selection {
        Selection::Message(id) => {
            let ended = model.cluster.view.messages.get(id).is_none_or(|it| it.end.is_some());
            let action = |action| ask(ClusterAction::Message(*id, action));
            let offers = [
                action(MessageAction::Drop),
                ask(model.toggle_hold(*id)),
                action(MessageAction::Delay(LATER)),
                action(MessageAction::Duplicate),
            ];
            // An ended message shows how it ended, which explains why no action is left.
            if ended { Vec::new() } else { offers.to_vec() }
        }
        Selection::Servers(servers) if servers.len() > 1 => {
            vec![ask(model.toggle_apart(&selection.servers()))]
        }
        Selection::Nothing | Selection::Servers(_) | Selection::Event(_) | Selection::Entry(_) => {
            Vec::new()
        }
    };
    html! {
        <Inspector
            selection={selection.clone()}
            facts={model.inspected.clone()}
            flowing={model.flowing()}
            title={title(model)}
            {actions}
            source={model.source}
            dispatch={dispatch.clone()}
        />
    }
}

fn title(model: &Model) -> String {
    match &model.ui.selection {
        Selection::Nothing => "Inspector".to_owned(),
        Selection::Servers(servers) => {
            let servers: BTreeSet<NodeId> = servers.iter().copied().collect();
            crate::domain::cluster::names(servers)
        }
        Selection::Message(id) => {
            let flight = model.cluster.view.messages.get(id);
            flight.map_or_else(
                || "An old message".to_owned(),
                |flight| flight.message.body.name().to_string(),
            )
        }
        Selection::Event(_) => "Why?".to_owned(),
        Selection::Entry(index) => format!("Index {index}"),
    }
}

/// Properties of [`Inspector`].
#[derive(PartialEq, Properties)]
pub(crate) struct InspectorProps {
    selection: Selection,
    facts: Facts,
    flowing: Option<(&'static str, String)>,
    title: String,
    actions: Vec<Offer>,
    source: SourceKind,
    dispatch: Dispatch,
}

/// The inspector panel.
#[component]
pub(crate) fn Inspector(props: &InspectorProps) -> Html {
    if let Selection::Event(why) = &props.selection {
        return html! {
            <section class="panel inspector sheet-inspect" aria-label="Inspector">
                <WhyCard why={why.clone()} source={props.source} dispatch={props.dispatch.clone()} />
            </section>
        };
    }
    let nothing = props.selection == Selection::Nothing;
    html! {
        <section
            class={classes!("panel", "inspector", "sheet-inspect", nothing.then_some("idle"))}
            aria-labelledby="inspector-title"
            data-testid="inspector"
        >
            <header>
                <h2 id="inspector-title">{ &props.title }</h2>
                if !nothing {
                    { actions(props) }
                    { close(props) }
                }
            </header>
            if nothing {
                <p class="hint">
                    { "Choose a server, a message, an entry or an event to see all that is known of it." }
                </p>
            } else {
                { body(props) }
            }
        </section>
    }
}

fn close(props: &InspectorProps) -> Html {
    let onclick = props.dispatch.reform(|_: MouseEvent| Action::Ui(UiAction::Select(None)));
    html! {
        <button
            type="button"
            class="button quiet"
            aria-label="Clear the selection"
            title="Clear the selection (Esc)"
            data-testid="let-go"
            {onclick}
        >
            { glyph(Icon::Cross) }
        </button>
    }
}

/// The button that opens a server's menu.
fn actions(props: &InspectorProps) -> Html {
    let Some(node) = props.selection.server() else { return Html::default() };
    let onclick =
        props.dispatch.reform(move |_: MouseEvent| Action::Ui(UiAction::Menu(Some(node))));
    html! {
        <button
            type="button"
            class="button small-words"
            aria-haspopup="menu"
            title={format!("Actions on {node} (Menu)")}
            data-testid="open-menu"
            {onclick}
        >
            { "Actions" }
        </button>
    }
}

fn body(props: &InspectorProps) -> Html {
    let (rows, own): (Vec<&Shown>, Vec<&Shown>) =
        props.facts.facts.iter().partition(|it| it.fact.of.is_some());
    html! {
        <>
            if !props.actions.is_empty() {
                <div class="actions">
                    { for props.actions.iter().map(|offer| action(offer, &props.dispatch)) }
                </div>
            }
            <dl class="given" data-testid="fields">
                { for own.iter().map(|it| {
                    // The changing fact follows the fact that it is about.
                    let about = matches!(it.fact.name, "because" | "status");
                    let flows = props.flowing.as_ref().filter(|_| about);
                    html! { <>{ fact(it) }{ for flows.map(flowing) }</> }
                }) }
            </dl>
            { table(&rows) }
        </>
    }
}

fn action(offer: &Offer, dispatch: &Dispatch) -> Html {
    let ClusterAction::Message(_, action) = offer.0 else { return face(offer, dispatch) };
    let (label, icon, key, testid) = match action {
        MessageAction::Drop => ("Lose", Icon::Cross, "Del", "lose"),
        MessageAction::Hold => ("Hold", Icon::Pause, "H", "hold"),
        MessageAction::Release => ("Release", Icon::Play, "H", "release"),
        MessageAction::Delay(_) => ("Delay", Icon::Clock, "W", "later"),
        MessageAction::Duplicate => ("Twice", Icon::Plus, "T", "twice"),
    };
    let button = ActionButton {
        label: label.to_owned(),
        icon,
        class: "",
        key: Some(key),
        testid: format!("chosen-{testid}"),
    };
    action_button(offer, button, dispatch)
}

/// The maximum number of characters of a former value.
const LONG: usize = 12;

fn fact(shown: &Shown) -> Html {
    let fact = &shown.fact;
    // The name decides and not the value, because the layout must not depend on values.
    let wide = matches!(
        fact.name,
        "role"
            | "because"
            | "votes"
            | "majority by"
            | "entries"
            | "members"
            | "status"
            | "entry"
            | "majority"
            | "held by disks of"
    );
    let spoken = match fact.name {
        "because" => Some("told-in-words two-lines"),
        "status" => Some("told-in-words"),
        _ => None,
    };
    html! {
        <div
            key={fact.name}
            class={classes!(spoken, wide.then_some("wide"), shown.was().is_some().then_some("changed"))}
        >
            <dt>{ fact.name }</dt>
            <dd>
                <span class="value">{ &fact.value }</span>
                if let Some(was) = shown.was() {
                    <span class="was" title={format!("Before: {was}")}>
                        { format!("← {}", was.chars().take(LONG).collect::<String>()) }
                    </span>
                }
            </dd>
        </div>
    }
}

fn flowing((name, value): &(&'static str, String)) -> Html {
    html! {
        <div key={*name} class="wide">
            <dt>{ *name }</dt>
            <dd><span class="value">{ value }</span></dd>
        </div>
    }
}

/// The facts of each server, as a row.
fn table(rows: &[&Shown]) -> Html {
    let Some(first) = rows.first() else { return Html::default() };
    let of_first = rows.iter().filter(|it| it.fact.of == first.fact.of);
    let heads: Vec<&'static str> = of_first.map(|it| it.fact.name).collect();
    html! {
        <table class="followers" data-testid="followers">
            <thead>
                <tr>
                    <th scope="col"><span class="sr-only">{ "server" }</span></th>
                    { for heads.iter().map(|head| column_head(head)) }
                </tr>
            </thead>
            <tbody>
                { for rows.chunks(heads.len().max(1)).map(row) }
            </tbody>
        </table>
    }
}

/// A long name may break at its underscore.
fn column_head(name: &str) -> Html {
    match name.split_once('_') {
        Some((first, second)) => {
            html! { <th scope="col">{ format!("{first}_") }<wbr />{ second }</th> }
        }
        None => html! { <th scope="col">{ name }</th> },
    }
}

fn row(cells: &[&Shown]) -> Html {
    let Some(node) = cells.first().and_then(|it| it.fact.of) else { return Html::default() };
    html! {
        <tr key={node.0}>
            <th scope="row">{ node.to_string() }</th>
            { for cells.iter().map(|it| html! {
                <td class={classes!(it.was().is_some().then_some("changed"))}>
                    { &it.fact.value }
                    if let Some(was) = it.was() {
                        <span class="was">{ format!("← {was}") }</span>
                    }
                </td>
            }) }
        </tr>
    }
}
