//! The space-time diagram, above the tape of the whole run.

mod geometry;

use raft_core::message::MessageName;
use raft_core::types::{EventId, MILLISECOND, Micros, SECOND};
use yew::prelude::*;

use super::events::clock;
use super::parts::{Icon, choose_server, glyph, term_class};
use super::scrub::sign;
use super::stage::{kind, tone, use_size};
use crate::dispatch::Dispatch;
use crate::domain::cluster::ClusterModel;
use crate::domain::lanes::{LanesAction, Sign, WINDOWS};
use crate::domain::run::SourceKind;
use crate::domain::tape::MarkKind;
use crate::model::{Action, Model, UiAction};
use crate::num::{px, real};
use crate::scene::layout::Point;
use crate::scene::marks::Marks;
use crate::shared::Shared;
use geometry::{Arrow, Bar, End, LanesScene, Look, Row, SignMark, Source, words};

/// Shows the diagram if it is open.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    let ui = &model.ui.lanes;
    if !ui.open {
        return Html::default();
    }
    let lanes = model.history.lanes();
    let marks = Marks::of(&model.ui.selection, &model.reading.cluster);
    let (cluster, now) = (&model.cluster, model.playback.now);
    let source = Source { cluster, lanes: &lanes, now, ui, marks: &marks };
    html! {
        <SpaceTime
            scene={LanesScene::of(source)}
            cluster={model.cluster.clone()}
            window={ui.window}
            source={model.source}
            dispatch={dispatch.clone()}
        />
    }
}

/// Properties of [`SpaceTime`].
#[derive(PartialEq, Properties)]
pub(crate) struct SpaceTimeProps {
    scene: LanesScene,
    cluster: Shared<ClusterModel>,
    window: Micros,
    source: SourceKind,
    dispatch: Dispatch,
}

fn act(dispatch: &Dispatch, action: LanesAction) -> Callback<MouseEvent> {
    dispatch.reform(move |_| Action::Ui(UiAction::Lanes(action)))
}

fn pick(dispatch: &Dispatch, message: EventId) -> Callback<MouseEvent> {
    dispatch.reform(move |_| Action::Ui(UiAction::Pick(message)))
}

/// The space-time diagram.
#[component]
pub(crate) fn SpaceTime(props: &SpaceTimeProps) -> Html {
    let frame = use_node_ref();
    use_size(
        &frame,
        &props.dispatch.reform(|size: crate::scene::layout::Size| {
            Action::Ui(UiAction::Lanes(LanesAction::Width(size.width)))
        }),
    );
    let scene = &props.scene;
    let (width, height) = (px(scene.size.width), px(scene.size.height));
    let picked = scene.picked.as_ref().map(|it| it.id);
    html! {
        <section id="lanes" class="spacetime" aria-labelledby="lanes-title" data-testid="lanes">
            <header>
                <h2 id="lanes-title">{ "Messages in time" }</h2>
                { told(props) }
                <div class="controls">
                    { beside(props, 0, Icon::Back, "message-before", "Previous message") }
                    { beside(props, 1, Icon::Step, "message-after", "Next message") }
                    { windows(props) }
                    <button
                        type="button"
                        class="button quiet"
                        aria-label="Close the diagram"
                        title="Close (D)"
                        data-testid="lanes-close"
                        onclick={act(&props.dispatch, LanesAction::Toggle)}
                    >
                        { glyph(Icon::Close) }
                    </button>
                </div>
            </header>
            <div class="space">
                <div class="names" style={format!("grid-auto-rows:{}px", px(scene.lane))}>
                    { for scene.rows.iter().map(|row| name(row, &props.dispatch)) }
                </div>
                <div class="diagram" ref={frame}>
                    <svg
                        viewBox={format!("0 0 {width} {height}")}
                        {width}
                        height={height.clone()}
                        role="group"
                        aria-label="Lanes are servers, arrows messages; time runs from left to right"
                    >
                        { for scene.rows.iter().map(|row| ground(row, scene, &props.dispatch)) }
                        { for scene.ticks.iter().map(|tick| axis(tick, scene)) }
                        <g transform={format!("translate({} 0)", px(scene.shift))}>
                            { for scene.bars.iter().map(bar) }
                            <Arrows
                                arrows={scene.arrows.clone()}
                                picked={picked.filter(|id| scene.arrows.iter().any(|it| it.id == *id))}
                                carriers={scene.carriers.clone()}
                                cluster={props.cluster.clone()}
                                dispatch={props.dispatch.clone()}
                            />
                            <Arrows
                                arrows={scene.moving.clone()}
                                picked={picked.filter(|id| scene.moving.iter().any(|it| it.id == *id))}
                                carriers={scene.carriers.clone()}
                                cluster={props.cluster.clone()}
                                dispatch={props.dispatch.clone()}
                            />
                            { for scene.signs.iter().map(draw_sign) }
                        </g>
                        <line class="head" x1={px(scene.head)} x2={px(scene.head)} y1="0" y2={height} />
                    </svg>
                </div>
            </div>
        </section>
    }
}

