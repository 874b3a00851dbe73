//! Direct calls to the browser.

use gloo_timers::callback::Timeout;
use gloo_utils::{document_element, window};
use raft_core::types::Micros;
use wasm_bindgen::JsCast as _;
use web_sys::{HtmlElement, KeyboardEvent};

use crate::model::Theme;
use crate::num::whole;

/// The storage key of the chosen theme.
const THEME: &str = "glassraft.theme";

/// The saved theme, or the system's theme if none is saved.
pub(super) fn theme() -> Theme {
    let saved = storage().and_then(|storage| storage.get_item(THEME).ok().flatten());
    match saved.as_deref() {
        Some("light") => Theme::Light,
        Some("dark") => Theme::Dark,
        _ if matches("(prefers-color-scheme: light)") => Theme::Light,
        _ => Theme::Dark,
    }
}

/// Sets the theme and saves it if it differs from the system's theme.
pub(super) fn set_theme(theme: Theme) {
    // Without storage, as in some private windows, the choice lasts as long as the page.
    if let Some(storage) = storage() {
        let system =
            if matches("(prefers-color-scheme: light)") { Theme::Light } else { Theme::Dark };
        let _ = if theme == system {
            storage.remove_item(THEME)
        } else {
            storage.set_item(THEME, theme.name())
        };
    }
    let _ = document_element().set_attribute("data-theme", theme.name());
}

/// Whether the user's system asks for reduced motion.
pub(super) fn wants_less_motion() -> bool {
    matches("(prefers-reduced-motion: reduce)")
}

fn matches(query: &str) -> bool {
    window().match_media(query).ok().flatten().is_some_and(|list| list.matches())
}

fn storage() -> Option<web_sys::Storage> {
    window().local_storage().ok().flatten()
}

/// The address's fragment, including `#`.
pub(super) fn fragment() -> String {
    window().location().hash().unwrap_or_default()
}

/// Sets the fragment in the address bar without adding a history entry.
pub(super) fn set_fragment(fragment: &str) {
    if let Ok(history) = window().history() {
        let _ = history.replace_state_with_url(&wasm_bindgen::JsValue::NULL, "", Some(fragment));
    }
}

/// The page's full address with this query and fragment.
pub(super) fn address(query: &str, fragment: &str) -> String {
    let location = window().location();
    let origin = location.origin().unwrap_or_default();
    let path = location.pathname().unwrap_or_default();
    format!("{origin}{path}{query}{fragment}")
}

/// Whether the address asks for the stage and the transport controls only.
pub(super) fn is_embedded() -> bool {
    let query = window().location().search().unwrap_or_default();
    query.trim_start_matches('?').split('&').any(|part| part == "embed=1")
}

/// Calls `act` after 250 ms, unless the timeout is dropped before.
pub(super) fn later(act: impl FnOnce() + 'static) -> Timeout {
    Timeout::new(250, act)
}

/// Microseconds since 1970.
pub(super) fn wall_clock() -> Micros {
    whole(js_sys::Date::now() * 1000.0)
}

/// The key of an event, if it is meant for the page rather than for the focused element. The
/// browser's default action for some keys is prevented.
pub(super) fn command_key(event: &web_sys::Event) -> Option<String> {
    let event = event.dyn_ref::<KeyboardEvent>()?;
    if event.ctrl_key() || event.meta_key() || event.alt_key() || event.default_prevented() {
        return None;
    }
    let mut key = event.key();
    let target = event.target().and_then(|target| target.dyn_into::<HtmlElement>().ok());
    let element = target.map(|target| target.tag_name()).unwrap_or_default();
    let handle = event.target().and_then(|target| target.dyn_into::<HtmlElement>().ok());
    let handle = handle.is_some_and(|target| target.class_list().contains("handle"));
    let keeps = match element.as_str() {
        // Keys move the tape's handle from event to event, like the page's shortcuts.
        "INPUT" if handle => false,
        "INPUT" | "SELECT" | "TEXTAREA" => true,
        "BUTTON" => key == " ",
        _ => false,
    };
    if keeps {
        return None;
    }
    // By default these keys scroll or open the browser's menu.
    if matches!(key.as_str(), " " | "ArrowLeft" | "ArrowRight" | "Home" | "End" | "ContextMenu") {
        event.prevent_default();
    }
    // Shift changes only arrows, digits, `M` and F10. On layouts that need Shift for digits, `key`
    // is already the digit.
    if event.shift_key() && (key.starts_with("Arrow") || key.eq_ignore_ascii_case("m")) {
        key = format!("Shift+{}", if key.len() == 1 { "M" } else { &key });
    } else if event.shift_key()
        && key.parse::<u8>().is_err()
        && let Some(digit) = event.code().strip_prefix("Digit")
    {
        key = format!("Shift+{digit}");
    } else if event.shift_key() && key == "F10" {
        event.prevent_default();
        "ContextMenu".clone_into(&mut key);
    }
    Some(key)
}
