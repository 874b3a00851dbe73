//! Dialogs: open while the model says so.

use web_sys::HtmlDialogElement;
use yew::prelude::*;

/// Gives the reference to put on a dialog that is to be open or closed.
#[hook]
pub(super) fn use_dialog(open: bool) -> NodeRef {
    let dialog = use_node_ref();
    use_effect_with((open, dialog.clone()), |(open, dialog)| {
        if let Some(dialog) = dialog.cast::<HtmlDialogElement>() {
            if *open && !dialog.open() {
                // Fails only for a dialog that is open or not in the document.
                let _ = dialog.show_modal();
            } else if !*open && dialog.open() {
                dialog.close();
            }
        }
    });
    dialog
}
