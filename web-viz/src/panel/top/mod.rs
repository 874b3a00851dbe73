//! The top bar: what is shown, its source, and whether Raft's guarantees hold.

use raft_core::invariant::Violation;
use raft_core::rules::Mutation;
use yew::prelude::*;

use super::parts::{Icon, glyph};
use crate::dispatch::Dispatch;
use crate::domain::rules::Rule;
use crate::domain::run::SourceKind;
use crate::model::live::Phase;
use crate::model::{Action, List, Model, Theme, UiAction};
use crate::num;

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    html! {
        <Top
            source={model.source}
            seed={model.setup.seed}
            digest={model.digest}
            breach={model.breach.clone()}
            broken={model.broken_rule()}
            phase={model.live.phase.clone()}
            streams={model.live.streams()}
            left_out={model.reading.left_out}
            theme={model.ui.theme}
            dispatch={dispatch.clone()}
        />
    }
}

/// Properties of [`Top`].
#[derive(PartialEq, Properties)]
pub(crate) struct TopProps {
    pub(crate) source: SourceKind,
    pub(crate) seed: u64,
    /// The digest of all events of the simulation.
    pub(crate) digest: u64,
    /// The first violation of this run.
    pub(crate) breach: Option<Violation>,
    /// The rule that is broken on purpose, if any.
    pub(crate) broken: Option<Mutation>,
    pub(crate) phase: Phase,
    /// The number of open streams, and of expected streams.
    pub(crate) streams: (usize, usize),
    /// The number of events of a live cluster that are not shown.
    pub(crate) left_out: u64,
    pub(crate) theme: Theme,
    pub(crate) dispatch: Dispatch,
}

/// The top bar.
#[component]
pub(crate) fn Top(props: &TopProps) -> Html {
    let theme = props.theme.other();
    let change_theme = props.dispatch.reform(move |_| Action::Theme(theme));
    let help = props.dispatch.reform(|_| Action::Ui(UiAction::Help(true)));
    let lessons = props.dispatch.reform(|_| Action::Ui(UiAction::List(Some(List::Lessons))));
    let theme_label = format!("Change to {} colours", theme.name());
    html! {
        <header class="top">
            <div class="brand">
                { mark() }
                <span>{ "Glassraft" }</span>
            </div>
            { sources(props) }
            <button
                type="button"
                class="button lessons-button"
                title="Lessons (L)"
                aria-haspopup="dialog"
                data-testid="lessons"
                onclick={lessons}
            >
                { glyph(Icon::Book) }
                <span>{ "Lessons" }</span>
            </button>
            <div class="facts">
                { badge(props) }
                { promises(props) }
            </div>
            <button
                type="button"
                class="button quiet"
                aria-label={theme_label.clone()}
                title={theme_label}
                data-testid="theme"
                onclick={change_theme}
            >
                { glyph(if theme == Theme::Dark { Icon::Moon } else { Icon::Sun }) }
            </button>
            <button
                type="button"
                class="button quiet"
                aria-label="Share and save"
                title="Share and save (S)"
                data-testid="share"
                onclick={props.dispatch.reform(|_| Action::Ui(UiAction::Share(true)))}
            >
                { glyph(Icon::Share) }
            </button>
            <button
                type="button"
                class="button quiet"
                aria-label="Help"
                title="Help (?)"
                data-testid="help"
                onclick={help}
            >
                { glyph(Icon::Help) }
            </button>
        </header>
    }
}

/// The logo: three servers on a ring, one of them the leader.
fn mark() -> Html {
    html! {
        <svg class="mark" viewBox="0 0 32 32" width="28" height="28" aria-hidden="true">
            <circle class="orbit" cx="16" cy="16" r="10.5" />
            <circle class="lead" cx="16" cy="5.5" r="4.6" />
            <circle class="node" cx="25.1" cy="21.2" r="3.6" />
            <circle class="node" cx="6.9" cy="21.2" r="3.6" />
        </svg>
    }
}

fn sources(props: &TopProps) -> Html {
    let choice = |kind: SourceKind, name: &'static str, title: &'static str| {
        let onclick = props.dispatch.reform(move |_: MouseEvent| Action::Source(kind));
        html! {
            <button
                type="button"
                aria-pressed={(props.source == kind).to_string()}
                data-testid={format!("source-{}", name.to_lowercase())}
                {title}
                {onclick}
            >
                { name }
            </button>
        }
    };
    html! {
        <div class="switch" role="group" aria-label="Source">
            { choice(SourceKind::Simulate, "Simulate", "A cluster inside this page") }
            { choice(SourceKind::Live, "Live", "A cluster of real servers") }
            if props.source == SourceKind::Replay {
                <button type="button" aria-pressed="true" data-testid="source-replay" title="A recording">
                    { "Replay" }
                </button>
            }
        </div>
    }
}

