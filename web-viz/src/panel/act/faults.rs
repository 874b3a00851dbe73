//! The fault panel: the actions on a server with its links, disk and clock, on the network, and on
//! the members.

use raft_core::types::NodeId;
use yew::prelude::*;

use super::ActProps;
use crate::dispatch::Dispatch;
use crate::domain::actions::{ClockAction, ClusterAction, DiskAction, LinkAction, MemberAction};
use crate::domain::form::{Ask, AskState, Request};
use crate::domain::run::SourceKind;
use crate::model::{Action, FaultPanel, Model};
use crate::num;
use crate::panel::parts::{
    ActionButton, Icon, action_button, choose_server, glyph, term_class, typed,
};

/// An action, and the reason if it is not permitted.
pub(crate) type Offer = (ClusterAction, Result<(), String>);

/// The size of a clock jump, in µs.
const JUMP: i64 = 500_000;

/// The actions that the open part of the fault panel offers.
pub(crate) fn offers(model: &Model) -> Vec<ClusterAction> {
    match (model.ui.faults, model.ui.selection.server()) {
        (FaultPanel::Server, Some(node)) => server_offers(model, node),
        (FaultPanel::Members, selected) => member_offers(model, selected),
        (FaultPanel::Server, None) | (FaultPanel::Network | FaultPanel::Rules, _) => Vec::new(),
    }
}

pub(super) fn server_offers(model: &Model, node: NodeId) -> Vec<ClusterAction> {
    let rate = |rate| ClusterAction::Clock(node, ClockAction::Rate(rate));
    let disk = |action| ClusterAction::Disk(node, action);
    let mut offers = vec![
        model.toggle_crash(node),
        model.toggle_freeze(node),
        model.toggle_isolate(node),
        ClusterAction::Elect(node),
        model.toggle_stall(node),
        model.toggle_slow_disk(node),
        disk(DiskAction::Fill),
        disk(DiskAction::FailWrite),
        disk(DiskAction::Tear),
        disk(DiskAction::FlipBit),
        disk(DiskAction::Wipe),
        disk(DiskAction::FailSnapshot),
        disk(DiskAction::Mend),
        rate(500),
        rate(2000),
        rate(1000),
        ClusterAction::Clock(node, ClockAction::Jump(JUMP)),
    ];
    if model.toggle_stall(node) == disk(DiskAction::Mend) {
        // The toggle of the stall is already a mend button.
        let last = offers.iter().rposition(|action| *action == disk(DiskAction::Mend));
        last.map(|last| offers.remove(last));
    }
    for peer in model.present().roster.iter().copied().filter(|peer| *peer != node) {
        offers.extend([
            model.toggle_link(node, peer),
            model.toggle_link(peer, node),
            model.toggle_slow(node, peer),
        ]);
    }
    offers
}

fn member_offers(model: &Model, selected: Option<NodeId>) -> Vec<ClusterAction> {
    let mut offers = vec![MemberAction::AddVoter, MemberAction::AddLearner];
    offers.extend(selected.into_iter().flat_map(|node| {
        [
            MemberAction::Transfer(node),
            MemberAction::Snapshot(node),
            MemberAction::Promote(node),
            MemberAction::Remove(node),
        ]
    }));
    offers.retain(|action| match action {
        // Only a learner can be promoted.
        MemberAction::Promote(node) => {
            model.present().membership().is_some_and(|members| members.learners.contains(node))
        }
        MemberAction::AddVoter
        | MemberAction::AddLearner
        | MemberAction::Transfer(_)
        | MemberAction::Snapshot(_)
        | MemberAction::Remove(_) => true,
    });
    offers.into_iter().map(ClusterAction::Member).collect()
}

