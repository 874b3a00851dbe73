//! The address and the API token of the live cluster to watch.

use yew::prelude::*;

use crate::dispatch::Dispatch;
use crate::model::Action;
use crate::panel::parts::typed;

/// Properties of [`ClusterForm`].
#[derive(PartialEq, Properties)]
pub(crate) struct ClusterProps {
    /// The text of the address field.
    pub(crate) address: String,
    /// The text of the token field; `None` if no token is needed.
    pub(crate) token: Option<String>,
    pub(crate) dispatch: Dispatch,
}

/// The form for connecting to a live cluster.
#[component]
pub(crate) fn ClusterForm(props: &ClusterProps) -> Html {
    let dispatch = props.dispatch.clone();
    let onsubmit = Callback::from(move |event: SubmitEvent| {
        event.prevent_default();
        dispatch.emit(Action::ClusterConnect);
    });
    html! {
        <section aria-labelledby="cluster-title">
            <h2 id="cluster-title">{ "Cluster" }</h2>
            <form class="cluster" {onsubmit}>
                <input
                    type="text"
                    inputmode="url"
                    aria-label="The address of any server; empty for the cluster of this page."
                    placeholder="this page's"
                    value={props.address.clone()}
                    spellcheck="false"
                    autocomplete="off"
                    data-testid="cluster"
                    oninput={sending(&props.dispatch, Action::ClusterTyped)}
                />
                { for props.token.as_ref().map(|token| token_field(token, &props.dispatch)) }
                <button type="submit" class="button" data-testid="connect">{ "Connect" }</button>
            </form>
            <p class="hint">
                { "The address of any server; empty for the cluster of this page." }
            </p>
        </section>
    }
}

fn token_field(token: &str, dispatch: &Dispatch) -> Html {
    html! {
        <input
            type="password"
            aria-label="API token of this cluster"
            placeholder="token"
            value={token.to_owned()}
            autocomplete="off"
            data-testid="token"
            oninput={sending(dispatch, Action::TokenTyped)}
        />
    }
}

/// Dispatches the typed text as an action.
fn sending(dispatch: &Dispatch, action: fn(String) -> Action) -> Callback<InputEvent> {
    let dispatch = dispatch.clone();
    Callback::from(move |event: InputEvent| {
        if let Some(text) = typed(&event) {
            dispatch.emit(action(text));
        }
    })
}
