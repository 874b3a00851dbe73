//! Two branches of the run side by side.

use raft_core::sim::BranchId;
use web_sys::HtmlDialogElement;
use yew::prelude::*;

use super::parts::{Icon, glyph, typed};
use crate::dispatch::Dispatch;
use crate::domain::compare::{Comparison, Side};
use crate::domain::history::{Jump, branch_name};
use crate::model::{Action, Model};
use crate::num::span;

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    let Some(comparison) = &model.comparison else { return Html::default() };
    let branches = model.history.run.shown().map(|branch| branch.id);
    html! {
        <Compare
            comparison={comparison.clone()}
            branches={branches.collect::<Vec<_>>()}
            dispatch={dispatch.clone()}
        />
    }
}

/// Properties of [`Compare`].
#[derive(PartialEq, Properties)]
pub(crate) struct CompareProps {
    pub(crate) comparison: Comparison,
    /// The branches to choose from.
    pub(crate) branches: Vec<BranchId>,
    pub(crate) dispatch: Dispatch,
}

/// The dialog that compares two branches.
#[component]
pub(crate) fn Compare(props: &CompareProps) -> Html {
    let dialog = use_node_ref();
    use_effect_with(dialog.clone(), |dialog| {
        if let Some(dialog) = dialog.cast::<HtmlDialogElement>().filter(|dialog| !dialog.open()) {
            // This fails only if the dialog is open or not in the document.
            let _ = dialog.show_modal();
        }
    });
    let onclose = props.dispatch.reform(|_: Event| Action::Uncompare);
    let onclick = props.dispatch.reform(|_: MouseEvent| Action::Uncompare);
    let Comparison { at, sides } = &props.comparison;
    let [left, right] = sides;
    let row = |name: &str, value: &dyn Fn(&Side) -> String| {
        let (one, other) = (value(left), value(right));
        html! {
            <tr class={classes!((one != other).then_some("differs"))}>
                <th scope="row">{ name }</th>
                <td>{ one }</td>
                <td>{ other }</td>
            </tr>
        }
    };
    html! {
        <dialog class="help compare" ref={dialog} aria-labelledby="compare-title" {onclose}>
            <div class="help-head">
                <h2 id="compare-title">{ "Two branches side by side" }</h2>
                <button type="button" class="button quiet" aria-label="Close" {onclick}>
                    { glyph(Icon::Close) }
                </button>
            </div>
            <table data-testid="comparison">
                <thead>
                    <tr>
                        <td></td>
                        <th scope="col">{ choice(0, props) }</th>
                        <th scope="col">{ choice(1, props) }</th>
                    </tr>
                </thead>
                <tbody>
                    { row("First difference", &first) }
                    <tr><th class="at" colspan="3">{ format!("Both at {}, the end of the shorter branch", span(at.0)) }</th></tr>
                    { row("Leader", &|side| side.leader.map_or("none".to_owned(), |it| it.to_string())) }
                    { row("Term", &|side| side.term.to_string()) }
                    { row("Committed up to", &|side| format!("index {}", side.committed)) }
                    { row("Properties", &|side| match side.violated.first() {
                        None => "all hold".to_owned(),
                        Some(_) => format!("{} violated", side.violated.join(", ")),
                    }) }
                    { for props.comparison.keys().into_iter().map(|(key, values)| {
                        let [left, right] = values.map(|value| value.unwrap_or("no value").to_owned());
                        html! {
                            <tr class="differs">
                                <th scope="row">{ format!("Store: {key}") }</th>
                                <td>{ left }</td>
                                <td>{ right }</td>
                            </tr>
                        }
                    }) }
                    { row("Digest", &|side| format!("{:016x}", side.digest)) }
                </tbody>
            </table>
            { parting(props) }
        </dialog>
    }
}

fn first(side: &Side) -> String {
    side.first.as_ref().map_or_else(
        || "no more events".to_owned(),
        |event| format!("{}: {event}", span(event.time.0)),
    )
}

/// The selector for the branch of a column.
fn choice(column: usize, props: &CompareProps) -> Html {
    let [left, right] = props.comparison.sides.each_ref().map(|side| side.branch);
    let shown = [left, right][column];
    let dispatch = props.dispatch.clone();
    let onchange = Callback::from(move |event: Event| {
        let Some(chosen) = typed(&event).and_then(|text| text.parse().ok()) else { return };
        let chosen = BranchId(chosen);
        let pair = if column == 0 { (chosen, right) } else { (left, chosen) };
        dispatch.emit(Action::Compare(Some(pair)));
    });
    html! {
        <select aria-label={if column == 0 { "Left branch" } else { "Right branch" }} {onchange}>
            { for props.branches.iter().map(|branch| html! {
                <option value={branch.0.to_string()} selected={*branch == shown}>
                    { branch_name(*branch) }
                </option>
            }) }
        </select>
    }
}

/// A button to jump to where the branches diverge.
fn parting(props: &CompareProps) -> Html {
    let firsts = props.comparison.sides.iter().filter_map(|side| side.first.as_ref());
    let Some(at) = firsts.map(|event| event.time).min() else {
        return html! { <p class="hint">{ "Both branches are the same so far." }</p> };
    };
    let dispatch = props.dispatch.clone();
    let onclick = Callback::from(move |_: MouseEvent| {
        dispatch.emit(Action::Uncompare);
        dispatch.emit(Action::Jump(Jump::Time(at)));
    });
    html! {
        <button type="button" class="button" data-testid="to-parting" {onclick}>
            { "Go to the first difference" }
        </button>
    }
}