/// The button of an action.
pub(in crate::panel) fn face(offer: &Offer, dispatch: &Dispatch) -> Html {
    let (label, icon, key, testid) = match offer.0 {
        ClusterAction::Crash(_) => ("Crash", Icon::Bolt, Some("X"), "crash"),
        ClusterAction::Restart(_) => ("Restart", Icon::Power, Some("X"), "restart"),
        ClusterAction::Freeze(_) => ("Freeze", Icon::Snow, Some("F"), "freeze"),
        ClusterAction::Thaw(_) => ("Resume", Icon::Snow, Some("F"), "thaw"),
        ClusterAction::Isolate(_) => ("Cut off", Icon::Scissors, Some("P"), "isolate"),
        ClusterAction::Partition(_) => ("Cut them off", Icon::Scissors, Some("P"), "partition"),
        ClusterAction::SplitLeader => ("Split", Icon::Split, None, "split"),
        ClusterAction::Heal => ("Mend", Icon::Link, Some("P"), "heal"),
        ClusterAction::Elect(_) => ("Elect", Icon::Flag, None, "elect"),
        ClusterAction::Disk(_, action) => {
            let (label, testid) = disk_words(action);
            (label, Icon::Disk, None, testid)
        }
        ClusterAction::Clock(_, ClockAction::Rate(500)) => {
            ("Slow", Icon::Clock, None, "clock-slow")
        }
        ClusterAction::Clock(_, ClockAction::Rate(2000)) => {
            ("Fast", Icon::Clock, None, "clock-fast")
        }
        ClusterAction::Clock(_, ClockAction::Rate(_)) => {
            ("Normal", Icon::Clock, None, "clock-right")
        }
        ClusterAction::Clock(_, ClockAction::Jump(_)) => ("Jump", Icon::Clock, None, "clock-jump"),
        ClusterAction::Member(action) => return member_face(action, offer, dispatch),
        ClusterAction::Link(..)
        | ClusterAction::Message(..)
        | ClusterAction::Loss(_)
        | ClusterAction::Repeat(_)
        | ClusterAction::Overtake(_)
        | ClusterAction::Delay(_)
        | ClusterAction::Sync(_) => return html! {},
    };
    let (label, testid) = (label.to_owned(), testid.to_owned());
    action_button(offer, ActionButton { label, icon, class: "", key, testid }, dispatch)
}

const fn disk_words(action: DiskAction) -> (&'static str, &'static str) {
    match action {
        DiskAction::Stall => ("Stall", "disk-stall"),
        DiskAction::Mend => ("Mend", "disk-mend"),
        DiskAction::Fill => ("Full", "disk-full"),
        DiskAction::Slow => ("Slow", "disk-slow"),
        DiskAction::Quicken => ("Not slow", "disk-quicken"),
        DiskAction::FailWrite => ("Fail write", "disk-fail"),
        DiskAction::FailSnapshot => ("Fail snap", "disk-fail-snapshot"),
        DiskAction::Tear => ("Tear", "disk-tear"),
        DiskAction::FlipBit => ("Flip a bit", "disk-flip"),
        DiskAction::Wipe => ("Wipe", "disk-wipe"),
    }
}

fn member_face(action: MemberAction, offer: &Offer, dispatch: &Dispatch) -> Html {
    let (label, icon, testid) = match action {
        MemberAction::AddVoter => ("Add voter".to_owned(), Icon::Plus, "add-voter"),
        MemberAction::AddLearner => ("Add learner".to_owned(), Icon::Plus, "add-learner"),
        MemberAction::Promote(node) => (format!("Let {node} vote"), Icon::Check, "promote"),
        MemberAction::Remove(node) => (format!("Remove {node}"), Icon::Cross, "remove"),
        MemberAction::Transfer(node) => (format!("Let {node} lead"), Icon::Crown, "transfer"),
        MemberAction::Snapshot(_) => ("Snapshot".to_owned(), Icon::Disk, "snapshot"),
    };
    let testid = testid.to_owned();
    action_button(offer, ActionButton { label, icon, class: "", key: None, testid }, dispatch)
}

