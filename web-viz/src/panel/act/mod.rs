//! The actions on the leader and, in the tray, on a server, the network, the members, the rules and
//! the run.

mod air;
mod cluster;
mod rules;
pub(crate) mod tray;

use std::collections::BTreeSet;

use raft_core::rules::Mutation;
use raft_core::types::{EventId, NodeId};
use yew::prelude::*;

use super::parts::{DeedButton, Icon, deed_button, glyph, typed};
use crate::dispatch::Dispatch;
use crate::domain::deeds::Deed;
use crate::domain::deeds::conditions::Conditions;
use crate::domain::desk::Ask;
use crate::domain::known::{Known, Presence};
use crate::domain::run::SimSetup;
use crate::domain::run::SourceKind;
use crate::model::{Action, Model, Tray, UiAction};
use crate::num;
use crate::shared::Shared;
use cluster::ClusterForm;
use tray::{Offer, face, newest_order};

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
            known={model.reading.known.clone()}
            servers={model.ui.selection.servers()}
            {selected}
            message={model.ui.selection.message()}
            permits={permits(model)}
            tray={model.ui.tray}
            playing={model.playback.playing}
            conditions={model.conditions.clone()}
            setup={model.setup}
            broken={model.broken_rule()}
            order={newest_order(model)}
            source={model.source}
            cluster={model.live.typed.clone()}
            token={model.live.wants_token().then(|| model.live.token.clone())}
            {process}
            dispatch={dispatch.clone()}
        />
    }
}

/// Properties of [`Act`].
#[derive(PartialEq, Properties)]
struct ActProps {
    pub(crate) known: Shared<Known>,
    /// The chosen servers.
    pub(crate) servers: BTreeSet<NodeId>,
    /// The chosen server that actions apply to.
    pub(crate) selected: Option<NodeId>,
    /// The chosen message.
    pub(crate) message: Option<EventId>,
    pub(crate) tray: Tray,
    pub(crate) playing: bool,
    pub(crate) permits: Permits,
    pub(crate) conditions: Shared<Conditions>,
    pub(crate) setup: SimSetup,
    /// The broken rule, if any.
    pub(crate) broken: Option<Mutation>,
    /// The newest membership request.
    pub(crate) order: Option<Ask>,
    pub(crate) source: SourceKind,
    /// The text of the address field for a live cluster.
    pub(crate) cluster: String,
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
    /// The actions in the open part of the tray.
    pub(crate) tray: Vec<Offer>,
}

/// The panel of actions.
#[component]
fn Act(props: &ActProps) -> Html {
    html! {
        <div class="panel act sheet-act">
            { first_thing(props) }
            <section class="tray" aria-label="Actions">
                { parts(props) }
                { match props.tray {
                    Tray::Server => tray::server(props),
                    Tray::Network => tray::network(props),
                    Tray::Members => tray::members(props),
                    Tray::Rules => rules::rules(props),
                } }
            </section>
            if props.source == SourceKind::Simulate {
                { run(props) }
            } else if props.source == SourceKind::Live {
                <ClusterForm
                    address={props.cluster.clone()}
                    token={props.token.clone()}
                    dispatch={props.dispatch.clone()}
                />
            }
        </div>
    }
}

/// The buttons that switch between the parts of the tray.
fn parts(props: &ActProps) -> Html {
    let part = |tray: Tray| {
        let onclick = props.dispatch.reform(move |_| Action::Ui(UiAction::Tray(tray)));
        let marked = tray == Tray::Rules && props.broken.is_some();
        html! {
            <button
                type="button"
                class={classes!(marked.then_some("marked"))}
                aria-pressed={(props.tray == tray).to_string()}
                data-testid={format!("tray-{}", tray.title().to_lowercase())}
                {onclick}
            >
                { tray.title() }
            </button>
        }
    };
    html! {
        <div class="switch small parts" role="group" aria-label="Parts of the tray">
            { for Tray::ALL.into_iter().map(part) }
        </div>
    }
}

/// The buttons that a new user should press first.
fn first_thing(props: &ActProps) -> Html {
    let crash = |asked: &Offer| {
        let button = DeedButton {
            label: format!("Crash the leader, {}", subject(asked.0)),
            icon: Icon::Bolt,
            class: "danger large",
            key: Some("X"),
            testid: "crash-leader".to_owned(),
        };
        deed_button(asked, button, &props.dispatch)
    };
    let revive = |asked: &Offer| {
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
                    <span>{ "No leader" }</span>
                </button>
            }
            { for props.permits.down.iter().map(revive) }
            <div class="deeds">
                { face(&props.permits.split, &props.dispatch) }
                { face(&props.permits.heal, &props.dispatch) }
            </div>
        </div>
    }
}

/// The name of the server that an action applies to.
fn subject(deed: Deed) -> String {
    let (Deed::Crash(node) | Deed::Restart(node)) = deed else { return String::new() };
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
    let ask = |deed: Deed| (deed, model.permits(deed));
    let known = model.present();
    let down: BTreeSet<NodeId> = known
        .roster
        .iter()
        .copied()
        .filter(|node| known.presence(*node) == Presence::Down)
        .collect();
    Permits {
        crash_leader: known.leader().map(|leader| ask(Deed::Crash(leader))),
        down: down.into_iter().map(|node| ask(Deed::Restart(node))).collect(),
        split: ask(Deed::SplitLeader),
        heal: ask(Deed::Heal),
        network: model.permits(Deed::Loss(0)),
        tray: tray::offers(model).into_iter().map(ask).collect(),
    }
}
