//! On a phone the panels take turns below the stage.

use yew::prelude::*;

use super::Dispatch;
use crate::model::lanes::LanesAction;
use crate::model::{Action, Sheet, UiAction};

/// See the module.
pub(crate) fn tabs(chosen: Sheet, studying: bool, lanes: bool, dispatch: &Dispatch) -> Html {
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
    let sheets = Sheet::ALL.into_iter().filter(|sheet| studying || *sheet != Sheet::Lesson);
    let onclick = dispatch.reform(|_: MouseEvent| Action::Ui(UiAction::Lanes(LanesAction::Toggle)));
    html! {
        <nav class="tabs" aria-label="Panels">
            { for sheets.map(tab) }
            // It opens at the bottom, whatever the sheet.
            <button
                type="button"
                class="lanes-tab"
                aria-expanded={lanes.to_string()}
                data-testid="tab-lanes"
                {onclick}
            >
                { "Arrows" }
            </button>
        </nav>
    }
}
