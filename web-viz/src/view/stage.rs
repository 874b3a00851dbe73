//! The stage: the ring of servers, the links between them, the messages on their way.

mod flight;
mod legend;
mod link;
mod server;

use raft_core::types::NodeId;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use yew::prelude::*;

use super::Dispatch;
use super::parts::{Icon, glyph, term_class};
use crate::model::failover::{Failover, Loss};
use crate::model::{Action, UiAction};
use crate::num::{self, px};
use crate::scene::Scene;
use crate::scene::layout::Size;
use flight::flight;
pub(in crate::view) use flight::shape;
use legend::legend;
use link::link;
use server::server;

/// Properties of [`Stage`].
#[derive(PartialEq, Properties)]
pub(crate) struct StageProps {
    pub(crate) scene: Scene,
    pub(crate) figures: Figures,
    pub(crate) dispatch: Dispatch,
}

/// What stands in large type beside the ring.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) leader: Option<NodeId>,
    /// The lost leader, for how long there has been none (in µs), and how it was lost.
    pub(crate) vacancy: Option<(NodeId, u64, Loss)>,
    pub(crate) failover: Option<Failover>,
}

/// See the module.
#[component]
pub(crate) fn Stage(props: &StageProps) -> Html {
    let frame = use_node_ref();
    use_size(&frame, &props.dispatch);
    let scene = &props.scene;
    let Size { width, height } = scene.layout.size;
    html! {
        <section class="stage" ref={frame} aria-label="Cluster" data-testid="stage">
            <svg
                viewBox={format!("0 0 {} {}", px(width), px(height))}
                width={px(width)}
                height={px(height)}
                role="group"
                aria-label="Servers and the messages between them"
            >
                { definitions() }
                { dial(scene) }
                { for scene.links.iter().map(link) }
                { for scene.servers.iter().map(|mark| server(mark, &props.dispatch)) }
                { for scene.flights.iter().map(|mark| flight(mark, scene.layout.mark)) }
            </svg>
            { board(&props.figures, scene.term.0) }
            { legend() }
        </section>
    }
}

/// The hatching of what is down.
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

/// The ring that the servers stand on, with the term in its middle.
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

/// The figures that the last row must be able to read.
fn board(figures: &Figures, term: u64) -> Html {
    let leader = match figures.leader {
        Some(leader) => html! { <>{ glyph(Icon::Crown) }{ leader.to_string() }</> },
        None => html! { <span class="none">{ "none" }</span> },
    };
    let failover = match (figures.vacancy, figures.failover) {
        (Some((lost, span, how)), _) => {
            Some(("Without a leader", num::span(span), format!("{lost} {}", lost_words(how)), true))
        }
        (None, Some(done)) => {
            Some(("Failover", num::span(done.took), format!("{} → {}", done.from, done.to), false))
        }
        (None, None) => None,
    };
    html! {
        <dl class="board">
            <div>
                <dt>{ "Leader" }</dt>
                <dd data-testid="leader">{ leader }</dd>
            </div>
            <div>
                <dt>{ "Term" }</dt>
                <dd data-testid="term">{ term }</dd>
            </div>
            if let Some((title, figure, detail, running)) = failover {
                <div class={classes!(running.then_some("vacant"))}>
                    <dt>{ title }</dt>
                    <dd data-testid="failover" data-running={running.to_string()}>
                        { figure }<small>{ detail }</small>
                    </dd>
                </div>
            }
        </dl>
    }
}

const fn lost_words(how: Loss) -> &'static str {
    match how {
        Loss::Crashed => "crashed",
        Loss::Frozen => "stands still",
        Loss::CutOff => "is cut off",
        Loss::SteppedDown => "stepped down",
        Loss::OutOfSight => "is out of sight",
    }
}

/// Tells the model how large the stage is, now and whenever that changes.
#[hook]
fn use_size(frame: &NodeRef, dispatch: &Dispatch) {
    let dispatch = dispatch.clone();
    use_effect_with(frame.clone(), move |frame| {
        let element = frame.cast::<web_sys::Element>();
        let watch = element.and_then(|element| {
            let measured = element.clone();
            let changed = Closure::<dyn Fn()>::new(move || {
                let bounds = measured.get_bounding_client_rect();
                let size = Size { width: bounds.width(), height: bounds.height() };
                if size.width > 0.0 && size.height > 0.0 {
                    dispatch.emit(Action::Ui(UiAction::Stage(size)));
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
