//! The rules of Raft, each with a switch that breaks it.

use raft_core::scenario::Scenario;
use yew::prelude::*;

use super::ActProps;
use crate::domain::rules::{RULES, Rule};
use crate::domain::run::SourceKind;
use crate::model::{Action, LessonAction};

/// The part of the fault panel with the switches.
pub(super) fn rules(props: &ActProps) -> Html {
    let live = props.source == SourceKind::Live;
    html! {
        <div class="rules">
            <p class="hint">
                { if live {
                    "Real servers keep all rules. Switch to Simulate to break a rule."
                } else {
                    "Break a rule: the run starts again without it and repeats all your actions. \
                     The chip at the top shows what fails."
                } }
            </p>
            <ul data-testid="rules">
                { for RULES.iter().map(|rule| switch(rule, props)) }
            </ul>
        </div>
    }
}

/// A button to the lesson in which the broken rule violates a property.
fn shown_by(number: usize, lesson: &Scenario, props: &ActProps) -> Html {
    let open = Action::Lesson(LessonAction::Open(number));
    let onclick = props.dispatch.reform(move |_: MouseEvent| open.clone());
    html! {
        <button type="button" class="shown-by" data-testid="shown-by" {onclick}>
            { format!("See it fail: {}", lesson.title) }
        </button>
    }
}

fn switch(rule: &'static Rule, props: &ActProps) -> Html {
    let broken = props.broken == Some(rule.mutation);
    let asked = (!broken).then_some(rule.mutation);
    let onclick = props.dispatch.reform(move |_: MouseEvent| Action::Break(asked));
    let fails = rule.lesson().and_then(|(_, lesson)| lesson.header.fails);
    html! {
        <li class={classes!("rule", broken.then_some("broken"))}>
            <button
                type="button"
                role="switch"
                aria-checked={(!broken).to_string()}
                aria-label={format!("{}, {}", rule.name, rule.section())}
                aria-disabled={(props.source == SourceKind::Live).then_some("true")}
                data-testid={format!("rule-{}", rule.code())}
                {onclick}
            >
                <span class="knob" aria-hidden="true"></span>
                <span class="name">{ rule.name }</span>
                <span class="section">{ rule.section() }</span>
            </button>
            if broken {
                <p>
                    { rule.instead }
                    if let Some(fails) = fails {
                        { format!(" Sooner or later {fails} fails.") }
                    }
                </p>
                if let Some((number, lesson)) = rule.lesson() {
                    { shown_by(number, lesson, props) }
                }
            }
        </li>
    }
}
