//! The log matrix: one row per server, one column per index. The document contains only the visible
//! columns.

use std::rc::Rc;

use raft_core::types::{LogIndex, NodeId};
use yew::prelude::*;

use super::parts::{Icon, glyph, term_class};
use super::stage::use_size;
use crate::dispatch::Dispatch;
use crate::domain::cluster::ClusterModel;
use crate::model::{Action, Model, UiAction};
use crate::num::{place, px, real};
use crate::scene::grid::{Cell, Columns, EntryState, Quorum, cell, column_words, quorum};
use crate::scene::layout::Size;
use crate::scene::marks::Marks;
use crate::shared::Shared;

/// The width of a column in pixels; style.css repeats it.
const COLUMN: f64 = 96.0;

/// Extra columns on either side of the visible columns.
const SPARE: usize = 2;

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    let reading = &model.reading;
    html! {
        <Matrix
            cluster={reading.cluster.clone()}
            marks={Marks::of(&model.ui.selection, &reading.cluster)}
            dispatch={dispatch.clone()}
        />
    }
}

/// Properties of [`Matrix`].
#[derive(PartialEq, Properties)]
pub(crate) struct MatrixProps {
    pub(crate) cluster: Shared<ClusterModel>,
    pub(crate) marks: Marks,
    pub(crate) dispatch: Dispatch,
}

/// The panel with the log matrix.
#[component]
pub(crate) fn Matrix(props: &MatrixProps) -> Html {
    let columns = Columns::of(&props.cluster);
    // With a mouse, pointing at a column is enough to see its quorum.
    let pointed = use_state_eq(|| None);
    let told = (*pointed).or(props.marks.column);
    let leave = Callback::from({
        let pointed = pointed.clone();
        move |_: PointerEvent| pointed.set(None)
    });
    let point = Callback::from(move |index| pointed.set(Some(index)));
    // Many rows need a smaller height.
    let rows = match props.cluster.roster.len() {
        0..=3 => "few",
        4..=5 => "some",
        _ => "many",
    };
    let scroller = use_node_ref();
    let window = use_window(&scroller, columns);
    let first = place(window.left / COLUMN).saturating_sub(SPARE) as u64;
    let last = first + (place(window.width / COLUMN) + 2 * SPARE + 1) as u64;
    let shown = (first..=last)
        .map(|offset| LogIndex(columns.first.0 + offset))
        .take_while(|index| *index <= columns.last);
    html! {
        <section
            class={classes!("panel", "matrix", "sheet-log", rows)}
            aria-labelledby="matrix-title">
            <header>
                <h2 id="matrix-title">{ "Logs" }</h2>
                <p class="column-words" data-testid="column-words" aria-live="polite">
                    { told.map(|index| column_words(&props.cluster, index)) }
                </p>
                if told.is_none() {
                    { key_to_marks() }
                }
            </header>
            <div class="logs">
                <div class="row-names" aria-hidden="true">
                    <span class="index-name">{ "index" }</span>
                    { for props.cluster.roster.iter().map(|node| row_name(*node, props)) }
                </div>
                <div
                    class="columns"
                    ref={scroller}
                    onscroll={window.onscroll}
                    onpointerleave={leave}
                    tabindex="-1"
                >
                    <div
                        class="strip"
                        style={format!("width:{}px", px(real(columns.count()) * COLUMN))}
                    >
                        { for shown.map(|index| column(index, columns.first, told == Some(index), &point, props)) }
                    </div>
                </div>
            </div>
        </section>
    }
}

fn key_to_marks() -> Html {
    let mark = |class: &'static str, words: &'static str| {
        html! { <li><span class={classes!("cell", "sample", class)}></span>{ words }</li> }
    };
    html! {
        <ul class="marks">
            { mark("proposed", "proposed") }
            { mark("committed", "committed") }
            { mark("applied", "applied") }
            { mark("proposed durable", "on disk") }
            { mark("applied matched", "known to the leader") }
            { mark("empty next", "sent next") }
        </ul>
    }
}

fn row_name(node: NodeId, props: &MatrixProps) -> Html {
    let cluster = &props.cluster;
    let term = cluster.node(node).map(|node| node.term).unwrap_or_default();
    let class = classes!(
        "row-name",
        term_class(term),
        props.marks.servers.contains(&node).then_some("selected"),
        (!cluster.presence(node).runs()).then_some("absent"),
    );
    html! {
        <span {class}>
            if cluster.leader() == Some(node) {
                { glyph(Icon::Crown) }
            }
            { node.to_string() }
        </span>
    }
}

