//! Small elements that several regions share.

use raft_core::types::{NodeId, Term};
use yew::prelude::*;

use crate::dispatch::Dispatch;
use crate::domain::actions::ClusterAction;
use crate::model::{Action, UiAction};

/// The number of colours that terms cycle through; style/tokens.css defines them.
const TERM_COLOURS: u64 = 6;

/// The CSS class for the colour of a term.
pub(crate) fn term_class(term: Term) -> String {
    match term.0 {
        0 => "term-none".to_owned(),
        number => format!("term-{}", (number - 1) % TERM_COLOURS),
    }
}

/// A line icon on a 24 by 24 grid.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    Play,
    Pause,
    Step,
    Back,
    Previous,
    Next,
    ToEnd,
    Undo,
    Compare,
    Share,
    Again,
    Dice,
    Sun,
    Moon,
    Help,
    Close,
    Check,
    Cross,
    Bolt,
    Power,
    Snow,
    Scissors,
    Link,
    Crown,
    Split,
    Flag,
    Disk,
    Clock,
    Plus,
    Book,
    Lanes,
}

impl Icon {
    const fn path(self) -> &'static str {
        match self {
            Self::Play => "M8 5.5v13l10.5-6.5z",
            Self::Pause => "M8 5v14M16 5v14",
            Self::Step => "M6 5.5v13l9-6.5zM18 5v14",
            Self::Back => "M18 5.5v13l-9-6.5zM6 5v14",
            Self::Previous => "M12 5.5v13L3 12zM21 5.5v13L12 12z",
            Self::Next => "M3 5.5v13l9-6.5zM12 5.5v13l9-6.5z",
            Self::ToEnd => "M4 12h12M11 7l5 5-5 5M20 5v14",
            Self::Compare => "M12 4v16M9 8H4v8h5M15 8h5v8h-5",
            Self::Undo => "M8 5L4 9l4 4M4 9h10a5.5 5.5 0 0 1 0 11h-3",
            Self::Share => "M12 15V3.5M7.5 7.5L12 3.5l4.5 4M5 12v8h14v-8",
            Self::Again => "M5 12a7 7 0 1 0 2.2-5.1M5 4v4h4",
            Self::Dice => "M5 5h14v14H5zM9 9h.01M15 15h.01M15 9h.01M9 15h.01M12 12h.01",
            Self::Sun => {
                "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 \
                 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4"
            }
            Self::Moon => "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
            Self::Help => "M9.2 9a2.9 2.9 0 1 1 4.3 2.6c-1 .6-1.5 1.2-1.5 2.4M12 17.5h.01",
            Self::Close | Self::Cross => "M6 6l12 12M18 6L6 18",
            Self::Check => "M5 12.5l4.5 4.5L19 7",
            Self::Bolt => "M13 3L5.5 13.5H11L10 21l7.5-10.5H12z",
            Self::Power => "M12 4v8M7 6.8a7 7 0 1 0 10 0",
            Self::Snow => {
                "M12 3v18M4.2 7.5l15.6 9M19.8 7.5l-15.6 9M9.5 4.5L12 7l2.5-2.5M9.5 19.5L12 \
                 17l2.5 2.5"
            }
            Self::Scissors => {
                "M8.2 8.2L20 18M8.2 15.8L20 6M6 8.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM6 20.5a2.5 \
                 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5z"
            }
            Self::Link => {
                "M10 14a4 4 0 0 0 5.7 0l3-3A4 4 0 0 0 13 5.3l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 \
                 0 0 11 18.7l1-1"
            }
            Self::Crown => "M4 18h16M4.5 15L3 7l5 3.5L12 4l4 6.5L21 7l-1.5 8z",
            Self::Split => "M12 3v4M12 10v4M12 17v4M5 9v6M5 9H3M5 15H3M19 9v6M19 9h2M19 15h2",
            Self::Flag => "M6 21V4M6 5h11l-2 4 2 4H6",
            Self::Disk => "M5 6.5c0-4 14-4 14 0v11c0 4-14 4-14 0zM5 6.5c0 4 14 4 14 0",
            Self::Clock => "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4l3 2",
            Self::Book => {
                "M12 6.5C9.5 4.6 6.5 4.4 3.5 5v13c3-.6 6-.4 8.5 1.5 2.5-1.9 5.5-2.1 8.5-1.5V5c-3-.6-6-.4-8.5 1.5zM12 6.5v13"
            }
            Self::Lanes => "M3 6h18M3 18h18M6 6l4.5 12M13 18l4.5-12M17.9 10.2l-.4-4.2-3.2 2.7",
            Self::Plus => "M12 5v14M5 12h14",
        }
    }
}

/// Draws an icon. Its meaning must stand in the words beside it or in the button's label.
pub(crate) fn glyph(icon: Icon) -> Html {
    let filled = matches!(icon, Icon::Play | Icon::Crown | Icon::Bolt).then_some("filled");
    html! {
        <svg class={classes!("icon", filled)} viewBox="0 0 24 24" aria-hidden="true">
            <path d={icon.path()} />
        </svg>
    }
}

/// What an [`action_button`] shows.
pub(crate) struct ActionButton {
    pub(crate) label: String,
    pub(crate) icon: Icon,
    pub(crate) class: &'static str,
    /// The keyboard shortcut.
    pub(crate) key: Option<&'static str>,
    pub(crate) testid: String,
}

/// A button for an action. If the action is not permitted, a press shows the reason.
pub(crate) fn action_button(
    (action, permitted): &(ClusterAction, Result<(), String>),
    button: ActionButton,
    dispatch: &Dispatch,
) -> Html {
    let action = *action;
    let onclick = dispatch.reform(move |_: MouseEvent| Action::Cluster(action));
    html! {
        <button
            type="button"
            class={classes!("button", button.class)}
            data-testid={button.testid}
            aria-disabled={permitted.is_err().then_some("true")}
            title={permitted.clone().err()}
            {onclick}
        >
            { glyph(button.icon) }
            <span>{ button.label }</span>
            if let Some(key) = button.key {
                <kbd aria-hidden="true">{ key }</kbd>
            }
        </button>
    }
}

/// The action of a press on a server: it chooses the server or clears the choice. With Shift it
/// adds the server to the choice.
pub(crate) const fn choose_server(node: NodeId, chosen: bool, also: bool) -> Action {
    Action::Ui(match (also, chosen) {
        (true, _) => UiAction::SelectAlso(node),
        (false, true) => UiAction::Select(None),
        (false, false) => UiAction::Select(Some(node)),
    })
}

/// The value of the input element that fired the event.
pub(crate) fn typed(event: &impl AsRef<web_sys::Event>) -> Option<String> {
    use wasm_bindgen::JsCast as _;
    let target = event.as_ref().target()?;
    if let Some(input) = target.dyn_ref::<web_sys::HtmlInputElement>() {
        return Some(input.value());
    }
    target.dyn_ref::<web_sys::HtmlSelectElement>().map(web_sys::HtmlSelectElement::value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that neighbouring terms differ in colour, and that term 0 has its own class.
    #[test]
    fn neighbouring_terms_differ_in_colour() {
        assert_eq!(term_class(Term(0)), "term-none");
        for term in 1..20 {
            assert_ne!(term_class(Term(term)), term_class(Term(term + 1)));
        }
    }
}
