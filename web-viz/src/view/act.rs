//! What one can do to the cluster: to the leader, to one server, to the network, to the run.

use std::collections::BTreeSet;

use raft_core::event::RoleName;
use raft_core::types::NodeId;
use yew::prelude::*;

use super::Dispatch;
use super::parts::{DeedButton, Icon, deed_button, glyph, term_class, typed};
use crate::model::deeds::Deed;
use crate::model::known::{Known, Presence};
use crate::model::{Action, Network, UiAction};
use crate::num;
use crate::shared::Shared;
use crate::source::SourceKind;
use crate::source::sim::SimSetup;

/// Properties of [`Act`].
#[derive(PartialEq, Properties)]
pub(crate) struct ActProps {
    pub(crate) known: Shared<Known>,
    pub(crate) selected: Option<NodeId>,
    pub(crate) permits: Permits,
    pub(crate) network: Network,
    pub(crate) setup: SimSetup,
    pub(crate) source: SourceKind,
    /// What stands in the field for a live cluster's address.
    pub(crate) cluster: String,
    /// The process behind the selected server, where one is known.
    pub(crate) process: Option<String>,
    pub(crate) dispatch: Dispatch,
}

/// What is possible at the moment, else why not.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Permits {
    pub(crate) crash_leader: Option<(Deed, Result<(), String>)>,
    /// What can be done to the selected server.
    pub(crate) server: Vec<(Deed, Result<(), String>)>,
    pub(crate) split: (Deed, Result<(), String>),
    pub(crate) heal: (Deed, Result<(), String>),
    pub(crate) network: Result<(), String>,
    /// Servers that are down, each with whether it can be restarted.
    pub(crate) down: Vec<(Deed, Result<(), String>)>,
}

/// See the module.
#[component]
pub(crate) fn Act(props: &ActProps) -> Html {
    html! {
        <div class="panel act sheet-act">
            { first_thing(props) }
            { servers(props) }
            { network(props) }
            if props.source == SourceKind::Simulate {
                { run(props) }
            } else {
                { cluster(props) }
            }
        </div>
    }
}

/// The button that everybody should press first.
fn first_thing(props: &ActProps) -> Html {
    let crash = |asked: &(Deed, Result<(), String>)| {
        let button = DeedButton {
            label: format!("Crash the leader, {}", subject(asked.0)),
            icon: Icon::Bolt,
            class: "danger large",
            key: Some("X"),
            testid: "crash-leader".to_owned(),
        };
        deed_button(asked, button, &props.dispatch)
    };
    let revive = |asked: &(Deed, Result<(), String>)| {
        let button = DeedButton {
            label: format!("Restart {}", subject(asked.0)),
            icon: Icon::Power,
            class: "large",
            key: None,
            testid: format!("revive-{}", subject(asked.0)),
        };
        deed_button(asked, button, &props.dispatch)
    };
    html! {
        <div class="first-thing">
            if let Some(asked) = &props.permits.crash_leader {
                { crash(asked) }
            } else {
                <button type="button" class="button danger large" aria-disabled="true">
                    { glyph(Icon::Bolt) }
                    <span>{ "Nobody leads" }</span>
                </button>
            }
            { for props.permits.down.iter().map(revive) }
        </div>
    }
}

/// The server that a deed is done to.
fn subject(deed: Deed) -> String {
    match deed {
        Deed::Crash(node)
        | Deed::Restart(node)
        | Deed::Freeze(node)
        | Deed::Thaw(node)
        | Deed::Isolate(node)
        | Deed::Elect(node) => node.to_string(),
        Deed::SplitLeader | Deed::Heal | Deed::Loss(_) | Deed::Delay(_) => String::new(),
    }
}

fn servers(props: &ActProps) -> Html {
    let chip = |node: NodeId| {
        let chosen = props.selected == Some(node);
        let onclick =
            props.dispatch.reform(move |_| Action::Ui(UiAction::Select((!chosen).then_some(node))));
        let term = props.known.node(node).map(|known| known.term).unwrap_or_default();
        let absent = !props.known.presence(node).runs();
        html! {
            <button
                type="button"
                class={classes!("chip-server", term_class(term), absent.then_some("absent"))}
                aria-pressed={chosen.to_string()}
                data-testid={format!("choose-{node}")}
                {onclick}
            >
                if props.known.leader() == Some(node) {
                    { glyph(Icon::Crown) }
                }
                { node.to_string() }
            </button>
        }
    };
    html! {
        <section class="one-server" aria-labelledby="one-title">
            <h2 id="one-title">{ "One server" }</h2>
            <div class="chips" role="group" aria-label="Choose a server">
                { for props.known.roster.iter().map(|node| chip(*node)) }
            </div>
            if let Some(node) = props.selected {
                { facts(node, props) }
                <div class="deeds">
                    { for props.permits.server.iter().map(|asked| one_deed(asked, props)) }
                </div>
            } else {
                <p class="hint">{ "Choose a server here or on the ring." }</p>
            }
        </section>
    }
}