fn column(
    index: LogIndex,
    first: LogIndex,
    told: bool,
    point: &Callback<LogIndex>,
    props: &MatrixProps,
) -> Html {
    let chosen = props.marks.column == Some(index);
    let count = told.then(|| quorum(&props.cluster, index)).filter(|it| !it.holders.is_empty());
    let choose = props
        .dispatch
        .reform(move |_: MouseEvent| Action::Ui(UiAction::Column((!chosen).then_some(index))));
    let point = point.clone();
    let point = Callback::from(move |event: PointerEvent| {
        if event.pointer_type() == "mouse" {
            point.emit(index);
        }
    });
    html! {
        <div
            key={index.0}
            class={classes!(
                "column",
                told.then_some("told-of"),
                chosen.then_some("chosen"),
                props.marks.carries(index).then_some("carried"),
            )}
            style={format!("left:{}px", px(real(index.0 - first.0) * COLUMN))}
            onpointerenter={point}
            onclick={choose}
        >
            <button
                type="button"
                class="index"
                aria-pressed={chosen.to_string()}
                aria-label={column_words(&props.cluster, index)}
                data-testid={format!("column-{index}")}
            >
                { index.to_string() }
                if let Some(count) = &count {
                    { tally(count) }
                }
            </button>
            { for props.cluster.roster.iter().map(|node| {
                let counts = count.as_ref().is_some_and(|count| count.holders.contains(node));
                draw(*node, index, counts, props)
            }) }
        </div>
    }
}

/// The number of voters whose disks hold the chosen column's entry. A majority has another colour.
fn tally(count: &Quorum) -> Html {
    let reached = if count.is_reached() { "tally reached" } else { "tally" };
    html! {
        <span class={reached} title="voters' disks that hold it" data-testid="quorum">
            { format!("{}/{}", count.holders.len(), count.voters) }
        </span>
    }
}

fn draw(node: NodeId, index: LogIndex, counts: bool, props: &MatrixProps) -> Html {
    let testid = format!("cell-{node}-{index}");
    let selected = props.marks.servers.contains(&node).then_some("selected");
    let row = classes!(selected, counts.then_some("counts"));
    match cell(&props.cluster, node, index) {
        Cell::Empty { next } => html! {
            <span
                class={classes!("cell", "empty", row, next.then_some("next"))}
                data-testid={testid}
                data-state="empty"
            />
        },
        Cell::Compacted => html! {
            <span
                class={classes!("cell", "compacted", row)}
                title="A snapshot covers it"
                data-testid={testid}
                data-state="compacted"
            />
        },
        Cell::Untold => html! {
            <span
                class={classes!("cell", "untold", row)}
                title="The page does not know the content of this entry"
                data-testid={testid}
                data-state="untold"
            >
                { "…" }
            </span>
        },
        Cell::Entry(entry) => {
            let state = match entry.state {
                EntryState::Proposed => "proposed",
                EntryState::Committed => "committed",
                EntryState::Applied => "applied",
            };
            let class = classes!(
                "cell",
                state,
                term_class(entry.term),
                row,
                entry.durable.then_some("durable"),
                entry.matched.then_some("matched"),
                entry.next.then_some("next"),
            );
            let title = format!("{} — term {}, {state}", entry.words, entry.term);
            html! {
                <span
                    {class}
                    {title}
                    data-testid={testid}
                    data-state={state}
                    data-durable={entry.durable.to_string()}
                    data-words={entry.words}
                >
                    <span>{ entry.about }</span>
                    if let Some(becomes) = entry.becomes {
                        <b>{ becomes }</b>
                    }
                </span>
            }
        }
    }
}

/// The visible part of the strip.
struct Window {
    left: f64,
    width: f64,
    onscroll: Callback<Event>,
}

/// Tracks the scroller, and keeps it at the newest column until the user scrolls back.
#[hook]
fn use_window(scroller: &NodeRef, columns: Columns) -> Window {
    let width = use_state_eq(|| 1600.0);
    // The position to which the user scrolled back.
    let back = use_mut_ref(|| None::<f64>);
    let redraw = use_force_update();
    let strip = real(columns.count()) * COLUMN;
    // On a phone the matrix gets its size when its sheet is opened.
    use_size(scroller, &{
        let (scroller, width, back) = (scroller.clone(), width.clone(), Rc::clone(&back));
        Callback::from(move |size: Size| {
            if back.borrow().is_none() {
                to_end(&scroller);
            }
            width.set(size.width);
        })
    });
    use_effect_with((scroller.clone(), columns, *width), {
        let back = Rc::clone(&back);
        move |(scroller, ..)| {
            if back.borrow().is_none() {
                to_end(scroller);
            }
        }
    });
    let onscroll = Callback::from({
        let (scroller, back) = (scroller.clone(), Rc::clone(&back));
        move |_: Event| {
            let Some(element) = scroller.cast::<web_sys::Element>() else { return };
            let (left, sight) = (element.scroll_left(), element.client_width());
            let from_end = element.scroll_width() - sight - left;
            let now = (from_end > 8).then_some(f64::from(left));
            if back.replace(now) != now {
                redraw.force_update();
            }
        }
    });
    // This is known before the browser has laid out new columns.
    let left = back.borrow().unwrap_or((strip - *width).max(0.0));
    Window { left, width: *width, onscroll }
}

fn to_end(scroller: &NodeRef) {
    if let Some(element) = scroller.cast::<web_sys::Element>() {
        element.set_scroll_left(element.scroll_width());
    }
}
