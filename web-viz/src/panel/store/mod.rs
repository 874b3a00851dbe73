//! The client's view: a form to write and read, the replies, and the store of a server.

mod history;

use raft_core::types::NodeId;
use yew::prelude::*;

use super::parts::{Icon, glyph, typed};
use crate::dispatch::Dispatch;
use crate::domain::cluster::ClusterModel;
use crate::domain::form::{Ask, AskState, ClientForm, Op};
use crate::model::{Action, FormAction, Model};
use crate::shared::Shared;
use history::History;

/// The maximum number of shown pairs; a store may hold very many.
const PAIRS: usize = 100;

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    let reading = &model.reading;
    html! {
        <Store
            form={model.form.clone()}
            cluster={reading.cluster.clone()}
            selected={model.ui.selection.server()}
            dispatch={dispatch.clone()}
        >
            <History
                clients={reading.clients.clone()}
                source={model.source}
                now={model.playback.now}
            />
        </Store>
    }
}

/// Properties of [`Store`].
#[derive(PartialEq, Properties)]
pub(crate) struct StoreProps {
    pub(crate) form: Shared<ClientForm>,
    pub(crate) cluster: Shared<ClusterModel>,
    pub(crate) selected: Option<NodeId>,
    pub(crate) dispatch: Dispatch,
    /// The operations of all clients.
    pub(crate) children: Html,
}

/// The client panel.
#[component]
pub(crate) fn Store(props: &StoreProps) -> Html {
    html! {
        <section class="panel store sheet-store" aria-labelledby="store-title">
            <header>
                <h2 id="store-title">{ "Client" }</h2>
            </header>
            { form(props) }
            { burst(props) }
            if let Some(complaint) = &props.form.complaint {
                <p class="complaint" role="alert" data-testid="complaint">{ complaint }</p>
            }
            { answers(&props.form) }
            { props.children.clone() }
            { table(props) }
        </section>
    }
}

/// A button that sends a write and, at the same time, a read to every server.
fn burst(props: &StoreProps) -> Html {
    let onclick = props.dispatch.reform(|_: MouseEvent| Action::Burst);
    html! {
        <button
            type="button"
            class="button small-words"
            title="Put the key and, at the same time, get it from every server"
            data-testid="burst"
            {onclick}
        >
            { "Put, and get everywhere" }
        </button>
    }
}

fn form(props: &StoreProps) -> Html {
    let form = &props.form;
    let dispatch = props.dispatch.clone();
    let onsubmit = Callback::from(move |event: SubmitEvent| {
        event.prevent_default();
        dispatch.emit(Action::Submit);
    });
    html! {
        <form class="client-form" {onsubmit}>
            <div class="switch small" role="group" aria-label="Operation">
                { for Op::ALL.into_iter().map(|op| {
                    let onclick = props.dispatch.reform(move |_| Action::ClientForm(FormAction::Op(op)));
                    html! {
                        <button
                            type="button"
                            aria-pressed={(form.op == op).to_string()}
                            data-testid={format!("op-{}", op.name())}
                            {onclick}
                        >
                            { op.name() }
                        </button>
                    }
                }) }
            </div>
            { target(props) }
            <div class="fields">
                { field(props, "key", "Key", &form.key, FormAction::Key) }
                if form.op == Op::Put {
                    <span class="equals" aria-hidden="true">{ "=" }</span>
                    { field(props, "value", "Value", &form.value, FormAction::Value) }
                }
                <button type="submit" class="button primary" data-testid="submit">
                    <span>{ "Send" }</span>
                    <kbd aria-hidden="true">{ "C" }</kbd>
                </button>
            </div>
        </form>
    }
}