/// Describes the picked message, or explains how to read the diagram.
fn told(props: &SpaceTimeProps) -> Html {
    let scene = &props.scene;
    let words = match &scene.picked {
        Some(picked) => format!("{}: {}", clock(picked.sent, props.source), picked.words),
        None if scene.thinned => {
            "Too many messages: older heartbeats and replies are left out.".to_owned()
        }
        None => "Strong: a request. Light: a reply. A cross: lost. Choose an arrow to read its \
                 message."
            .to_owned(),
    };
    html! {
        <p class={classes!(scene.picked.is_some().then_some("chosen"))} aria-live="polite" data-testid="message-words">
            { words }
        </p>
    }
}

fn beside(
    props: &SpaceTimeProps,
    side: usize,
    icon: Icon,
    testid: &'static str,
    title: &'static str,
) -> Html {
    let there = props.scene.beside.get(side).copied().flatten();
    let onclick = there.map(|id| pick(&props.dispatch, id));
    html! {
        <button
            type="button"
            class="button round small"
            aria-label={title}
            {title}
            aria-disabled={there.is_none().then_some("true")}
            data-testid={testid}
            {onclick}
        >
            { glyph(icon) }
        </button>
    }
}

fn windows(props: &SpaceTimeProps) -> Html {
    let button = |window: Micros| {
        let label = match window {
            0..SECOND => format!("{} s", real(window) / 1e6),
            _ => format!("{} s", window / SECOND),
        };
        html! {
            <button
                type="button"
                aria-pressed={(window == props.window).to_string()}
                data-testid={format!("window-{}", window / MILLISECOND)}
                onclick={act(&props.dispatch, LanesAction::Window(window))}
            >
                { label }
            </button>
        }
    };
    html! {
        <div class="switch small" role="group" aria-label="How much time is shown">
            { for WINDOWS.into_iter().map(button) }
        </div>
    }
}

fn select(row: &Row, dispatch: &Dispatch) -> Callback<MouseEvent> {
    let (selected, node) = (row.selected, row.node);
    dispatch.reform(move |event: MouseEvent| choose_server(node, selected, event.shift_key()))
}

fn name(row: &Row, dispatch: &Dispatch) -> Html {
    let look = row.state.map(crate::domain::lanes::State::look);
    let term = row.state.map_or_else(String::new, |state| term_class(state.term));
    html! {
        <button
            key={row.node.0}
            type="button"
            class={classes!("lane-name", term, look.map(class))}
            aria-pressed={row.selected.to_string()}
            aria-label={row.words.clone()}
            title={row.words.clone()}
            data-testid={format!("lane-{}", row.node)}
            onclick={select(row, dispatch)}
        >
            { row.node.to_string() }
            if look == Some(Look::Leader) {
                { glyph(Icon::Crown) }
            }
        </button>
    }
}

/// The clickable area of a lane.
fn ground(row: &Row, scene: &LanesScene, dispatch: &Dispatch) -> Html {
    html! {
        <rect
            key={row.node.0}
            class={classes!("ground", row.selected.then_some("selected"))}
            x="0"
            y={px(row.y - scene.lane / 2.0)}
            width={px(scene.size.width)}
            height={px(scene.lane)}
            onclick={select(row, dispatch)}
        />
    }
}

fn axis((x, label): &(f64, String), scene: &LanesScene) -> Html {
    let foot = scene.size.height;
    // The label at the left edge stays inside.
    let anchor = if *x < 30.0 { "start" } else { "end" };
    html! {
        <g class="tick" aria-hidden="true">
            <line x1={px(*x)} x2={px(*x)} y1="0" y2={px(foot - 18.0)} />
            <text x={px(*x)} y={px(foot - 5.0)} text-anchor={anchor}>{ label }</text>
        </g>
    }
}

fn bar(bar: &Bar) -> Html {
    html! {
        <line
            class={classes!("bar", class(bar.look), term_class(bar.term))}
            x1={px(bar.from)}
            x2={px(bar.until)}
            y1={px(bar.y)}
            y2={px(bar.y)}
        >
            <title>{ &bar.words }</title>
        </line>
    }
}

const fn class(look: Look) -> &'static str {
    match look {
        Look::Leader => "leads",
        Look::Candidate => "stands",
        Look::PreCandidate => "probes",
        Look::Follower => "follows",
        Look::Learner => "learns",
        Look::Frozen => "frozen",
        Look::Down => "down",
        Look::Unseen => "unseen",
    }
}

