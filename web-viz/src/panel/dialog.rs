//! Dialogs that are open while the model says so.

use web_sys::HtmlDialogElement;
use yew::prelude::*;

/// Opens or closes the dialog that gets the returned reference.
#[hook]
pub(super) fn use_dialog(open: bool) -> NodeRef {
    let dialog = use_node_ref();
    use_effect_with((open, dialog.clone()), |(open, dialog)| {
        if let Some(dialog) = dialog.cast::<HtmlDialogElement>() {
            if *open && !dialog.open() {
                // This fails only if the dialog is open or not in the document.
                let _ = dialog.show_modal();
            } else if !*open && dialog.open() {
                dialog.close();
            }
        }
    });
    dialog
}
