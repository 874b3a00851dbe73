//! On a phone the panels take turns below the stage.

use yew::prelude::*;

use super::Dispatch;
use crate::model::{Action, Sheet, UiAction};

/// See the module.
pub(crate) fn tabs(chosen: Sheet, dispatch: &Dispatch) -> Html {
    let tab = |sheet: Sheet| {
        let onclick = dispatch.reform(move |_: MouseEvent| Action::Ui(UiAction::Sheet(sheet)));
        html! {
            <button
                type="button"
                aria-pressed={(sheet == chosen).to_string()}
                data-testid={format!("tab-{}", sheet.name())}
                {onclick}
            >
                { sheet.title() }
            </button>
        }
    };
    html! { <nav class="tabs" aria-label="Panels">{ for Sheet::ALL.into_iter().map(tab) }</nav> }
}
