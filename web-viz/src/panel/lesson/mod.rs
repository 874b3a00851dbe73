//! The lesson card: Predict, Run, Explain, Break. Back and Next stay at the same place.

pub(crate) mod list;
mod prose;

use raft_core::scenario::{Arm, Line, Phase};
use wasm_bindgen::JsCast as _;
use web_sys::HtmlElement;
use yew::prelude::*;

use super::parts::{Icon, glyph};
use crate::dispatch::Dispatch;
use crate::domain::lessons;
use crate::domain::rules::Rule;
use crate::model::course::{Course, Page, Paragraph, paragraphs};
use crate::model::{Action, LessonAction, Model};
use crate::num;
use crate::shared::Shared;
use prose::{prose, telling, whole};

const PHASES: [Phase; 4] = [Phase::Predict, Phase::Run, Phase::Explain, Phase::Break];

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    let Some(course) = &model.course else { return Html::default() };
    html! { <Lesson course={course.clone()} dispatch={dispatch.clone()} /> }
}

/// Properties of [`Lesson`].
#[derive(PartialEq, Properties)]
pub(crate) struct LessonProps {
    pub(crate) course: Shared<Course>,
    pub(crate) dispatch: Dispatch,
}

/// The lesson card.
#[component]
pub(crate) fn Lesson(props: &LessonProps) -> Html {
    let (course, dispatch): (&Course, _) = (&props.course, &props.dispatch);
    let text = use_node_ref();
    use_effect_with((course.at, course.script.line, text.clone()), |(_, _, text)| show_now(text));
    let leave = dispatch.reform(|_: MouseEvent| Action::Lesson(LessonAction::Leave));
    let header = &course.scenario.header;
    let number = header.lesson.as_ref().map_or("Rule".to_owned(), |it| format!("Lesson {it}"));
    html! {
        <section class="panel lesson sheet-lesson" aria-label="Lesson" data-testid="lesson">
            <header>
                <p class="which">{ format!("{number} · {}", header.section) }</p>
                <button
                    type="button"
                    class="button quiet"
                    aria-label="Leave the lesson"
                    title="Leave the lesson"
                    data-testid="leave-lesson"
                    onclick={leave}
                >
                    { glyph(Icon::Close) }
                </button>
                <h2>{ &course.scenario.title }</h2>
            </header>
            { phases(course, dispatch) }
            <div class="page-text" ref={text} key={course.paragraph()} aria-live="polite" data-testid="lesson-text">
                { body(course, dispatch) }
            </div>
            { footer(course, dispatch) }
        </section>
    }
}

/// Scrolls a long text to the current command.
fn show_now(text: &NodeRef) {
    let Some(text) = text.cast::<HtmlElement>() else { return };
    let now = text.query_selector(".now").ok().flatten();
    if let Some(now) = now.and_then(|now| now.dyn_into::<HtmlElement>().ok()) {
        let below = now.offset_top() + now.offset_height() + 40 - text.client_height();
        text.set_scroll_top(below.max(0));
    }
}

fn phases(course: &Course, dispatch: &Dispatch) -> Html {
    let current = Course::phase_of(course.page());
    let phase = |phase: Phase| {
        let first = course.first_of(phase);
        let onclick = dispatch.reform(move |_: MouseEvent| {
            Action::Lesson(first.map_or(LessonAction::Stay, LessonAction::Page))
        });
        html! {
            <button
                type="button"
                aria-pressed={(current == phase).to_string()}
                disabled={first.is_none()}
                data-testid={format!("phase-{}", phase.to_string().to_lowercase())}
                {onclick}
            >
                { phase.to_string() }
            </button>
        }
    };
    html! {
        <div class="switch small parts" role="group" aria-label="Parts of the lesson">
            { for PHASES.into_iter().map(phase) }
        </div>
    }
}

fn footer(course: &Course, dispatch: &Dispatch) -> Html {
    let turn = |label: &'static str, testid: &'static str, class, enabled: bool, by| {
        let onclick = dispatch.reform(move |_: MouseEvent| Action::Lesson(by));
        html! {
            <button
                type="button"
                class={classes!("button", class)}
                disabled={!enabled}
                title={format!("{label} (Shift and an arrow)")}
                data-testid={testid}
                {onclick}
            >
                { label }
            </button>
        }
    };
    html! {
        <footer>
            { turn("Back", "lesson-back", None, course.at > 0, LessonAction::Back) }
            <span class="count">{ format!("{} of {}", course.at + 1, course.pages.len()) }</span>
            { turn("Next", "lesson-next", Some("primary"), course.has_next(), LessonAction::Next) }
        </footer>
    }
}

fn body(course: &Course, dispatch: &Dispatch) -> Html {
    match course.page() {
        Page::Text { title, said, text, phase } => html! {
            <>
                if *phase != Phase::Introduction && *title != phase.to_string() {
                    <h3>{ title }</h3>
                }
                { telling(said, text) }
            </>
        },
        Page::Question { text } => question(course, text, dispatch),
        Page::Play { arm, step } => play(course, *arm, *step, dispatch),
        Page::Answers => answers(course),
        Page::Verdict => verdict(course, dispatch),
    }
}

