//! The bar at the bottom: time.

use yew::prelude::*;

use super::Dispatch;
use super::parts::{Icon, glyph, typed};
use crate::model::Action;
use crate::model::playback::Speed;
use crate::source::SourceKind;

/// Properties of [`Transport`].
#[derive(PartialEq, Properties)]
pub(crate) struct TransportProps {
    pub(crate) source: SourceKind,
    pub(crate) playing: bool,
    pub(crate) speed: Speed,
    pub(crate) clock: AttrValue,
    /// Whether steps and speeds are possible, else why not.
    pub(crate) pacing: Result<(), String>,
    pub(crate) dispatch: Dispatch,
}

/// See the module.
#[component]
pub(crate) fn Transport(props: &TransportProps) -> Html {
    let (play_icon, play_label) =
        if props.playing { (Icon::Pause, "Pause") } else { (Icon::Play, "Play") };
    let why_not = props.pacing.clone().err();
    let disabled = why_not.is_some().then_some("true");
    let toggle = props.dispatch.reform(|_| Action::TogglePlay);
    let step = props.dispatch.reform(|_| Action::Step);
    let again = props.dispatch.reform(|_| Action::Again);
    html! {
        <footer class="transport" aria-label="Time">
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
                aria-label="Step: let the next thing happen"
                title={why_not.clone().unwrap_or_else(|| "Step (→)".to_owned())}
                aria-disabled={disabled}
                data-testid="step"
                onclick={step}
            >
                { glyph(Icon::Step) }
            </button>
            { speed(props, why_not.clone()) }
            <output class="clock" aria-label="Time" data-testid="clock">{ &props.clock }</output>
            if props.source == SourceKind::Simulate {
                <button
                    type="button"
                    class="button"
                    title="Begin the same run again"
                    data-testid="again"
                    onclick={again}
                >
                    { glyph(Icon::Again) }
                    <span>{ "Restart" }</span>
                </button>
            }
        </footer>
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