fn draw_sign(mark: &SignMark) -> Html {
    let place = format!("translate({} {})", px(mark.at.x), px(mark.at.y));
    let (class, path) = match mark.sign {
        Sign::Win => sign(MarkKind::Win),
        Sign::Stop => sign(MarkKind::Stop),
        Sign::Return => sign(MarkKind::Return),
        Sign::Decide(_) => ("decide", "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0"),
        Sign::Learn(_) => ("learn", "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0"),
    };
    html! {
        <g class={classes!("mark", class)} transform={place} role="img" aria-label={mark.words.clone()}>
            <title>{ &mark.words }</title>
            <path d={path} />
        </g>
    }
}

/// Properties of [`Arrows`].
#[derive(Properties)]
struct ArrowsProps {
    arrows: Vec<Arrow>,
    picked: Option<EventId>,
    /// Messages that carry the chosen index.
    carriers: Vec<EventId>,
    /// For the words of the messages.
    cluster: Shared<ClusterModel>,
    dispatch: Dispatch,
}

/// Ignores `cluster`, because the words of a message never change. Equal arrows are not drawn
/// again.
impl PartialEq for ArrowsProps {
    fn eq(&self, other: &Self) -> bool {
        self.picked == other.picked
            && self.carriers == other.carriers
            && self.arrows == other.arrows
    }
}

#[component]
fn Arrows(props: &ArrowsProps) -> Html {
    html! {
        <g>{ for props.arrows.iter().map(|it| arrow(it, props)) }</g>
    }
}

fn arrow(arrow: &Arrow, props: &ArrowsProps) -> Html {
    let id = arrow.id;
    let words = props.cluster.view.messages.get(&id).map_or_else(String::new, words);
    let picked = props.picked == Some(id);
    let (from, to) = (arrow.from, arrow.to);
    let line = format!("M{} {}L{} {}", px(from.x), px(from.y), px(to.x), px(to.y));
    let ending = match arrow.end {
        End::Arrived => head(from, to),
        End::Lost => cross(to),
        End::Flying | End::Untold => String::new(),
    };
    html! {
        <g
            key={id.to_string()}
            class={classes!(
                "arrow",
                kind(arrow.name),
                tone(arrow.reply),
                ending_class(arrow.end),
                picked.then_some("picked"),
                props.carriers.contains(&id).then_some("carries"),
            )}
            role="img"
            aria-label={words.clone()}
            data-testid="arrow"
            onclick={pick(&props.dispatch, id)}
        >
            <title>{ words }</title>
            <path class="hit" d={line.clone()} />
            <path class="way" d={line} />
            if !ending.is_empty() {
                <path class="tip" d={ending} />
            }
            if let Some(letter) = letter(arrow.name).filter(|_| arrow.reply.is_none()) {
                { named(letter, from.towards(to, 0.3)) }
            }
        </g>
    }
}

const fn ending_class(end: End) -> &'static str {
    match end {
        End::Arrived => "arrived",
        End::Lost => "lost",
        End::Flying => "flying",
        End::Untold => "untold",
    }
}

/// The stage's letters for messages that are not routine.
const fn letter(name: MessageName) -> Option<&'static str> {
    match name {
        MessageName::PreVote => Some("P"),
        MessageName::RequestVote => Some("V"),
        MessageName::AppendEntries => Some("A"),
        MessageName::InstallSnapshot => Some("S"),
        MessageName::TimeoutNow => Some("T"),
        MessageName::ReadIndex => Some("R"),
        MessageName::Heartbeat
        | MessageName::PreVoteReply
        | MessageName::RequestVoteReply
        | MessageName::AppendEntriesReply
        | MessageName::InstallSnapshotReply
        | MessageName::ReadIndexReply
        | MessageName::StateDigest => None,
    }
}

fn named(letter: &'static str, at: Point) -> Html {
    html! { <text x={px(at.x)} y={px(at.y)} aria-hidden="true">{ letter }</text> }
}

/// The path of an arrowhead.
fn head(from: Point, to: Point) -> String {
    let bearing = from.bearing(to);
    let [left, right] = [2.7, -2.7].map(|turn| to.at(bearing + turn, 7.0));
    format!(
        "M{} {}L{} {}L{} {}z",
        px(to.x),
        px(to.y),
        px(left.x),
        px(left.y),
        px(right.x),
        px(right.y)
    )
}

fn cross(at: Point) -> String {
    let (x, y) = (px(at.x - 4.0), px(at.y - 4.0));
    format!("M{x} {y}l8 8m0 -8l-8 8")
}