fn field(
    props: &StoreProps,
    id: &'static str,
    label: &'static str,
    value: &str,
    action: fn(String) -> FormAction,
) -> Html {
    let dispatch = props.dispatch.clone();
    let oninput = Callback::from(move |event: InputEvent| {
        if let Some(text) = typed(&event) {
            dispatch.emit(Action::ClientForm(action(text)));
        }
    });
    html! {
        <input
            type="text"
            aria-label={label}
            placeholder={label.to_lowercase()}
            value={value.to_owned()}
            spellcheck="false"
            autocomplete="off"
            autocapitalize="none"
            data-testid={id}
            {oninput}
        />
    }
}

/// Chooses the server that gets the request.
fn target(props: &StoreProps) -> Html {
    let dispatch = props.dispatch.clone();
    let onchange = Callback::from(move |event: Event| {
        let target = typed(&event).and_then(|text| text.parse().ok()).map(NodeId);
        dispatch.emit(Action::ClientForm(FormAction::Target(target)));
    });
    let chosen = props.form.target;
    html! {
        <label class="target">
            <span>{ "ask" }</span>
            <select {onchange} data-testid="target">
                <option value="" selected={chosen.is_none()}>{ "the leader" }</option>
                { for props.cluster.roster.iter().map(|node| html! {
                    <option value={node.0.to_string()} selected={chosen == Some(*node)}>
                        { node.to_string() }
                    </option>
                }) }
            </select>
        </label>
    }
}

fn answers(form: &ClientForm) -> Html {
    html! {
        <ol class="answers" aria-live="polite" data-testid="answers">
            { for form.asks.iter().take(5).map(answer) }
        </ol>
    }
}

fn answer(ask: &Ask) -> Html {
    let (class, icon, words) = match &ask.state {
        AskState::Waiting => ("waiting", None, "waiting for a majority …"),
        AskState::Done(words) => ("done", Some(Icon::Check), words.as_str()),
        AskState::Failed(words) => ("failed", Some(Icon::Cross), words.as_str()),
    };
    html! {
        <li key={ask.number} {class} data-state={class}>
            <span class="sign">
                if let Some(icon) = icon {
                    { glyph(icon) }
                }
            </span>
            <code>{ &ask.words }</code>
            <span class="by">{ format!("{} ", ask.node) }</span>
            <span class="outcome" title={words.to_owned()}>{ words }</span>
        </li>
    }
}

/// The store of the selected server, otherwise of the leader, otherwise of the server that applied
/// most.
fn table(props: &StoreProps) -> Html {
    let cluster: &ClusterModel = &props.cluster;
    let furthest = || {
        let applied = |node: &&NodeId| cluster.node(**node).map(|node| node.last_applied);
        cluster.roster.iter().max_by_key(applied).copied()
    };
    let shown = props.selected.or_else(|| cluster.leader()).or_else(furthest);
    let Some((id, node)) = shown.and_then(|id| cluster.node(id).map(|node| (id, node))) else {
        return html! {};
    };
    // If events were left out, pairs may be missing, too.
    let told = if node.summarised > 0 { " as far as known" } else { "" };
    let caption = format!("Store of {id}{told}, applied up to index {}", node.last_applied);
    html! {
        <div class="table">
            <table data-testid="store">
                <caption>{ caption }</caption>
                if node.store.is_empty() {
                    <tbody><tr><td class="hint">
                        { if node.summarised > 0 {
                            "Its pairs were too many to send."
                        } else {
                            "Empty. Send a put."
                        } }
                    </td></tr></tbody>
                } else {
                    <tbody>
                        { for node.store.iter().take(PAIRS).map(|(key, value)| {
                            let text = String::from_utf8_lossy(&value.value).into_owned();
                            html! {
                                <tr>
                                    <th scope="row">{ String::from_utf8_lossy(key).into_owned() }</th>
                                    <td title={text.clone()}>{ text }</td>
                                    <td class="revision" title="revision of its last change">
                                        { format!("r{}", value.mod_revision) }
                                    </td>
                                </tr>
                            }
                        }) }
                    </tbody>
                }
            </table>
            if node.store.len() > PAIRS {
                <p class="hint">{ format!("The first {PAIRS} of {} keys.", node.store.len()) }</p>
            }
        </div>
    }
}
