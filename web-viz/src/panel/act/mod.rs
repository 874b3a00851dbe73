//! The actions on the leader and, in the fault panel, on a server, the network, the members, the
//! rules and the run.

mod air;
mod cluster;
pub(crate) mod faults;
mod rules;

use std::collections::BTreeSet;

use raft_core::rules::Mutation;
use raft_core::types::{EventId, NodeId};
use yew::prelude::*;

use super::parts::{ActionButton, Icon, action_button, glyph, typed};
use crate::dispatch::Dispatch;
use crate::domain::actions::ClusterAction;
use crate::domain::actions::conditions::Conditions;
use crate::domain::cluster::{ClusterModel, Presence};
use crate::domain::form::Ask;
use crate::domain::run::SimSetup;
use crate::domain::run::SourceKind;
use crate::model::{Action, FaultPanel, Model, UiAction};
use crate::num;
use crate::shared::Shared;
use cluster::ClusterForm;
use faults::{Offer, face, newest_request};

/// The panel, from the model.
pub(crate) fn panel(model: &Model, dispatch: &Dispatch) -> Html {
    let selected = model.ui.selection.server();
    let process = selected.and_then(|node| model.live.process(node));
    let process = process.map(|process| match process.pid {
        Some(pid) => format!("pid {pid}"),
        None => "ended".to_owned(),
    });
    html! {
        <Act
            cluster={model.reading.cluster.clone()}
            servers={model.ui.selection.servers()}
            {selected}
            message={model.ui.selection.message()}
            permits={permits(model)}
            faults={model.ui.faults}
            playing={model.playback.playing}
            conditions={model.conditions.clone()}
            setup={model.setup}
            broken={model.broken_rule()}
            newest_request={newest_request(model)}
            source={model.source}
            address={model.live.typed.clone()}
            token={model.live.wants_token().then(|| model.live.token.clone())}
            {process}
            dispatch={dispatch.clone()}
        />
    }
}

/// Properties of [`Act`].
#[derive(PartialEq, Properties)]
struct ActProps {
    pub(crate) cluster: Shared<ClusterModel>,
    /// The chosen servers.
    pub(crate) servers: BTreeSet<NodeId>,
    /// The chosen server that actions apply to.
    pub(crate) selected: Option<NodeId>,
    /// The chosen message.
    pub(crate) message: Option<EventId>,
    pub(crate) faults: FaultPanel,
    pub(crate) playing: bool,
    pub(crate) permits: Permits,
    pub(crate) conditions: Shared<Conditions>,
    pub(crate) setup: SimSetup,
    /// The broken rule, if any.
    pub(crate) broken: Option<Mutation>,
    /// The newest membership request.
    pub(crate) newest_request: Option<Ask>,
    pub(crate) source: SourceKind,
    /// The text of the address field for a live cluster.
    pub(crate) address: String,
    /// The text of the token field; `None` if no token is needed.
    pub(crate) token: Option<String>,
    /// The process of the selected server, if known.
    pub(crate) process: Option<String>,
    pub(crate) dispatch: Dispatch,
}

/// Which actions are permitted at the moment, or why not.
#[derive(Clone, Debug, PartialEq)]
struct Permits {
    pub(crate) crash_leader: Option<Offer>,
    /// The restart of each server that is down.
    pub(crate) down: Vec<Offer>,
    pub(crate) split: Offer,
    pub(crate) heal: Offer,
    pub(crate) network: Result<(), String>,
    /// The actions in the open part of the fault panel.
    pub(crate) faults: Vec<Offer>,
}

/// The panel of actions.
#[component]
fn Act(props: &ActProps) -> Html {
    html! {
        <div class="panel act sheet-act">
            { first_thing(props) }
            <section class="faults" aria-label="Actions">
                { parts(props) }
                { match props.faults {
                    FaultPanel::Server => faults::server(props),
                    FaultPanel::Network => faults::network(props),
                    FaultPanel::Members => faults::members(props),
                    FaultPanel::Rules => rules::rules(props),
                } }
            </section>
            if props.source == SourceKind::Simulate {
                { run(props) }
            } else if props.source == SourceKind::Live {
                <ClusterForm
                    address={props.address.clone()}
                    token={props.token.clone()}
                    dispatch={props.dispatch.clone()}
                />
            }
        </div>
    }
}

/// The buttons that switch between the parts of the fault panel.
fn parts(props: &ActProps) -> Html {
    let part = |faults: FaultPanel| {
        let onclick = props.dispatch.reform(move |_| Action::Ui(UiAction::FaultPanel(faults)));
        let marked = faults == FaultPanel::Rules && props.broken.is_some();
        html! {
            <button
                type="button"
                class={classes!(marked.then_some("marked"))}
                aria-pressed={(props.faults == faults).to_string()}
                data-testid={format!("faults-{}", faults.title().to_lowercase())}
                {onclick}
            >
                { faults.title() }
            </button>
        }
    };
    html! {
        <div class="switch small parts" role="group" aria-label="Parts of the fault panel">
            { for FaultPanel::ALL.into_iter().map(part) }
        </div>
    }
}

/// The buttons that a new user should press first.
fn first_thing(props: &ActProps) -> Html {
    let crash = |asked: &Offer| {
        let button = ActionButton {
            label: format!("Crash the leader, {}", subject(asked.0)),
            icon: Icon::Bolt,
            class: "danger large",
            key: Some("X"),
            testid: "crash-leader".to_owned(),
        };
        action_button(asked, button, &props.dispatch)
    };
    let revive = |asked: &Offer| {
        let button = ActionButton {
            label: format!("Restart {}", subject(asked.0)),
            icon: Icon::Power,
            class: "large",
            key: None,
            testid: format!("revive-{}", subject(asked.0)),
        };
        action_button(asked, button, &props.dispatch)
    };
    html! {
        <div class="first-thing">
            if let Some(asked) = &props.permits.crash_leader {
                { crash(asked) }
            } else {
                <button type="button" class="button danger large" aria-disabled="true">
                    { glyph(Icon::Bolt) }
                    <span>{ "No leader" }</span>
                </button>
            }
            { for props.permits.down.iter().map(revive) }
            <div class="actions">
                { face(&props.permits.split, &props.dispatch) }
                { face(&props.permits.heal, &props.dispatch) }
            </div>
        </div>
    }
}

/// The name of the server that an action applies to.
fn subject(action: ClusterAction) -> String {
    let (ClusterAction::Crash(node) | ClusterAction::Restart(node)) = action else {
        return String::new();
    };
    node.to_string()
}

/// The number of servers and the seed of the run.
fn run(props: &ActProps) -> Html {
    let setup = props.setup.free();
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

/// A random seed, short enough to be read out in a classroom.
fn new_seed() -> u64 {
    1 + num::whole(js_sys::Math::random() * 99_999.0)
}

/// Checks which actions are permitted at the moment.
fn permits(model: &Model) -> Permits {
    let ask = |action: ClusterAction| (action, model.permits(action));
    let cluster = model.present();
    let down: BTreeSet<NodeId> = cluster
        .roster
        .iter()
        .copied()
        .filter(|node| cluster.presence(*node) == Presence::Down)
        .collect();
    Permits {
        crash_leader: cluster.leader().map(|leader| ask(ClusterAction::Crash(leader))),
        down: down.into_iter().map(|node| ask(ClusterAction::Restart(node))).collect(),
        split: ask(ClusterAction::SplitLeader),
        heal: ask(ClusterAction::Heal),
        network: model.permits(ClusterAction::Loss(0)),
        faults: faults::offers(model).into_iter().map(ask).collect(),
    }
}