fn facts(id: NodeId, props: &ActProps) -> Html {
    let known = &props.known;
    let Some(node) = known.node(id) else {
        return html! { <p class="hint">{ "Nothing is known of it yet." }</p> };
    };
    let fact = |name: &'static str, value: String| {
        html! { <div><dt>{ name }</dt><dd>{ value }</dd></div> }
    };
    let nobody = || "–".to_owned();
    html! {
        <dl class="facts" data-testid="facts">
            { fact("role", role_words(known.presence(id), node.role)) }
            { fact("term", node.term.to_string()) }
            { fact("voted for", node.voted_for.map_or_else(nobody, |node| node.to_string())) }
            { fact("log ends", node.last.index.to_string()) }
            { fact("on disk", node.durable_index.to_string()) }
            { fact("committed", node.commit_index.to_string()) }
            if let Some(process) = &props.process {
                { fact("process", process.clone()) }
            }
        </dl>
    }
}

fn role_words(presence: Presence, role: RoleName) -> String {
    match presence {
        Presence::Up => role.to_string(),
        Presence::Frozen => format!("{role}, frozen"),
        Presence::Down => "down".to_owned(),
        Presence::Unreachable => "out of sight".to_owned(),
    }
}

fn one_deed(asked: &(Deed, Result<(), String>), props: &ActProps) -> Html {
    let (label, icon, key, testid) = match asked.0 {
        Deed::Crash(_) => ("Crash", Icon::Bolt, Some("X"), "crash"),
        Deed::Restart(_) => ("Restart", Icon::Power, Some("X"), "restart"),
        Deed::Freeze(_) => ("Freeze", Icon::Snow, Some("F"), "freeze"),
        Deed::Thaw(_) => ("Go on", Icon::Snow, Some("F"), "thaw"),
        Deed::Isolate(_) => ("Cut off", Icon::Scissors, Some("P"), "isolate"),
        Deed::SplitLeader => ("Split", Icon::Split, None, "split"),
        Deed::Heal => ("Mend", Icon::Link, Some("P"), "heal"),
        Deed::Elect(_) => ("Elect", Icon::Flag, None, "elect"),
        Deed::Loss(_) | Deed::Delay(_) => return html! {},
    };
    let (label, testid) = (label.to_owned(), testid.to_owned());
    deed_button(asked, DeedButton { label, icon, class: "", key, testid }, &props.dispatch)
}

fn network(props: &ActProps) -> Html {
    let why_not = props.permits.network.as_ref().err().map(String::as_str);
    let loss = props.network.loss_permille;
    let delay = props.network.delay;
    html! {
        <section class="network" aria-labelledby="network-title">
            <h2 id="network-title">{ "Network" }</h2>
            <div class="deeds">
                { one_deed(&props.permits.split, props) }
                { one_deed(&props.permits.heal, props) }
            </div>
            { slider(props, &Slider {
                name: "Lost",
                words: if why_not.is_some() { "–".to_owned() } else { format!("{} %", loss / 10) },
                value: u64::from(loss),
                most: 500,
                step: 10,
                testid: "loss",
                deed: |value| Deed::Loss(u16::try_from(value).unwrap_or(u16::MAX)),
            }, why_not) }
            { slider(props, &Slider {
                name: "Delay",
                words: if why_not.is_some() { "–".to_owned() } else { num::span(delay) },
                value: delay / 500,
                most: 240,
                step: 1,
                testid: "delay",
                deed: |value| Deed::Delay(value * 500),
            }, why_not) }
        </section>
    }
}

struct Slider {
    name: &'static str,
    words: String,
    value: u64,
    most: u64,
    step: u64,
    testid: &'static str,
    deed: fn(u64) -> Deed,
}

fn slider(props: &ActProps, slider: &Slider, why_not: Option<&str>) -> Html {
    let (dispatch, deed) = (props.dispatch.clone(), slider.deed);
    let oninput = Callback::from(move |event: InputEvent| {
        if let Some(value) = typed(&event).and_then(|text| text.parse().ok()) {
            dispatch.emit(Action::Deed(deed(value)));
        }
    });
    html! {
        <label class="slider" title={why_not.map(str::to_owned)}>
            <span>{ slider.name }</span>
            <input
                type="range"
                min="0"
                max={slider.most.to_string()}
                step={slider.step.to_string()}
                value={slider.value.to_string()}
                disabled={why_not.is_some()}
                aria-valuetext={slider.words.clone()}
                data-testid={slider.testid}
                {oninput}
            />
            <output>{ &slider.words }</output>
        </label>
    }
}