fn question(course: &Course, text: &[Paragraph], dispatch: &Dispatch) -> Html {
    let choices = course.scenario.question.iter().flat_map(|question| question.choices.iter());
    html! {
        <>
            { whole(text) }
            <div class="choices" role="radiogroup" aria-label="What do you expect?">
                { for choices.enumerate().map(|(number, choice)| {
                    let chosen = course.choice == Some(number);
                    let onclick = dispatch
                        .reform(move |_: MouseEvent| Action::Lesson(LessonAction::Choose(number)));
                    html! {
                        <button
                            type="button"
                            role="radio"
                            aria-checked={chosen.to_string()}
                            data-testid={format!("choice-{}", number + 1)}
                            {onclick}
                        >
                            <span class="mark" aria-hidden="true"></span>
                            <span>{ prose(&choice.text) }</span>
                        </button>
                    }
                }) }
            </div>
            if course.choice.is_some() {
                <p class="hint">{ "Next shows what happens." }</p>
            }
        </>
    }
}

/// A step that the cluster plays: its text, and its commands as they run.
fn play(course: &Course, arm: Arm, step: usize, dispatch: &Dispatch) -> Html {
    let Some(this) = course.scenario.steps.get(step) else { return html! {} };
    let own = |line: &&Line| line.only.is_none_or(|only| only == arm);
    let resume = dispatch.reform(|_: MouseEvent| Action::Lesson(LessonAction::Again));
    html! {
        <>
            <h3>{ &this.title }</h3>
            if arm == Arm::Kept {
                { whole(&paragraphs(this)) }
            } else {
                <p class="without">{ without(course) }</p>
            }
            if course.astray {
                <p class="astray">{ "You changed the cluster, so the lesson waits." }</p>
                <button type="button" class="button" data-testid="lesson-again" onclick={resume}>
                    { glyph(Icon::Again) }
                    <span>{ "Play this step again" }</span>
                </button>
            } else {
                <ol class="commands" aria-label="Commands">
                    { for this.lines().filter(own).map(|line| command(course, line)) }
                </ol>
                if let Some(Err(why)) = &course.script.end {
                    <p class="bad">{ why }</p>
                }
            }
        </>
    }
}

fn without(course: &Course) -> String {
    let rule = course.scenario.header.breaks.map(Rule::of);
    let instead = rule.map_or("", |rule| rule.instead);
    format!("The same step without the rule. {instead}")
}

fn command(course: &Course, line: &Line) -> Html {
    let next = course.script.line;
    let (class, icon) = match next {
        Some(next) if line.number == next => ("now", None),
        Some(next) if line.number > next => ("ahead", None),
        Some(_) | None => ("done", Some(Icon::Check)),
    };
    html! {
        <li class={classes!(class, line.only.map(|_| "own"))} data-state={class}>
            <span class="sign">if let Some(icon) = icon { { glyph(icon) } }</span>
            <code>{ &line.text }</code>
        </li>
    }
}

fn answers(course: &Course) -> Html {
    let choices = course.scenario.question.iter().flat_map(|question| question.choices.iter());
    html! {
        <>
            <h3>{ "The answers" }</h3>
            <ol class="verdicts" data-testid="verdicts">
                { for choices.enumerate().map(|(number, choice)| {
                    let chosen = course.choice == Some(number);
                    let (class, icon) =
                        if choice.right { ("right", Icon::Check) } else { ("wrong", Icon::Cross) };
                    html! {
                        <li class={classes!(class, chosen.then_some("chosen"))}>
                            { glyph(icon) }
                            <div>
                                <b>{ prose(&choice.text) }</b>
                                if chosen {
                                    <span class="yours">{ "Your choice" }</span>
                                }
                                <p class="comment">{ prose(&choice.comment) }</p>
                            </div>
                        </li>
                    }
                }) }
            </ol>
        </>
    }
}

fn verdict(course: &Course, dispatch: &Dispatch) -> Html {
    let script = &course.script;
    let fails = course.scenario.header.fails.map(|fails| fails.to_string()).unwrap_or_default();
    let at = script.broken.iter().find(|(what, _)| *what == fails).map(|(_, at)| *at);
    let alone = dispatch.reform(|_: MouseEvent| Action::Lesson(LessonAction::Alone));
    let next = course.number + 1;
    let has_next = next < lessons::all().len();
    let onward = dispatch.reform(move |_: MouseEvent| Action::Lesson(LessonAction::Open(next)));
    html! {
        <>
            <h3>{ "Without the rule" }</h3>
            if let Some(Err(why)) = &script.end {
                <p class="bad">{ why }</p>
            } else if let Some(at) = at {
                <p class="verdict" data-testid="lesson-verdict">
                    { glyph(Icon::Cross) }
                    <span><b>{ &fails }</b>{ format!(" is violated, at {}.", num::span(at.0)) }</span>
                </p>
                <p>
                    { "With the rule the same steps violated nothing. The rule is " }
                    <code>{ &course.scenario.header.rule }</code>
                    { format!(", {}.", course.scenario.header.section) }
                </p>
            }
            <div class="actions">
                <button type="button" class="button" data-testid="lesson-alone" onclick={alone}>
                    { "Continue alone" }
                </button>
                if has_next {
                    <button type="button" class="button" data-testid="next-lesson" onclick={onward}>
                        { "Next lesson" }
                    </button>
                }
            </div>
        </>
    }
}
