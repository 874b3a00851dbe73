//! The whole run on one axis: terms, leaders and turning points, one lane per branch, and a handle
//! to seek.

pub(crate) mod geometry;

use raft_core::types::Time;
use yew::prelude::*;

use super::events::{clock, time_of_day};
use super::parts::{Icon, glyph, term_class, typed};
use crate::dispatch::Dispatch;
use crate::domain::history::Jump;
use crate::domain::run::SourceKind;
use crate::domain::tape::MarkKind;
use crate::model::{Action, Model};
use crate::num::{real, span};
use geometry::{Bar, Dot, Lane, TapeScene};

/// Properties of [`Scrub`].
#[derive(PartialEq, Properties)]
pub(crate) struct ScrubProps {
    pub(crate) scene: TapeScene,
    pub(crate) now: Time,
    /// Whether the shown moment lies in the past.
    pub(crate) past: bool,
    /// The number of events up to the shown moment.
    pub(crate) events: u64,
    /// The shown moment in words: time, term and leader.
    pub(crate) words: AttrValue,
    pub(crate) dispatch: Dispatch,
}

/// Builds the scrubber from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    // A sign is 14 pixels wide.
    let room = if model.ui.stage.width < 600.0 { 24 } else { 100 };
    let now = model.playback.now;
    let term = model.cluster.view.term();
    let leader = model.cluster.leader().map_or("no leader".to_owned(), |it| format!("{it} leads"));
    let mut scene = TapeScene::of(&model.history, room);
    let moment = match model.source {
        SourceKind::Simulate | SourceKind::Replay => span(now.0),
        SourceKind::Live => {
            for (x, label) in &mut scene.ticks {
                *label = time_of_day(scene.axis.time(*x));
            }
            // Ticks within one second have the same label.
            scene.ticks.dedup_by(|next, tick| next.1 == tick.1);
            clock(now, model.source)
        }
    };
    html! {
        <Scrub
            {scene}
            {now}
            past={model.in_the_past()}
            events={model.cluster.view.events}
            words={format!("{moment}, term {term}, {leader}")}
            dispatch={dispatch.clone()}
        />
    }
}

/// The scrubber.
#[component]
pub(crate) fn Scrub(props: &ScrubProps) -> Html {
    let dispatch = props.dispatch.clone();
    let oninput = Callback::from(move |event: InputEvent| {
        if let Some(time) = typed(&event).and_then(|text| text.parse().ok()) {
            dispatch.emit(Action::Jump(Jump::Time(Time(time))));
        }
    });
    let many = props.scene.lanes.len() > 1;
    let axis = props.scene.axis;
    let playhead = format!("left:{:.3}%", 100.0 * axis.share(props.now).min(1.0));
    html! {
        <section
            class={classes!("scrub", many.then_some("many"), props.past.then_some("past"))}
            aria-label="The run so far"
            data-testid="scrub"
            data-past={props.past.to_string()}
            data-events={props.events.to_string()}
        >
            if many {
                <div class="branches" role="group" aria-label="Branches">
                    { for props.scene.lanes.iter().map(|lane| branch(lane, props)) }
                    <button
                        type="button"
                        class="side-by-side"
                        aria-label="Compare two branches"
                        title="Compare two branches (=)"
                        data-testid="compare"
                        onclick={props.dispatch.reform(|_| Action::Compare(None))}
                    >
                        { glyph(Icon::Compare) }
                    </button>
                </div>
            }
            <div class="axis">
                <div class="lanes">
                    { for props.scene.lanes.iter().map(draw) }
                    <span class="playhead" style={playhead}></span>
                </div>
                <input
                    class="handle"
                    type="range"
                    min={axis.begin.0.to_string()}
                    max={axis.begin.after(axis.width).0.to_string()}
                    step="1"
                    value={props.now.0.to_string()}
                    aria-label="Moment of the run"
                    aria-valuetext={props.words.clone()}
                    data-testid="seek"
                    {oninput}
                />
                <div class="ticks" aria-hidden="true">
                    { for props.scene.ticks.iter().map(|(x, label)| html! {
                        // Labels at the edges stay inside.
                        <span style={format!("{};transform:translateX(-{:.0}%)", at(*x), 100.0 * x)}>
                            { label }
                        </span>
                    }) }
                </div>
            </div>
        </section>
    }
}