/// The part of the fault panel for one server.
pub(super) fn server(props: &ActProps) -> Html {
    let of = |kind: fn(&ClusterAction) -> bool| {
        props.permits.faults.iter().filter(move |(action, _)| kind(action)).collect::<Vec<_>>()
    };
    let group = |title: &'static str, hint: &'static str, offers: Vec<&Offer>| {
        html! {
            <>
                <h3 title={hint}>{ title }</h3>
                <div class="actions">
                    { for offers.into_iter().map(|offer| face(offer, &props.dispatch)) }
                </div>
            </>
        }
    };
    let links = of(|action| matches!(action, ClusterAction::Link(..)));
    html! {
        <div class="one-server">
            { chooser(props) }
            if let Some(node) = props.selected {
                if let Some(process) = &props.process {
                    <p class="hint" data-testid="process">{ format!("The process of {node}: {process}") }</p>
                }
                <div class="actions">
                    { for of(|action| !matches!(
                        action,
                        ClusterAction::Disk(..) | ClusterAction::Clock(..) | ClusterAction::Link(..)
                    )).into_iter().map(|offer| face(offer, &props.dispatch)) }
                </div>
                { group(
                    "Disk",
                    "Stall: it finishes no write. Tear: the power fails in the middle of a record. \
                     Flip a bit: a checksum shows it at the next start.",
                    of(|action| matches!(action, ClusterAction::Disk(..))),
                ) }
                { group(
                    "Clock",
                    "Half or double speed, or a jump of half a second.",
                    of(|action| matches!(action, ClusterAction::Clock(..))),
                ) }
                if !links.is_empty() {
                    <h3>{ "Links, each direction" }</h3>
                    <div class="links">{ for links.into_iter().map(|offer| link(offer, node, props)) }</div>
                }
            } else {
                <p class="hint">{ "Choose a server here or on the ring." }</p>
            }
            { super::air::air(props) }
        </div>
    }
}

/// Buttons to choose a server.
fn chooser(props: &ActProps) -> Html {
    let chip = |node: NodeId| {
        let chosen = props.servers.contains(&node);
        let onclick = props
            .dispatch
            .reform(move |event: MouseEvent| choose_server(node, chosen, event.shift_key()));
        let term = props.cluster.node(node).map(|view| view.term).unwrap_or_default();
        let absent = !props.cluster.presence(node).runs();
        html! {
            <button
                type="button"
                class={classes!("chip-server", term_class(term), absent.then_some("absent"))}
                aria-pressed={chosen.to_string()}
                data-testid={format!("choose-{node}")}
                {onclick}
            >
                if props.cluster.leader() == Some(node) {
                    { glyph(Icon::Crown) }
                }
                { node.to_string() }
            </button>
        }
    };
    html! {
        <div class="chips" role="group" aria-label="Choose a server">
            { for props.cluster.roster.iter().map(|node| chip(*node)) }
        </div>
    }
}

/// The button of one direction of a link. It is pressed while the link is cut or slow.
fn link(offer: &Offer, node: NodeId, props: &ActProps) -> Html {
    let (action, permitted) = offer;
    let ClusterAction::Link(from, to, what) = *action else { return html! {} };
    let (pressed, slow) = match what {
        LinkAction::Cut => (false, false),
        LinkAction::Mend => (true, false),
        LinkAction::Slow => (false, true),
        LinkAction::Quicken => (true, true),
    };
    let words = match (slow, from == node) {
        (true, _) => format!("slow → {to}"),
        (false, true) => format!("cut → {to}"),
        (false, false) => format!("cut ← {from}"),
    };
    let onclick = {
        let action = *action;
        props.dispatch.reform(move |_: MouseEvent| Action::Cluster(action))
    };
    html! {
        <button
            type="button"
            class="button link-action"
            aria-pressed={pressed.to_string()}
            aria-disabled={permitted.is_err().then_some("true")}
            title={permitted.clone().err()}
            data-testid={format!("{}-{from}-{to}", if slow { "slow" } else { "cut" })}
            {onclick}
        >
            { words }
        </button>
    }
}

