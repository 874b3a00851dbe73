//! The stage: the ring of servers, their links, and the messages in transit.

mod border;
mod flight;
mod gesture;
mod legend;
mod link;
mod menu;
mod messages;
mod server;

use std::rc::Rc;

use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use yew::prelude::*;

use super::parts::term_class;
use crate::dispatch::Dispatch;
use crate::model::{Action, Model, UiAction};
use crate::num::px;
use crate::scene::layout::Size;
use crate::scene::marks::Marks;
use crate::scene::{self, Scene};
use border::border;
pub(in crate::panel) use flight::{kind, shape, tone};
use gesture::{in_hand, use_hand, words};
use legend::legend;
use link::link;
use menu::{Menu, MenuMark, menu_of};
pub(crate) use messages::focus_message;
use messages::use_messages;
use server::server;

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    let marks = Marks::of(&model.ui.selection, &model.reading.cluster);
    let scene = Scene::of(scene::Source {
        cluster: &model.cluster,
        read: &model.reading.cluster,
        now: model.playback.now,
        pace: model.pace(),
        size: model.ui.stage,
        marks: &marks,
        gesture: model.ui.gesture.drawn(),
        refused: model.hand_refused(),
    });
    let menu = model.ui.menu.map(|node| menu_of(model, node));
    html! { <Stage scene={Rc::new(scene)} {menu} dispatch={dispatch.clone()} /> }
}

/// Properties of [`Stage`].
#[derive(PartialEq, Properties)]
pub(crate) struct StageProps {
    pub(crate) scene: Rc<Scene>,
    /// The open menu.
    pub(crate) menu: Option<MenuMark>,
    pub(crate) dispatch: Dispatch,
}

/// The stage and its pointer handling.
#[component]
pub(crate) fn Stage(props: &StageProps) -> Html {
    let frame = use_node_ref();
    use_size(&frame, &props.dispatch.reform(|size| Action::Ui(UiAction::Stage(size))));
    let gesture = use_hand(&frame, &props.scene, &props.dispatch);
    let messages = use_messages(&props.scene, &props.dispatch);
    let scene = &props.scene;
    let Size { width, height } = scene.layout.size;
    let open = props.menu.is_some();
    html! {
        <section
            class={classes!("stage", scene.gesture.is_some().then_some("in-hand"))}
            ref={frame.clone()}
            aria-label="Cluster"
            data-testid="stage"
        >
            <svg
                viewBox={format!("0 0 {} {}", px(width), px(height))}
                width={px(width)}
                height={px(height)}
                role="group"
                aria-label="Servers and the messages between them"
                onpointerdown={gesture.down}
                onpointermove={gesture.moved}
                onpointerup={gesture.up}
                onpointercancel={gesture.cancel}
            >
                { definitions() }
                { dial(scene) }
                { for scene.links.iter().map(link) }
                { for scene.border.iter().map(border) }
                { for scene.servers.iter().map(|mark| server(mark, open, &props.dispatch)) }
                { messages }
                { in_hand(scene) }
            </svg>
            { legend() }
            { words(scene) }
            if let Some(menu) = &props.menu {
                <Menu menu={menu.clone()} stage={frame} dispatch={props.dispatch.clone()} />
            }
        </section>
    }
}

/// The hatch pattern of servers that are down.
fn definitions() -> Html {
    html! {
        <defs>
            <pattern
                id="hatch"
                width="7"
                height="7"
                patternUnits="userSpaceOnUse"
                patternTransform="rotate(45)"
            >
                <line class="hatch" x1="0" y1="0" x2="0" y2="7" />
            </pattern>
        </defs>
    }
}

/// The ring of the servers, with the term in its middle.
fn dial(scene: &Scene) -> Html {
    let (x, y) = (px(scene.layout.centre.x), px(scene.layout.centre.y));
    let below = px(scene.layout.centre.y + scene.layout.ring * 0.3);
    let several = scene.layout.ring > 0.0 && scene.term.0 > 0;
    html! {
        <g class={classes!("dial", term_class(scene.term))} aria-hidden="true">
            <circle class="dial-ring" cx={x.clone()} cy={y.clone()} r={px(scene.layout.ring)} />
            if several {
                <text
                    class="dial-term"
                    x={x.clone()}
                    y={y}
                    style={format!("font-size:{}px", px(scene.layout.ring * 0.5))}
                >
                    { scene.term.to_string() }
                </text>
                <text class="dial-word" {x} y={below}>{ "term" }</text>
            }
        </g>
    }
}

/// Reports the size of an element, now and after each change.
#[hook]
pub(in crate::panel) fn use_size(frame: &NodeRef, told: &Callback<Size>) {
    let told = told.clone();
    use_effect_with(frame.clone(), move |frame| {
        let element = frame.cast::<web_sys::Element>();
        let watch = element.and_then(|element| {
            let measured = element.clone();
            let changed = Closure::<dyn Fn()>::new(move || {
                let bounds = measured.get_bounding_client_rect();
                let size = Size { width: bounds.width(), height: bounds.height() };
                if size.width > 0.0 && size.height > 0.0 {
                    told.emit(size);
                }
            });
            let observer = web_sys::ResizeObserver::new(changed.as_ref().unchecked_ref()).ok()?;
            observer.observe(&element);
            Some((observer, changed))
        });
        move || {
            if let Some((observer, _)) = watch {
                observer.disconnect();
            }
        }
    });
}
