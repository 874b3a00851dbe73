//! The list of events, newest first. The document contains only the visible lines.

use std::collections::BTreeSet;
use std::rc::Rc;

use raft_core::types::{EventId, NodeId, Time};
use yew::prelude::*;

use super::inspector::why::name;
use super::parts::typed;
use crate::dispatch::Dispatch;
use crate::domain::feed::{Feed, Filter, Line, Weight};
use crate::domain::run::SourceKind;
use crate::domain::selection::message_of;
use crate::model::{Action, Model, UiAction};
use crate::num::{len, place, px, real};
use crate::scene::marks::Marks;
use crate::shared::Shared;

/// The height of a line in pixels; style.css repeats it.
const LINE: f64 = 54.0;

/// Extra lines on either side of the visible lines.
const SPARE: usize = 4;

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    let reading = &model.reading;
    let marks = Marks::of(&model.ui.selection, &reading.cluster);
    html! {
        <Events
            feed={reading.feed.clone()}
            filter={model.ui.filter.clone()}
            chosen={(marks.event, marks.message)}
            roster={reading.cluster.roster.clone()}
            source={model.source}
            dispatch={dispatch.clone()}
        />
    }
}

/// Properties of [`Events`].
#[derive(PartialEq, Properties)]
pub(crate) struct EventsProps {
    pub(crate) feed: Shared<Feed>,
    pub(crate) filter: Filter,
    /// The chosen event and message.
    pub(crate) chosen: (Option<EventId>, Option<EventId>),
    pub(crate) roster: BTreeSet<NodeId>,
    pub(crate) source: SourceKind,
    pub(crate) dispatch: Dispatch,
}

/// The panel with the list of events.
#[component]
pub(crate) fn Events(props: &EventsProps) -> Html {
    let lines = props.feed.lines(&props.filter);
    let scroller = use_node_ref();
    let newest = lines.first().map_or(0, |line| line.number);
    let (top, height, onscroll) = use_window(&scroller, lines.len(), newest);
    let first = place(top / LINE).saturating_sub(SPARE);
    let count = place(height / LINE) + 2 * SPARE + 1;
    let shown = lines.iter().enumerate().skip(first).take(count);
    html! {
        <section class="panel events sheet-events" aria-labelledby="events-title">
            <header>
                <h2 id="events-title">{ "Events" }</h2>
                { weights(props) }
            </header>
            <div class="sieve">
                { servers(props) }
                { search(props) }
            </div>
            <div class="lines" ref={scroller} {onscroll} tabindex="0" data-testid="events">
                <ol style={format!("height:{}px", px(len(lines.len()) * LINE))}>
                    { for shown.map(|(position, line)| draw(props, line, position)) }
                </ol>
                if lines.is_empty() {
                    <p class="hint">
                        if props.filter.words.is_empty() {
                            { "No events yet." }
                        } else {
                            { "No shown event has these words; “All” shows more." }
                        }
                    </p>
                }
            </div>
        </section>
    }
}

fn weights(props: &EventsProps) -> Html {
    let choice = |weight: Weight, name: &'static str, title: &'static str| {
        let onclick = props.dispatch.reform(move |_| Action::Ui(UiAction::FilterWeight(weight)));
        html! {
            <button
                type="button"
                aria-pressed={(props.filter.least == weight).to_string()}
                {title}
                data-testid={format!("weight-{}", name.to_lowercase())}
                {onclick}
            >
                { name }
            </button>
        }
    };
    html! {
        <div class="switch small" role="group" aria-label="Which events">
            { choice(Weight::Key, "Turns", "Elections, crashes, commits, answers") }
            { choice(Weight::Detail, "Steps", "Also votes, messages, entries and disks") }
            { choice(Weight::Routine, "All", "Also timers and heartbeats") }
        </div>
    }
}

fn servers(props: &EventsProps) -> Html {
    let chip = |node: NodeId| {
        let onclick = props.dispatch.reform(move |_| Action::Ui(UiAction::FilterServer(node)));
        html! {
            <button
                type="button"
                class="server-chip"
                aria-pressed={(!props.filter.hidden.contains(&node)).to_string()}
                {onclick}
            >
                { node.to_string() }
            </button>
        }
    };
    html! {
        <div class="server-chips" role="group" aria-label="Servers whose events are shown">
            { for props.roster.iter().map(|node| chip(*node)) }
        </div>
    }
}

