//! The pointer on the stage: its events go to the model, and its current gesture is drawn here.

use std::cell::RefCell;
use std::rc::Rc;

use gloo_events::{EventListener, EventListenerOptions};
use gloo_timers::callback::Timeout;
use wasm_bindgen::JsCast as _;
use web_sys::Element;
use yew::prelude::*;

use crate::dispatch::Dispatch;
use crate::domain::actions::MessageAction;
use crate::model::gesture::{GestureAction, Pointer};
use crate::model::{Action, UiAction};
use crate::num::px;
use crate::scene::drag::Drag;
use crate::scene::layout::Point;
use crate::scene::traffic::Hit;
use crate::scene::{InHand, Scene};

/// A finger that rests on a server for this long, in milliseconds, opens its menu.
const LONG_MS: u32 = 500;

/// A finger that moves farther than this, in pixels, does not rest.
const STRAYS: f64 = 10.0;

/// The stage's pointer event handlers.
pub(super) struct Listeners {
    pub(super) down: Callback<PointerEvent>,
    pub(super) moved: Callback<PointerEvent>,
    pub(super) up: Callback<PointerEvent>,
    pub(super) cancel: Callback<PointerEvent>,
}

/// A finger that rests on a server: where it touched, and the timeout that opens the menu.
type Rest = Rc<RefCell<Option<(Point, Timeout)>>>;

/// Creates the handlers, which turn pointer events into actions.
#[hook]
pub(super) fn use_hand(frame: &NodeRef, scene: &Rc<Scene>, dispatch: &Dispatch) -> Listeners {
    let rest: Rest = use_mut_ref(|| None);
    let holds = use_mut_ref(|| false);
    use_stillness(frame, &holds);
    let down = {
        let (frame, scene, dispatch) = (frame.clone(), scene.clone(), dispatch.clone());
        let rest = rest.clone();
        Callback::from(move |event: PointerEvent| {
            let Some(pointer) = pointer(&event, &frame).filter(|_| event.button() == 0) else {
                return;
            };
            let at = pointer.at;
            let hit = scene.hit(at, pointer.touch);
            *holds.borrow_mut() = matches!(hit, Hit::Message(..));
            match hit {
                Hit::Server(node) if event.pointer_type() != "mouse" => {
                    let menu = dispatch.reform(move |()| Action::Ui(UiAction::Menu(Some(node))));
                    let wait = Timeout::new(LONG_MS, move || menu.emit(()));
                    rest.replace(Some((at, wait)));
                }
                Hit::Server(_) => {}
                Hit::Ground if is_at_a_server(&event) => {}
                Hit::Message(..) | Hit::Ground => {
                    // The stage gets all later moves of this pointer, wherever it goes.
                    if let Some(svg) = svg(&frame) {
                        let _ = svg.set_pointer_capture(event.pointer_id());
                    }
                    dispatch.emit(Action::Gesture(GestureAction::Press(pointer)));
                }
            }
        })
    };
    let tell = |act: fn(Pointer) -> GestureAction, ends: bool| {
        let (frame, dispatch, rest) = (frame.clone(), dispatch.clone(), rest.clone());
        Callback::from(move |event: PointerEvent| {
            let Some(pointer) = pointer(&event, &frame) else { return };
            rest.borrow_mut().take_if(|(from, _)| ends || from.distance(pointer.at) > STRAYS);
            if svg(&frame).is_some_and(|svg| svg.has_pointer_capture(event.pointer_id())) {
                dispatch.emit(Action::Gesture(act(pointer)));
            }
        })
    };
    let cancel = {
        let (dispatch, rest) = (dispatch.clone(), rest.clone());
        Callback::from(move |_: PointerEvent| {
            rest.take();
            dispatch.emit(Action::Gesture(GestureAction::GiveUp));
        })
    };
    Listeners {
        down,
        moved: tell(GestureAction::Move, false),
        up: tell(GestureAction::Release, true),
        cancel,
    }
}

/// Prevents scrolling under a finger that holds a message. Chromium ignores `touch-action` on
/// elements inside an SVG.
#[hook]
fn use_stillness(frame: &NodeRef, holds: &Rc<RefCell<bool>>) {
    let holds = holds.clone();
    use_effect_with(frame.clone(), move |frame| {
        let listener = svg(frame).map(|svg| {
            let options = EventListenerOptions::enable_prevent_default();
            // The touch event follows the pointer event, which sets `holds`.
            EventListener::new_with_options(&svg, "touchstart", options, move |event| {
                if *holds.borrow() {
                    event.prevent_default();
                }
            })
        });
        move || drop(listener)
    });
}

fn svg(frame: &NodeRef) -> Option<Element> {
    frame.cast::<Element>()?.query_selector("svg").ok()?
}

fn pointer(event: &PointerEvent, frame: &NodeRef) -> Option<Pointer> {
    let bounds = frame.cast::<Element>()?.get_bounding_client_rect();
    let (x, y) = (f64::from(event.client_x()), f64::from(event.client_y()));
    Some(Pointer {
        at: Point { x: x - bounds.left(), y: y - bounds.top() },
        time: event.time_stamp(),
        copy: event.shift_key() || event.alt_key(),
        touch: event.pointer_type() == "touch",
    })
}

/// Whether an event hit a server or its label.
fn is_at_a_server(event: &PointerEvent) -> bool {
    let element = event.target().and_then(|target| target.dyn_into::<Element>().ok());
    element.is_some_and(|element| element.closest(".server").ok().flatten().is_some())
}

/// Draws the stroke, or how far the message was dragged.
pub(super) fn in_hand(scene: &Scene) -> Html {
    match scene.gesture.as_ref().map(|gesture| &gesture.what) {
        None => Html::default(),
        Some(InHand::Stroke(path)) => {
            let points: Vec<String> =
                path.iter().map(|point| format!("{},{}", px(point.x), px(point.y))).collect();
            html! { <polyline class="stroke" points={points.join(" ")} data-testid="stroke" /> }
        }
        Some(InHand::Message { from, at, drag, .. }) => html! {
            <g class={classes!("pull", meaning(*drag))} data-testid="pull">
                <circle cx={px(from.x)} cy={px(from.y)} r={px(scene.layout.mark)} />
                <line x1={px(from.x)} y1={px(from.y)} x2={px(at.x)} y2={px(at.y)} />
                <circle class="held" cx={px(at.x)} cy={px(at.y)} r={px(scene.layout.mark * 1.3 + 7.0)} />
            </g>
        },
    }
}

const fn meaning(drag: Drag) -> &'static str {
    match drag {
        Drag::Message(MessageAction::Drop) => "loses",
        Drag::Message(MessageAction::Duplicate) => "copies",
        Drag::Message(MessageAction::Delay(_) | MessageAction::Hold | MessageAction::Release) => {
            "delays"
        }
        Drag::Press | Drag::Nothing => "rests",
    }
}

/// What releasing the pointer does, in words.
pub(super) fn words(scene: &Scene) -> Html {
    let words = scene.gesture.as_ref().and_then(|gesture| gesture.words.clone());
    html! {
        <p class="gesture-words" role="status" data-testid="gesture-words">
            if let Some(words) = words {
                <span>{ words }</span>
            }
        </p>
    }
}
