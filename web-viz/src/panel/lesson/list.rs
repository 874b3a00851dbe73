//! The list of lessons.

use raft_core::scenario::Scenario;
use yew::prelude::*;

use crate::dispatch::Dispatch;
use crate::domain::lessons;
use crate::model::{Action, LessonAction, List, Model, UiAction};
use crate::panel::dialog::use_dialog;
use crate::panel::parts::{Icon, glyph};

/// The dialog, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    let open = model.ui.list == Some(List::Lessons);
    html! { <Lessons {open} dispatch={dispatch.clone()} /> }
}

/// Properties of [`Lessons`].
#[derive(PartialEq, Properties)]
pub(crate) struct LessonsProps {
    pub(crate) open: bool,
    pub(crate) dispatch: Dispatch,
}

/// The dialog with the list of lessons.
#[component]
pub(crate) fn Lessons(props: &LessonsProps) -> Html {
    let dialog = use_dialog(props.open);
    let close = props.dispatch.reform(|()| Action::Ui(UiAction::List(None)));
    let onclose = close.reform(|_: Event| ());
    let onclick = close.reform(|_: MouseEvent| ());
    let list = |is_lesson: bool| {
        let all = lessons::all().iter().enumerate();
        let some = all.filter(move |(_, it)| it.header.lesson.is_some() == is_lesson);
        some.map(|(number, scenario)| entry(number, scenario, props)).collect::<Html>()
    };
    html! {
        <dialog class="help lessons" ref={dialog} aria-labelledby="lessons-title" {onclose}>
            if props.open {
                <div class="help-head">
                    <h2 id="lessons-title">{ "Lessons" }</h2>
                    <button type="button" class="button quiet" aria-label="Close" {onclick}>
                        { glyph(Icon::Close) }
                    </button>
                </div>
                <ul data-testid="lessons">{ list(true) }</ul>
                <h2>{ "Single rules" }</h2>
                <ul>{ list(false) }</ul>
            }
        </dialog>
    }
}

fn entry(number: usize, scenario: &Scenario, props: &LessonsProps) -> Html {
    let onclick =
        props.dispatch.reform(move |_: MouseEvent| Action::Lesson(LessonAction::Open(number)));
    let header = &scenario.header;
    let fails = header.fails.map(|fails| format!("without it {fails} fails"));
    html! {
        <li>
            <button
                type="button"
                class="entry"
                data-testid={format!("lesson-{}", lessons::name(scenario))}
                {onclick}
            >
                <span class="number">{ header.lesson.clone().unwrap_or_default() }</span>
                <span class="title">{ &scenario.title }</span>
                <span class="about">
                    { &header.section }
                    if let Some(fails) = fails { { " · " }{ fails } }
                </span>
            </button>
        </li>
    }
}