/// The part of the fault panel for the whole network and all disks.
pub(super) fn network(props: &ActProps) -> Html {
    let why_not = props.permits.network.as_ref().err().map(String::as_str);
    let conditions = &props.conditions;
    let known = |words: String| if why_not.is_some() { "–".to_owned() } else { words };
    let share = |name, permille: u16, testid, action: fn(u16) -> ClusterAction| Slider {
        name,
        words: known(format!("{} %", permille / 10)),
        value: u64::from(permille),
        most: 500,
        step: 10,
        testid,
        action: Box::new(move |value| action(u16::try_from(value).unwrap_or(u16::MAX))),
    };
    let time = |name, middle: u64, testid, action: fn(u64) -> ClusterAction| Slider {
        name,
        words: known(num::span(middle)),
        value: middle / 500,
        most: 240,
        step: 1,
        testid,
        action: Box::new(move |value| action(value * 500)),
    };
    let sliders = [
        share("Lost", conditions.loss, "loss", ClusterAction::Loss),
        share("Twice", conditions.repeat, "repeat", ClusterAction::Repeat),
        share("Overtake", conditions.overtake, "overtake", ClusterAction::Overtake),
        time("Delay", conditions.delay, "delay", ClusterAction::Delay),
        time("Disks", conditions.sync, "sync", ClusterAction::Sync),
    ];
    html! {
        <div class="network">
            { for sliders.into_iter().map(|it| slider(props, it, why_not)) }
            <p class="hint">
                { "Messages that are lost, arrive twice or are overtaken; their delay; the time of \
                   a disk sync. For a single link or disk, choose its server." }
            </p>
        </div>
    }
}

/// The part of the fault panel for the membership.
pub(super) fn members(props: &ActProps) -> Html {
    let list = |nodes: &mut dyn Iterator<Item = NodeId>| {
        let names: Vec<String> = nodes.map(|node| node.to_string()).collect();
        if names.is_empty() { "–".to_owned() } else { names.join(" ") }
    };
    html! {
        <div class="members">
            if let Some(members) = props.cluster.membership() {
                <dl class="facts" data-testid="members">
                    <div><dt>{ "voters" }</dt><dd>{ list(&mut members.voters.iter().copied()) }</dd></div>
                    if members.is_joint() {
                        <div>
                            <dt>{ "old voters" }</dt>
                            <dd>{ list(&mut members.outgoing.iter().copied()) }</dd>
                        </div>
                    }
                    <div><dt>{ "learners" }</dt><dd>{ list(&mut members.learners.iter().copied()) }</dd></div>
                    <div><dt>{ "majority" }</dt><dd>{ props.cluster.majority() }</dd></div>
                </dl>
            }
            { chooser(props) }
            <div class="actions">
                { for props.permits.faults.iter().map(|offer| face(offer, &props.dispatch)) }
            </div>
            if let Some(request) = &props.newest_request {
                { outcome(request) }
            }
            if props.selected.is_none() {
                <p class="hint">{ "Choose a server to remove it, let it lead or take a snapshot." }</p>
            }
        </div>
    }
}

/// The state of the newest membership request.
fn outcome(request: &Ask) -> Html {
    let (class, words) = match &request.state {
        AskState::Waiting => ("waiting", "pending …".to_owned()),
        AskState::Done(words) => ("done", words.clone()),
        AskState::Failed(words) => ("failed", words.clone()),
    };
    html! {
        <p class={classes!("newest-request", class)} aria-live="polite" data-testid="newest-request" data-state={class}>
            <b>{ &request.words }</b>{ ": " }{ words }
        </p>
    }
}

/// The newest membership request of a simulation.
pub(crate) fn newest_request(model: &Model) -> Option<Ask> {
    let about = |ask: &&Ask| matches!(ask.request, Request::Change(_) | Request::Transfer(_));
    let simulated = model.source == SourceKind::Simulate;
    model.form.asks.iter().find(about).filter(|_| simulated).cloned()
}

struct Slider {
    name: &'static str,
    words: String,
    value: u64,
    most: u64,
    step: u64,
    testid: &'static str,
    action: Box<dyn Fn(u64) -> ClusterAction>,
}

fn slider(props: &ActProps, slider: Slider, why_not: Option<&str>) -> Html {
    let (dispatch, action) = (props.dispatch.clone(), slider.action);
    let oninput = Callback::from(move |event: InputEvent| {
        if let Some(value) = typed(&event).and_then(|text| text.parse().ok()) {
            dispatch.emit(Action::Cluster(action(value)));
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
            <output data-testid={format!("{}-words", slider.testid)}>{ &slider.words }</output>
        </label>
    }
}