/// Which live cluster is watched.
fn cluster(props: &ActProps) -> Html {
    let dispatch = props.dispatch.clone();
    let oninput = Callback::from(move |event: InputEvent| {
        if let Some(address) = typed(&event) {
            dispatch.emit(Action::ClusterTyped(address));
        }
    });
    let dispatch = props.dispatch.clone();
    let onsubmit = Callback::from(move |event: SubmitEvent| {
        event.prevent_default();
        dispatch.emit(Action::ClusterConnect);
    });
    html! {
        <section aria-labelledby="cluster-title">
            <h2 id="cluster-title">{ "Cluster" }</h2>
            <form class="cluster" {onsubmit}>
            <input
                type="text"
                inputmode="url"
                aria-label="Address of any server of the cluster; empty for this page's own"
                placeholder="this page's"
                value={props.cluster.clone()}
                spellcheck="false"
                autocomplete="off"
                data-testid="cluster"
                {oninput}
            />
            <button type="submit" class="button" data-testid="connect">{ "Connect" }</button>
            </form>
            <p class="hint">
                { "The address of any server; empty for the cluster of this page." }
            </p>
        </section>
    }
}

/// What the run is made from.
fn run(props: &ActProps) -> Html {
    let setup = props.setup;
    let fewer = SimSetup { servers: setup.servers - 1, ..setup };
    let more = SimSetup { servers: setup.servers + 1, ..setup };
    let fresh =
        props.dispatch.reform(move |_| Action::Simulate(SimSetup { seed: new_seed(), ..setup }));
    let dispatch = props.dispatch.clone();
    let typed_seed = Callback::from(move |event: Event| {
        if let Some(text) = typed(&event) {
            dispatch.emit(Action::SeedTyped(text));
        }
    });
    html! {
        <section class="run" aria-labelledby="run-title">
            <h2 id="run-title">{ "Run" }</h2>
            <div class="stepper" role="group" aria-label="Number of servers">
                <span>{ "Servers" }</span>
                { step_button(props, "Fewer servers", "−", fewer, "fewer") }
                <output data-testid="servers">{ setup.servers }</output>
                { step_button(props, "More servers", "+", more, "more") }
            </div>
            <div class="seed">
                <label>
                    <span>{ "Seed" }</span>
                    <input
                        type="text"
                        inputmode="numeric"
                        value={setup.seed.to_string()}
                        data-testid="seed"
                        onchange={typed_seed}
                    />
                </label>
                <button
                    type="button"
                    class="button"
                    title="Another run, with a new seed"
                    data-testid="new-seed"
                    onclick={fresh}
                >
                    { glyph(Icon::Dice) }
                    <span>{ "New" }</span>
                </button>
            </div>
        </section>
    }
}

fn step_button(
    props: &ActProps,
    label: &'static str,
    sign: &'static str,
    setup: SimSetup,
    testid: &'static str,
) -> Html {
    let fits = SimSetup::servers_fit(setup.servers);
    let onclick = props.dispatch.reform(move |_| Action::Simulate(setup));
    html! {
        <button
            type="button"
            class="button round small"
            aria-label={label}
            disabled={!fits}
            data-testid={testid}
            {onclick}
        >
            { sign }
        </button>
    }
}

/// Short enough to be read out in a classroom.
fn new_seed() -> u64 {
    1 + num::whole(js_sys::Math::random() * 99_999.0)
}

/// What is possible at the moment.
pub(crate) fn permits(model: &crate::model::Model) -> Permits {
    let ask = |deed: Deed| (deed, model.permits(deed));
    let known = &model.known;
    let down: BTreeSet<NodeId> = known
        .roster
        .iter()
        .copied()
        .filter(|node| known.presence(*node) == Presence::Down)
        .collect();
    let server = model.ui.selected.map(|node| {
        vec![
            ask(model.toggle_crash(node)),
            ask(model.toggle_freeze(node)),
            ask(model.toggle_isolate(node)),
            ask(Deed::Elect(node)),
        ]
    });
    Permits {
        crash_leader: known.leader().map(|leader| ask(Deed::Crash(leader))),
        server: server.unwrap_or_default(),
        split: ask(Deed::SplitLeader),
        heal: ask(Deed::Heal),
        network: model.permits(Deed::Loss(0)),
        down: down.into_iter().map(|node| ask(Deed::Restart(node))).collect(),
    }
}
