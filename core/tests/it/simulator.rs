//! The simulator itself: runs are repeatable, and faults do what they claim.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::event::{DropReason, Event, EventKind};
use raft_core::kv::Command;
use raft_core::sim::{Action, ActionError, JournalEntry, SimConfig, Simulation, Swarm};
use raft_core::types::{EventId, MILLISECOND, NodeId, SECOND, Time};

use crate::lab::{Cluster, S1, S2, S3, check, value_at};

/// Guards that seed, configuration and journal give the same run again, for shared links and
/// failing seeds.
#[check]
fn a_journal_gives_the_same_run_again() {
    for seed in 0..30 {
        let mut swarm = Swarm::new(seed, None);
        swarm.run().unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        let run = swarm.simulation();
        let text = serde_json::to_string(run.journal()).expect("a journal is serialisable");
        let journal: Vec<JournalEntry> = serde_json::from_str(&text).expect("and back");
        let again = Simulation::replay(run.config().clone(), &journal, run.moment());
        assert_eq!(again.digest(), run.digest(), "seed {seed}");
    }
}

/// Guards the chain of causes: every cause is an earlier event, and an event without a cause comes
/// from outside.
#[check]
fn every_event_leads_back_to_something_from_outside() {
    let mut cluster = Cluster::led(3, 2);
    cluster.put("x", "1");
    let leader = cluster.sim.leader().expect("led");
    cluster.act(Action::Crash(leader));
    cluster.put("x", "2");
    let mut past: BTreeSet<EventId> = BTreeSet::new();
    for event in &cluster.events {
        let from_outside = matches!(
            event.kind,
            EventKind::Started(_)
                | EventKind::Crashed
                | EventKind::TimerFired { .. }
                | EventKind::ClientRequest { .. }
        );
        match event.cause {
            Some(cause) => assert!(past.contains(&cause), "{event}: its cause lies ahead"),
            None => assert!(from_outside, "{event}: no cause"),
        }
        assert!(past.insert(event.id), "{event}: its number is taken");
    }
}

/// Guards the order that everything relies on: within a server event numbers increase and times do
/// not go back.
#[check]
fn a_servers_events_are_in_order() {
    let mut latest: BTreeMap<NodeId, (u64, Time)> = BTreeMap::new();
    let mut cluster = Cluster::led(5, 3);
    let leader = cluster.sim.leader().expect("led");
    cluster.act(Action::Crash(leader));
    cluster.pass(SECOND);
    cluster.act(Action::Restart(leader));
    cluster.pass(SECOND);
    for event in &cluster.events {
        let (seq, time) =
            latest.insert(event.id.node, (event.id.seq, event.time)).unwrap_or_default();
        assert!(event.id.seq > seq && event.time >= time, "{event}");
    }
}

/// Guards that a crash loses what was not synced.
#[check]
fn a_crash_loses_what_was_not_synced() {
    let mut cluster = Cluster::led(3, 1);
    cluster.act(Action::SetDiskDelay { min: 100 * MILLISECOND, max: 100 * MILLISECOND });
    let leader = cluster.sim.leader().expect("led");
    cluster.act(Action::Write { node: leader, command: Command::put("x", "1") });
    let last = |sim: &Simulation| sim.replica(leader).expect("runs").status().last.index;
    let with_write = last(&cluster.sim);
    cluster.pass(20 * MILLISECOND);
    cluster.act(Action::Crash(leader));
    assert!(cluster.sim.replica(leader).is_none());
    cluster.act(Action::Restart(leader));
    assert_eq!(last(&cluster.sim).next(), with_write);
}

fn drops(events: &[Event]) -> Vec<DropReason> {
    let reason = |event: &Event| match &event.kind {
        EventKind::MessageDropped { why, .. } => Some(*why),
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}

/// Guards that each network fault drops messages with the reason that the page shows.
#[check]
fn messages_end_for_the_reason_that_is_told() {
    let mut cluster = Cluster::led(3, 1);
    cluster.events.clear();
    let leader = cluster.sim.leader().expect("led");
    let others = cluster.others(leader);
    cluster.act(Action::SetLink { from: leader, to: others[0], up: false });
    cluster.pass(60 * MILLISECOND);
    assert!(drops(&cluster.events).contains(&DropReason::LinkCut));
    cluster.events.clear();
    cluster.act(Action::Heal);
    cluster.act(Action::Crash(others[1]));
    cluster.pass(120 * MILLISECOND);
    assert!(drops(&cluster.events).contains(&DropReason::ReceiverDown));
    cluster.events.clear();
    cluster.act(Action::SetLoss { permille: 1000 });
    cluster.pass(60 * MILLISECOND);
    assert!(drops(&cluster.events).contains(&DropReason::Lost));
}

/// Guards that a single message in flight can be dropped, once.
#[check]
fn one_message_in_flight_can_be_dropped() {
    let mut cluster = Cluster::led(3, 1);
    cluster.events.clear();
    let in_flight = |events: &[Event]| {
        events.iter().rev().find_map(|event| match &event.kind {
            EventKind::MessageInTransit { message, .. } => Some(*message),
            _ => None,
        })
    };
    while in_flight(&cluster.events).is_none() {
        assert!(cluster.sim.step());
        cluster.events.extend(cluster.sim.take_events());
    }
    let message = in_flight(&cluster.events).expect("just seen");
    cluster.act(Action::Drop(message));
    assert_eq!(cluster.sim.act(Action::Drop(message)), Err(ActionError::NotFlying(message)));
    cluster.pass(SECOND);
    let dropped = |event: &&Event| matches!(&event.kind, EventKind::MessageDropped { message: it, .. } if *it == message);
    assert_eq!(cluster.events.iter().filter(dropped).count(), 1);
}

/// Guards that a frozen server does nothing, and processes all pending messages when it continues.
#[check]
fn a_frozen_server_stands_still_and_catches_up() {
    let mut cluster = Cluster::led(3, 6);
    let leader = cluster.sim.leader().expect("led");
    let frozen = cluster.others(leader)[0];
    cluster.act(Action::Freeze(frozen));
    cluster.put("x", "1");
    cluster.pass(SECOND);
    assert_eq!(value_at(&cluster.sim, frozen, "x"), None);
    cluster.act(Action::Thaw(frozen));
    cluster.await_value(&[frozen], "x", "1");
}

/// Guards that impossible actions are refused with the reason, and leave no trace.
#[check]
fn impossible_actions_are_refused_and_leave_no_trace() {
    let mut sim = Simulation::new(SimConfig::default());
    sim.run_until(Time(SECOND));
    let leader = sim.leader().expect("a second is enough with this seed");
    let digest = sim.digest();
    let ghost = NodeId(9);
    for (action, error) in [
        (Action::Crash(ghost), ActionError::NoSuchServer(ghost)),
        (Action::Restart(S1), ActionError::Running(S1)),
        (Action::Thaw(S2), ActionError::NotFrozen(S2)),
        (Action::Elect(leader), ActionError::Leads(leader)),
        (Action::SetLoss { permille: 1001 }, ActionError::Permille(1001)),
        (Action::SetDelay { min: 2, max: 1 }, ActionError::Delay { min: 2, max: 1 }),
        (Action::Partition(vec![[S3, ghost].into()]), ActionError::NoSuchServer(ghost)),
    ] {
        assert_eq!(sim.act(action), Err(error));
    }
    assert!(sim.journal().is_empty());
    assert_eq!(sim.digest(), digest);
    sim.act(Action::Crash(S1)).expect("it runs");
    assert_eq!(sim.act(Action::Freeze(S1)), Err(ActionError::Down(S1)));
}
