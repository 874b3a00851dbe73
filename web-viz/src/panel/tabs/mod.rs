//! Tabs to switch panels: all panels below the stage on a phone, two at the side on a desktop.

use yew::prelude::*;

use crate::dispatch::Dispatch;
use crate::domain::lanes::LanesAction;
use crate::model::{Action, Sheet, UiAction};

/// The tabs below the stage.
pub(crate) fn tabs(chosen: Sheet, studying: bool, lanes: bool, dispatch: &Dispatch) -> Html {
    let tab = |sheet| tab("tab", sheet, sheet == chosen, dispatch);
    let sheets = Sheet::ALL.into_iter().filter(|sheet| studying || *sheet != Sheet::Lesson);
    let onclick = dispatch.reform(|_: MouseEvent| Action::Ui(UiAction::Lanes(LanesAction::Toggle)));
    html! {
        <nav class="tabs" aria-label="Panels">
            { for sheets.map(tab) }
            // The diagram opens at the bottom, with any sheet.
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

/// The tabs above the inspector on a desktop: client or events.
pub(crate) fn side_tabs(chosen: Sheet, dispatch: &Dispatch) -> Html {
    let listed = chosen == Sheet::Events;
    html! {
        <nav class="side-tabs" aria-label="Client or events">
            { tab("side", Sheet::Store, !listed, dispatch) }
            { tab("side", Sheet::Events, listed, dispatch) }
        </nav>
    }
}

fn tab(kind: &'static str, sheet: Sheet, pressed: bool, dispatch: &Dispatch) -> Html {
    let onclick = dispatch.reform(move |_: MouseEvent| Action::Ui(UiAction::Sheet(sheet)));
    html! {
        <button
            type="button"
            aria-pressed={pressed.to_string()}
            data-testid={format!("{kind}-{}", sheet.name())}
            {onclick}
        >
            { sheet.title() }
        </button>
    }
}
