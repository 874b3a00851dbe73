//! The tray: the actions on a server with its links, disk and clock, on the network, and on the
//! members.

use raft_core::types::NodeId;
use yew::prelude::*;

use super::ActProps;
use crate::dispatch::Dispatch;
use crate::domain::deeds::{ClockDeed, Deed, DiskDeed, LinkDeed, MemberDeed};
use crate::domain::desk::{Ask, AskState, Request};
use crate::domain::run::SourceKind;
use crate::model::{Action, Model, Tray};
use crate::num;
use crate::panel::parts::{DeedButton, Icon, choose_server, deed_button, glyph, term_class, typed};

/// An action, and the reason if it is not permitted.
pub(crate) type Offer = (Deed, Result<(), String>);

/// The size of a clock jump, in µs.
const JUMP: i64 = 500_000;

/// The actions that the open part of the tray offers.
pub(crate) fn offers(model: &Model) -> Vec<Deed> {
    match (model.ui.tray, model.ui.selection.server()) {
        (Tray::Server, Some(node)) => server_offers(model, node),
        (Tray::Members, selected) => member_offers(model, selected),
        (Tray::Server, None) | (Tray::Network | Tray::Rules, _) => Vec::new(),
    }
}

pub(super) fn server_offers(model: &Model, node: NodeId) -> Vec<Deed> {
    let rate = |rate| Deed::Clock(node, ClockDeed::Rate(rate));
    let disk = |deed| Deed::Disk(node, deed);
    let mut offers = vec![
        model.toggle_crash(node),
        model.toggle_freeze(node),
        model.toggle_isolate(node),
        Deed::Elect(node),
        model.toggle_stall(node),
        model.toggle_slow_disk(node),
        disk(DiskDeed::Fill),
        disk(DiskDeed::FailWrite),
        disk(DiskDeed::Tear),
        disk(DiskDeed::FlipBit),
        disk(DiskDeed::Wipe),
        disk(DiskDeed::FailSnapshot),
        disk(DiskDeed::Mend),
        rate(500),
        rate(2000),
        rate(1000),
        Deed::Clock(node, ClockDeed::Jump(JUMP)),
    ];
    if model.toggle_stall(node) == disk(DiskDeed::Mend) {
        // The toggle of the stall is already a mend button.
        let last = offers.iter().rposition(|deed| *deed == disk(DiskDeed::Mend));
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

fn member_offers(model: &Model, selected: Option<NodeId>) -> Vec<Deed> {
    let mut offers = vec![MemberDeed::AddVoter, MemberDeed::AddLearner];
    offers.extend(selected.into_iter().flat_map(|node| {
        [
            MemberDeed::Transfer(node),
            MemberDeed::Snapshot(node),
            MemberDeed::Promote(node),
            MemberDeed::Remove(node),
        ]
    }));
    offers.retain(|deed| match deed {
        // Only a learner can be promoted.
        MemberDeed::Promote(node) => {
            model.present().membership().is_some_and(|members| members.learners.contains(node))
        }
        MemberDeed::AddVoter
        | MemberDeed::AddLearner
        | MemberDeed::Transfer(_)
        | MemberDeed::Snapshot(_)
        | MemberDeed::Remove(_) => true,
    });
    offers.into_iter().map(Deed::Member).collect()
}

/// The button of an action.
pub(in crate::panel) fn face(offer: &Offer, dispatch: &Dispatch) -> Html {
    let (label, icon, key, testid) = match offer.0 {
        Deed::Crash(_) => ("Crash", Icon::Bolt, Some("X"), "crash"),
        Deed::Restart(_) => ("Restart", Icon::Power, Some("X"), "restart"),
        Deed::Freeze(_) => ("Freeze", Icon::Snow, Some("F"), "freeze"),
        Deed::Thaw(_) => ("Resume", Icon::Snow, Some("F"), "thaw"),
        Deed::Isolate(_) => ("Cut off", Icon::Scissors, Some("P"), "isolate"),
        Deed::Partition(_) => ("Cut them off", Icon::Scissors, Some("P"), "partition"),
        Deed::SplitLeader => ("Split", Icon::Split, None, "split"),
        Deed::Heal => ("Mend", Icon::Link, Some("P"), "heal"),
        Deed::Elect(_) => ("Elect", Icon::Flag, None, "elect"),
        Deed::Disk(_, deed) => {
            let (label, testid) = disk_words(deed);
            (label, Icon::Disk, None, testid)
        }
        Deed::Clock(_, ClockDeed::Rate(500)) => ("Slow", Icon::Clock, None, "clock-slow"),
        Deed::Clock(_, ClockDeed::Rate(2000)) => ("Fast", Icon::Clock, None, "clock-fast"),
        Deed::Clock(_, ClockDeed::Rate(_)) => ("Normal", Icon::Clock, None, "clock-right"),
        Deed::Clock(_, ClockDeed::Jump(_)) => ("Jump", Icon::Clock, None, "clock-jump"),
        Deed::Member(deed) => return member_face(deed, offer, dispatch),
        Deed::Link(..)
        | Deed::Message(..)
        | Deed::Loss(_)
        | Deed::Repeat(_)
        | Deed::Overtake(_)
        | Deed::Delay(_)
        | Deed::Sync(_) => return html! {},
    };
    let (label, testid) = (label.to_owned(), testid.to_owned());
    deed_button(offer, DeedButton { label, icon, class: "", key, testid }, dispatch)
}

const fn disk_words(deed: DiskDeed) -> (&'static str, &'static str) {
    match deed {
        DiskDeed::Stall => ("Stall", "disk-stall"),
        DiskDeed::Mend => ("Mend", "disk-mend"),
        DiskDeed::Fill => ("Full", "disk-full"),
        DiskDeed::Slow => ("Slow", "disk-slow"),
        DiskDeed::Quicken => ("Not slow", "disk-quicken"),
        DiskDeed::FailWrite => ("Fail write", "disk-fail"),
        DiskDeed::FailSnapshot => ("Fail snap", "disk-fail-snapshot"),
        DiskDeed::Tear => ("Tear", "disk-tear"),
        DiskDeed::FlipBit => ("Flip a bit", "disk-flip"),
        DiskDeed::Wipe => ("Wipe", "disk-wipe"),
    }
}

fn member_face(deed: MemberDeed, offer: &Offer, dispatch: &Dispatch) -> Html {
    let (label, icon, testid) = match deed {
        MemberDeed::AddVoter => ("Add voter".to_owned(), Icon::Plus, "add-voter"),
        MemberDeed::AddLearner => ("Add learner".to_owned(), Icon::Plus, "add-learner"),
        MemberDeed::Promote(node) => (format!("Let {node} vote"), Icon::Check, "promote"),
        MemberDeed::Remove(node) => (format!("Remove {node}"), Icon::Cross, "remove"),
        MemberDeed::Transfer(node) => (format!("Let {node} lead"), Icon::Crown, "transfer"),
        MemberDeed::Snapshot(_) => ("Snapshot".to_owned(), Icon::Disk, "snapshot"),
    };
    let testid = testid.to_owned();
    deed_button(offer, DeedButton { label, icon, class: "", key: None, testid }, dispatch)
}

/// The part of the tray for one server.
pub(super) fn server(props: &ActProps) -> Html {
    let of = |kind: fn(&Deed) -> bool| {
        props.permits.tray.iter().filter(move |(deed, _)| kind(deed)).collect::<Vec<_>>()
    };
    let group = |title: &'static str, hint: &'static str, offers: Vec<&Offer>| {
        html! {
            <>
                <h3 title={hint}>{ title }</h3>
                <div class="deeds">
                    { for offers.into_iter().map(|offer| face(offer, &props.dispatch)) }
                </div>
            </>
        }
    };
    let links = of(|deed| matches!(deed, Deed::Link(..)));
    html! {
        <div class="one-server">
            { chooser(props) }
            if let Some(node) = props.selected {
                if let Some(process) = &props.process {
                    <p class="hint" data-testid="process">{ format!("The process of {node}: {process}") }</p>
                }
                <div class="deeds">
                    { for of(|deed| !matches!(
                        deed,
                        Deed::Disk(..) | Deed::Clock(..) | Deed::Link(..)
                    )).into_iter().map(|offer| face(offer, &props.dispatch)) }
                </div>
                { group(
                    "Disk",
                    "Stall: it finishes no write. Tear: the power fails in the middle of a record. \
                     Flip a bit: a checksum shows it at the next start.",
                    of(|deed| matches!(deed, Deed::Disk(..))),
                ) }
                { group(
                    "Clock",
                    "Half or double speed, or a jump of half a second.",
                    of(|deed| matches!(deed, Deed::Clock(..))),
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
        <div class="chips" role="group" aria-label="Choose a server">
            { for props.known.roster.iter().map(|node| chip(*node)) }
        </div>
    }
}

/// The button of one direction of a link. It is pressed while the link is cut or slow.
fn link(offer: &Offer, node: NodeId, props: &ActProps) -> Html {
    let (deed, permitted) = offer;
    let Deed::Link(from, to, what) = *deed else { return html! {} };
    let (pressed, slow) = match what {
        LinkDeed::Cut => (false, false),
        LinkDeed::Mend => (true, false),
        LinkDeed::Slow => (false, true),
        LinkDeed::Quicken => (true, true),
    };
    let words = match (slow, from == node) {
        (true, _) => format!("slow → {to}"),
        (false, true) => format!("cut → {to}"),
        (false, false) => format!("cut ← {from}"),
    };
    let onclick = {
        let deed = *deed;
        props.dispatch.reform(move |_: MouseEvent| Action::Deed(deed))
    };
    html! {
        <button
            type="button"
            class="button link-deed"
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

/// The part of the tray for the whole network and all disks.
pub(super) fn network(props: &ActProps) -> Html {
    let why_not = props.permits.network.as_ref().err().map(String::as_str);
    let conditions = &props.conditions;
    let known = |words: String| if why_not.is_some() { "–".to_owned() } else { words };
    let share = |name, permille: u16, testid, deed: fn(u16) -> Deed| Slider {
        name,
        words: known(format!("{} %", permille / 10)),
        value: u64::from(permille),
        most: 500,
        step: 10,
        testid,
        deed: Box::new(move |value| deed(u16::try_from(value).unwrap_or(u16::MAX))),
    };
    let time = |name, middle: u64, testid, deed: fn(u64) -> Deed| Slider {
        name,
        words: known(num::span(middle)),
        value: middle / 500,
        most: 240,
        step: 1,
        testid,
        deed: Box::new(move |value| deed(value * 500)),
    };
    let sliders = [
        share("Lost", conditions.loss, "loss", Deed::Loss),
        share("Twice", conditions.repeat, "repeat", Deed::Repeat),
        share("Overtake", conditions.overtake, "overtake", Deed::Overtake),
        time("Delay", conditions.delay, "delay", Deed::Delay),
        time("Disks", conditions.sync, "sync", Deed::Sync),
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

/// The part of the tray for the membership.
pub(super) fn members(props: &ActProps) -> Html {
    let list = |nodes: &mut dyn Iterator<Item = NodeId>| {
        let names: Vec<String> = nodes.map(|node| node.to_string()).collect();
        if names.is_empty() { "–".to_owned() } else { names.join(" ") }
    };
    html! {
        <div class="members">
            if let Some(members) = props.known.membership() {
                <dl class="facts" data-testid="members">
                    <div><dt>{ "voters" }</dt><dd>{ list(&mut members.voters.iter().copied()) }</dd></div>
                    if members.is_joint() {
                        <div>
                            <dt>{ "old voters" }</dt>
                            <dd>{ list(&mut members.outgoing.iter().copied()) }</dd>
                        </div>
                    }
                    <div><dt>{ "learners" }</dt><dd>{ list(&mut members.learners.iter().copied()) }</dd></div>
                    <div><dt>{ "majority" }</dt><dd>{ props.known.majority() }</dd></div>
                </dl>
            }
            { chooser(props) }
            <div class="deeds">
                { for props.permits.tray.iter().map(|offer| face(offer, &props.dispatch)) }
            </div>
            if let Some(order) = &props.order {
                { outcome(order) }
            }
            if props.selected.is_none() {
                <p class="hint">{ "Choose a server to remove it, let it lead or take a snapshot." }</p>
            }
        </div>
    }
}

/// The state of the newest membership request.
fn outcome(order: &Ask) -> Html {
    let (class, words) = match &order.state {
        AskState::Waiting => ("waiting", "pending …".to_owned()),
        AskState::Done(words) => ("done", words.clone()),
        AskState::Failed(words) => ("failed", words.clone()),
    };
    html! {
        <p class={classes!("order", class)} aria-live="polite" data-testid="order" data-state={class}>
            <b>{ &order.words }</b>{ ": " }{ words }
        </p>
    }
}

/// The newest membership request of a simulation.
pub(crate) fn newest_order(model: &Model) -> Option<Ask> {
    let about = |ask: &&Ask| matches!(ask.request, Request::Change(_) | Request::Transfer(_));
    let simulated = model.source == SourceKind::Simulate;
    model.desk.asks.iter().find(about).filter(|_| simulated).cloned()
}

struct Slider {
    name: &'static str,
    words: String,
    value: u64,
    most: u64,
    step: u64,
    testid: &'static str,
    deed: Box<dyn Fn(u64) -> Deed>,
}

fn slider(props: &ActProps, slider: Slider, why_not: Option<&str>) -> Html {
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
            <output data-testid={format!("{}-words", slider.testid)}>{ &slider.words }</output>
        </label>
    }
}