fn at(x: f64) -> String {
    format!("left:{:.2}%", 100.0 * x)
}

fn branch(lane: &Lane, props: &ScrubProps) -> Html {
    let (id, now) = (lane.id, props.now);
    let onclick = props.dispatch.reform(move |_: MouseEvent| Action::Jump(Jump::Branch(id, now)));
    let title = match &lane.parted {
        Some((_, parent)) => format!(
            "Branch {}, from {parent} at {}, run to {}",
            lane.name,
            span(lane.from.0),
            span(lane.end.0)
        ),
        None => format!("Branch {}, run to {}", lane.name, span(lane.end.0)),
    };
    html! {
        <button
            type="button"
            aria-pressed={lane.current.to_string()}
            aria-label={title.clone()}
            {title}
            data-testid={format!("branch-{}", lane.name)}
            {onclick}
        >
            { &lane.name }
        </button>
    }
}

fn draw(lane: &Lane) -> Html {
    html! {
        <div class={classes!("lane", lane.current.then_some("current"))} data-branch={lane.name.clone()}>
            { for lane.bars.iter().map(bar) }
            { for lane.dots.iter().map(dot) }
            if let Some((x, _)) = &lane.parted {
                <span class="parting" style={at(*x)}></span>
            }
        </div>
    }
}

fn bar(bar: &Bar) -> Html {
    let style = format!("left:{:.2}%;width:{:.3}%", 100.0 * bar.x, 100.0 * bar.width);
    let led = bar.leader.is_some();
    let class = classes!(
        "bar",
        term_class(bar.term),
        (!led).then_some("vacant"),
        bar.shared.then_some("shared"),
    );
    let roomy = bar.width > 0.045 && !bar.shared;
    let words = bar.leader.filter(|_| roomy);
    html! {
        <span {class} {style}>
            if let Some(leader) = words {
                <b>{ leader.to_string() }</b>
                if bar.width > 0.12 {
                    <i>{ format!(" term {}", bar.term) }</i>
                }
            }
        </span>
    }
}

fn dot(dot: &Dot) -> Html {
    let style = format!("left:{:.2}%", real(dot.place) / 100.0);
    let (class, path) = sign(dot.kind);
    html! {
        <svg class={classes!("dot", class)} {style} viewBox="-6 -6 12 12" data-count={dot.count.to_string()}>
            <path d={path} />
        </svg>
    }
}

/// The CSS class and the shape of a turning point. The shapes differ, so colour is not needed.
pub(super) const fn sign(kind: MarkKind) -> (&'static str, &'static str) {
    match kind {
        MarkKind::Stand => ("stand", "M-4 3.5L0-4L4 3.5z"),
        MarkKind::Win => ("win", "M-5 4L-5-3L-2 0L0-4.5L2 0L5-3L5 4z"),
        MarkKind::Stop => ("stop", "M-4-4L4 4M4-4L-4 4"),
        MarkKind::Return => ("return", "M0-4.5V0M-3-3A4.3 4.3 0 1 0 3-3"),
        MarkKind::Cut => ("cut", "M-2-5V5M2-5V5"),
        MarkKind::Mend => ("mend", "M-5 0H5"),
        MarkKind::Write => ("write", "M0-4.5L4.5 0L0 4.5L-4.5 0z"),
        MarkKind::Members => ("members", "M0-4V4M-4 0H4"),
        MarkKind::Violation => ("violation", "M0-5V1M0 4V4.5"),
    }
}

/// The signs in words, for the help.
pub(crate) const SIGNS: [(MarkKind, &str); 9] = [
    (MarkKind::Stand, "starts an election"),
    (MarkKind::Win, "wins an election"),
    (MarkKind::Stop, "crashes or freezes"),
    (MarkKind::Return, "restarts or resumes"),
    (MarkKind::Cut, "links cut"),
    (MarkKind::Mend, "links mended"),
    (MarkKind::Write, "a client's write"),
    (MarkKind::Members, "members change"),
    (MarkKind::Violation, "a violation"),
];

/// A sign outside the tape.
pub(crate) fn sign_glyph(kind: MarkKind) -> Html {
    let (class, path) = sign(kind);
    html! {
        <svg class={classes!("dot", "alone", class)} viewBox="-6 -6 12 12" aria-hidden="true">
            <path d={path} />
        </svg>
    }
}
