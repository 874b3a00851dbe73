//! The bottom bar: the transport controls of time.

use yew::prelude::*;

use super::events::clock;
use super::parts::{Icon, glyph, typed};
use crate::dispatch::Dispatch;
use crate::domain::history::Jump;
use crate::domain::lanes::LanesAction;
use crate::domain::playback::Speed;
use crate::domain::run::SourceKind;
use crate::model::{Action, Model, UiAction};
use crate::num;

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    let reading = &model.reading;
    html! {
        <Transport
            source={model.source}
            playing={model.playback.playing}
            past={model.in_the_past()}
            speed={model.playback.speed}
            clock={clock(reading.now, model.source)}
            lag={reading.lag.map(num::behind).map(AttrValue::from)}
            pacing={model.permits_pacing()}
            turns={(model.turn_before(), model.turn_after())}
            undo={model.history.run.actions > 0}
            lanes={model.ui.lanes.open}
            dispatch={dispatch.clone()}
        />
    }
}

/// Properties of [`Transport`].
#[derive(PartialEq, Properties)]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
pub(crate) struct TransportProps {
    pub(crate) source: SourceKind,
    pub(crate) playing: bool,
    /// Whether the shown moment lies in the past.
    pub(crate) past: bool,
    pub(crate) speed: Speed,
    pub(crate) clock: AttrValue,
    /// How far the page is behind a live cluster.
    pub(crate) lag: Option<AttrValue>,
    /// Whether the speed can be changed, or why not.
    pub(crate) pacing: Result<(), String>,
    /// Jumps to the previous and to the next turning point.
    pub(crate) turns: (Option<Jump>, Option<Jump>),
    /// Whether there is an action to undo.
    pub(crate) undo: bool,
    /// Whether the space-time diagram is open.
    pub(crate) lanes: bool,
    pub(crate) dispatch: Dispatch,
}

/// The transport bar.
#[component]
pub(crate) fn Transport(props: &TransportProps) -> Html {
    let (play_icon, play_label) =
        if props.playing { (Icon::Pause, "Pause") } else { (Icon::Play, "Play") };
    let why_not = props.pacing.clone().err();
    let live = props.source == SourceKind::Live;
    let toggle = props.dispatch.reform(|_| Action::TogglePlay);
    let step = props.dispatch.reform(|_| Action::Step);
    let again = props.dispatch.reform(|_| Action::Again);
    html! {
        <div class="transport" role="group" aria-label="Time">
            { back(props) }
            <button
                type="button"
                class="button round primary"
                aria-label={play_label}
                title={format!("{play_label} (space)")}
                data-testid="play"
                data-playing={props.playing.to_string()}
                onclick={toggle}
            >
                { glyph(play_icon) }
            </button>
            <button
                type="button"
                class="button round"
                aria-label="Step: one event forward"
                title="Step (→)"
                data-testid="step"
                onclick={step}
            >
                { glyph(Icon::Step) }
            </button>
            { travel(props, props.turns.1, ("next", "wide-transport"), Icon::Next, "To the next turn (.)") }
            if live {
                // The button keeps its place, so no button moves under the finger.
                { travel(props, props.past.then_some(Jump::End), ("to-end", ""), Icon::ToEnd, "Back to the present (End)") }
            } else if props.past {
                { travel(props, Some(Jump::End), ("to-end", "wide-transport"), Icon::ToEnd, "To the end of the run so far (End)") }
            }
            { speed(props, why_not) }
            if props.past {
                <span class="past wide-transport" data-testid="past-words">
                    { if live {
                        "In the past: you act on the cluster as it is now"
                    } else {
                        "In the past: an action begins a branch"
                    } }
                </span>
            }
            { diagram(props) }
            <div class={classes!("when", props.past.then_some("late"))}>
                <output class="clock" aria-label="Time" data-testid="clock">{ &props.clock }</output>
                if let Some(lag) = &props.lag {
                    <span
                        class="lag"
                        title="How far the picture is behind the cluster, to wait for the events of all servers"
                        data-testid="lag"
                    >
                        { lag }
                    </span>
                }
            </div>
            if props.source == SourceKind::Simulate {
                <button
                    type="button"
                    class="button"
                    title="Undo your last action, in a new branch (Z)"
                    aria-disabled={(!props.undo).then_some("true")}
                    data-testid="undo"
                    onclick={props.dispatch.reform(|_| Action::Jump(Jump::Undo))}
                >
                    { glyph(Icon::Undo) }
                    <span>{ "Undo" }</span>
                </button>
                <button
                    type="button"
                    class="button again"
                    title="Start the same run again"
                    data-testid="again"
                    onclick={again}
                >
                    { glyph(Icon::Again) }
                    <span>{ "Restart" }</span>
                </button>
            }
        </div>
    }
}

/// Opens and closes the space-time diagram.
fn diagram(props: &TransportProps) -> Html {
    html! {
        <button
            type="button"
            class={classes!("button", "round", "lanes-button", props.lanes.then_some("primary"))}
            aria-label="Messages in time"
            aria-expanded={props.lanes.to_string()}
            title="Messages in time: lanes are servers, arrows messages (D)"
            data-testid="lanes-toggle"
            onclick={props.dispatch.reform(|_| Action::Ui(UiAction::Lanes(LanesAction::Toggle)))}
        >
            { glyph(Icon::Lanes) }
        </button>
    }
}

/// Buttons to the previous event and to the previous turning point.
fn back(props: &TransportProps) -> Html {
    html! {
        <>
            { travel(props, props.turns.0, ("previous", "wide-transport"), Icon::Previous, "To the previous turn (,)") }
            { travel(props, Some(Jump::Back), ("back", ""), Icon::Back, "Step: one event back (←)") }
        </>
    }
}

/// A round button that jumps within the run.
fn travel(
    props: &TransportProps,
    jump: Option<Jump>,
    (testid, class): (&'static str, &'static str),
    icon: Icon,
    title: &'static str,
) -> Html {
    let onclick = jump.map(|jump| props.dispatch.reform(move |_: MouseEvent| Action::Jump(jump)));
    let disabled = jump.is_none().then_some("true");
    html! {
        <button
            type="button"
            class={classes!("button", "round", class)}
            aria-label={title}
            {title}
            aria-disabled={disabled}
            data-testid={testid}
            {onclick}
        >
            { glyph(icon) }
        </button>
    }
}

fn speed(props: &TransportProps, why_not: Option<String>) -> Html {
    let dispatch = props.dispatch.clone();
    let oninput = Callback::from(move |event: InputEvent| {
        if let Some(position) = typed(&event).and_then(|text| text.parse().ok()) {
            dispatch.emit(Action::Speed(Speed::at(position)));
        }
    });
    let live = why_not.is_some();
    html! {
        <label class="speed" title={why_not.unwrap_or_else(|| "Speed ([ and ])".to_owned())}>
            <span class="speed-name">{ if live { "1 ×".to_owned() } else { props.speed.label() } }</span>
            <input
                type="range"
                min="0"
                max={Speed::LAST.to_string()}
                step="1"
                value={props.speed.position().to_string()}
                disabled={live}
                aria-label="Speed"
                aria-valuetext={props.speed.words()}
                data-testid="speed"
                {oninput}
            />
        </label>
    }
}
