//! Messages in transit as one keyboard stop: Tab stops once, arrow keys move between messages,
//! Enter chooses.

use raft_core::types::EventId;
use wasm_bindgen::JsCast as _;
use web_sys::{Element, SvgElement};
use yew::prelude::*;

use super::flight::flight;
use crate::dispatch::Dispatch;
use crate::model::{Action, UiAction};
use crate::scene::Scene;
use crate::scene::traffic::{FlightMark, Label, Phase};

/// Draws the messages and handles their keys.
#[hook]
pub(super) fn use_messages(scene: &Scene, dispatch: &Dispatch) -> Html {
    // Names are cached per message, not built in every frame.
    let names = use_mut_ref(Vec::<(Label, AttrValue)>::new);
    let focused = use_state_eq(|| None::<EventId>);
    let moving = || scene.flights.iter().filter(|mark| mark.phase == Phase::Moving);
    let is =
        |wanted: Option<EventId>| wanted.filter(|wanted| moving().any(|mark| mark.id == *wanted));
    let chosen = moving().find(|mark| mark.chosen).map(|mark| mark.id);
    let first = moving().next().map(|mark| mark.id);
    let stop = is(*focused).or(chosen).or(first);
    let draw = |mark: &FlightMark, names: &mut Vec<(Label, AttrValue)>| {
        let label = mark.label();
        let place = match names.binary_search_by(|(kept, _)| kept.cmp(&label)) {
            Ok(place) => place,
            Err(place) => {
                names.insert(place, (label, mark.words().into()));
                place
            }
        };
        flight(mark, scene.layout.mark, &names[place].1, stop == Some(mark.id))
    };
    let mut names = names.borrow_mut();
    if names.len() > 2 * scene.flights.len() + 100 {
        names.clear();
    }
    let ids: Vec<EventId> = moving().map(|mark| mark.id).collect();
    let onkeydown = {
        let (dispatch, ids) = (dispatch.clone(), ids.clone());
        Callback::from(move |event: KeyboardEvent| {
            if let Some(id) = message_of(&event, &ids) {
                key(&event, id, &ids, &dispatch);
            }
        })
    };
    let onfocusin = {
        let ids = ids.clone();
        Callback::from(move |event: FocusEvent| focused.set(message_of(&event, &ids)))
    };
    let onclick = {
        let dispatch = dispatch.clone();
        Callback::from(move |event: MouseEvent| {
            // Only screen readers click without a pointer. The stage handles presses of a pointer.
            if event.detail() == 0
                && let Some(id) = message_of(&event, &ids)
            {
                dispatch.emit(Action::Ui(UiAction::Pick(id)));
            }
        })
    };
    html! {
        <g class="flights" {onkeydown} {onfocusin} {onclick}>
            { for scene.flights.iter().map(|mark| draw(mark, &mut names)) }
        </g>
    }
}

/// The message that an event targets.
fn message_of(event: &web_sys::Event, ids: &[EventId]) -> Option<EventId> {
    let element = event.target()?.dyn_into::<Element>().ok()?;
    let name = element.closest("[data-message]").ok()??.get_attribute("data-message")?;
    ids.iter().copied().find(|id| id.to_string() == name)
}

fn key(event: &KeyboardEvent, id: EventId, ids: &[EventId], dispatch: &Dispatch) {
    let Some(place) = ids.iter().position(|other| *other == id) else { return };
    if event.shift_key() || event.ctrl_key() || event.alt_key() || event.meta_key() {
        return;
    }
    let other = match event.key().as_str() {
        "Enter" | " " => {
            dispatch.emit(Action::Ui(UiAction::Pick(id)));
            None
        }
        "ArrowRight" | "ArrowDown" => ids.get(place + 1).or(ids.first()),
        "ArrowLeft" | "ArrowUp" => ids[..place].last().or(ids.last()),
        "Home" => ids.first(),
        "End" => ids.last(),
        _ => return,
    };
    event.prevent_default();
    event.stop_propagation();
    if let Some(other) = other {
        focus_message(*other);
    }
}

/// Focuses a message, if it is on the stage.
pub(crate) fn focus_message(message: EventId) {
    let found = gloo_utils::document().query_selector(&format!("[data-message=\"{message}\"]"));
    if let Some(element) = found.ok().flatten().and_then(|it| it.dyn_into::<SvgElement>().ok()) {
        let _ = element.focus();
    }
}
