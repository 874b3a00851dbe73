//! Notices, such as why an action failed.

use yew::prelude::*;

use super::parts::{Icon, glyph};
use crate::dispatch::Dispatch;
use crate::model::{Action, Model, Notice};

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    notice(model.notice.as_ref(), dispatch)
}

fn notice(notice: Option<&Notice>, dispatch: &Dispatch) -> Html {
    let onclick = dispatch.reform(|_: MouseEvent| Action::Dismiss);
    html! {
        <div class="notices" role="status" aria-live="polite">
            if let Some(notice) = notice {
                <div class="notice" data-testid="notice">
                    <p>{ &notice.words }</p>
                    <button type="button" class="button quiet" aria-label="Dismiss" {onclick}>
                        { glyph(Icon::Close) }
                    </button>
                </div>
            }
        </div>
    }
}