fn search(props: &EventsProps) -> Html {
    let dispatch = props.dispatch.clone();
    let oninput = Callback::from(move |event: InputEvent| {
        if let Some(words) = typed(&event) {
            dispatch.emit(Action::Search(words));
        }
    });
    html! {
        <input
            type="search"
            aria-label="Search in events"
            placeholder="search"
            spellcheck="false"
            autocomplete="off"
            data-testid="search"
            {oninput}
        />
    }
}

fn draw(props: &EventsProps, line: &Rc<Line>, position: usize) -> Html {
    let event = &line.event;
    let id = event.id;
    let (event_chosen, message) = props.chosen;
    let chosen = event_chosen == Some(id);
    let about = message.is_some() && message_of(event) == message;
    let onclick =
        props.dispatch.reform(move |_| Action::Ui(UiAction::Inspect((!chosen).then_some(id))));
    let weight = match line.weight {
        Weight::Key => "key",
        Weight::Detail => "detail",
        Weight::Routine => "routine",
    };
    let words = event.kind.to_string();
    let who = name(id.node);
    html! {
        <li key={line.number}>
            <button
                type="button"
                class={classes!("line", weight, about.then_some("about"))}
                style={format!("top:{}px", px(len(position) * LINE))}
                title={format!("{words}. Why?")}
                aria-pressed={chosen.to_string()}
                {onclick}
            >
                <span class="who">{ who }</span>
                <time>{ clock(event.time, props.source) }</time>
                <span class="what">{ words }</span>
            </button>
        </li>
    }
}

/// Formats a simulated time in seconds since its start, a real time as time of day.
pub(crate) fn clock(time: Time, source: SourceKind) -> String {
    match source {
        SourceKind::Simulate | SourceKind::Replay => format!("{:.3} s", real(time.0) / 1e6),
        SourceKind::Live => {
            format!("{}.{:03}", time_of_day(time), time.0 / 1_000 % 1_000)
        }
    }
}

/// Formats a time since 1970 as local time of day.
pub(crate) fn time_of_day(time: Time) -> String {
    let date = js_sys::Date::new(&(real(time.0) / 1e3).into());
    let (hours, minutes, seconds) = (date.get_hours(), date.get_minutes(), date.get_seconds());
    format!("{hours:02}:{minutes:02}:{seconds:02}")
}

/// Tracks the scroller. If the user has scrolled down, new lines above move the scroller along, so
/// the lines in view stay.
#[hook]
fn use_window(scroller: &NodeRef, count: usize, newest: u64) -> (f64, f64, Callback<Event>) {
    let sight = use_state_eq(|| (0.0, 700.0));
    let before = use_mut_ref(|| (0_usize, 0_u64));
    use_effect_with((scroller.clone(), count, newest), {
        let sight = sight.clone();
        move |(scroller, count, newest)| {
            let (old_count, old_newest) = before.replace((*count, *newest));
            let Some(element) = scroller.cast::<web_sys::Element>() else { return };
            let grown = len(count.saturating_sub(old_count)) * LINE;
            if element.scroll_top() > 4 && *newest > old_newest && grown > 0.0 {
                element.set_scroll_top(element.scroll_top() + rounded(grown));
            }
            sight.set(measure(&element));
        }
    });
    let onscroll = Callback::from({
        let (scroller, sight) = (scroller.clone(), sight.clone());
        move |_: Event| {
            if let Some(element) = scroller.cast::<web_sys::Element>() {
                sight.set(measure(&element));
            }
        }
    });
    let (top, height) = *sight;
    (top, height, onscroll)
}

fn rounded(pixels: f64) -> i32 {
    i32::try_from(crate::num::whole(pixels)).unwrap_or(i32::MAX)
}

fn measure(element: &web_sys::Element) -> (f64, f64) {
    (f64::from(element.scroll_top()), f64::from(element.client_height().max(1)))
}