fn badge(props: &TopProps) -> Html {
    let version = concat!("core ", env!("CARGO_PKG_VERSION"));
    let (state, words, title) = match (props.source, &props.phase) {
        (SourceKind::Simulate, _) => {
            let title = format!(
                "Simulated in this page. The same seed and actions give the same run anywhere; \
                 digest {:016x}",
                props.digest
            );
            ("on", format!("seed {}", props.seed), title)
        }
        (SourceKind::Replay, _) => {
            let title = format!("A recording; digest {:016x}", props.digest);
            ("on", "recorded".to_owned(), title)
        }
        (SourceKind::Live, Phase::Watching) => {
            let (open, all) = props.streams;
            let title = "Servers whose event streams are open".to_owned();
            (if open > 0 { "on" } else { "off" }, format!("{open} of {all} connected"), title)
        }
        (SourceKind::Live, Phase::Idle | Phase::Looking) => {
            ("wait", "looking …".to_owned(), String::new())
        }
        (SourceKind::Live, Phase::Failed(why)) => ("off", "no answer".to_owned(), why.clone()),
        (SourceKind::Live, Phase::Locked(why)) => ("off", "token needed".to_owned(), why.clone()),
    };
    // The short form for phones, where the lamp shows the rest.
    let (open, all) = props.streams;
    let short = (props.phase == Phase::Watching).then(|| format!("{open}/{all}"));
    html! {
        <span
            class={classes!("badge", (props.source == SourceKind::Simulate).then_some("seed"))}
            {title}
            data-testid="badge"
        >
            <span class={classes!("lamp", state)}></span>
            <span class="badge-words" data-short={short}>{ words }</span>
            if props.source == SourceKind::Live && props.left_out > 0 {
                <span
                    class="left-out wide-only"
                    title="Events that were left out: they were too many to send and show. The \
                           state that they led to is shown."
                    data-testid="left-out"
                >
                    { num::grouped(props.left_out) }{ " left out" }
                </span>
            }
            <span class="version">{ version }</span>
        </span>
    }
}

/// Whether the properties of figure 3 have held so far.
fn promises(props: &TopProps) -> Html {
    if props.source != SourceKind::Simulate {
        let title = "Only the simulation checks the safety properties: they need all events in a \
                     single order";
        return html! {
            <span
                class="chip unchecked"
                {title}
                data-testid="invariants"
                data-state="unchecked"
            >
                { "Safety not checked" }
            </span>
        };
    }
    let open =
        props.dispatch.reform(|_: MouseEvent| Action::Ui(UiAction::List(Some(List::Promises))));
    let (class, state, icon, words, title) = match &props.breach {
        None => (
            "chip good",
            "holding",
            Icon::Check,
            "Safe".to_owned(),
            "All properties held after every event so far. Press for the list".to_owned(),
        ),
        Some(first) => (
            "chip bad",
            "broken",
            Icon::Cross,
            format!("{} violated", first.property),
            format!("{} Press for the proof", first.explanation),
        ),
    };
    html! {
        <>
            if let Some(rule) = props.broken {
                { broken_rule(rule, props) }
            }
            <button
                type="button"
                {class}
                {title}
                aria-haspopup="dialog"
                data-testid="invariants"
                data-state={state}
                onclick={open}
            >
                { glyph(icon) }
                <span>{ words }</span>
                if props.breach.is_none() {
                    <span class="wide-only">{ " so far" }</span>
                }
            </button>
        </>
    }
}

/// Names the broken rule. A press restores the rule.
fn broken_rule(rule: Mutation, props: &TopProps) -> Html {
    let rule = Rule::of(rule);
    let onclick = props.dispatch.reform(|_: MouseEvent| Action::Break(None));
    html! {
        <button
            type="button"
            class="chip warn"
            title={format!("{} Press to restore the rule", rule.instead)}
            data-testid="broken-rule"
            {onclick}
        >
            <span>{ "Broken: " }{ rule.name }</span>
            { glyph(Icon::Close) }
        </button>
    }
}
