//! The recovery: all faults end, and the cluster must elect, commit and agree.

use super::super::{Action, Simulation};
use super::obligations::Obligations;
use super::pace::{self, Calm};
use super::{Failure, Watch, judge_properties, members};
use crate::kv::Command;
use crate::random::Random;
use crate::replica::Replica;
use crate::types::{EventId, Micros, SECOND};

/// How long the cluster may take to commit and agree after all faults have stopped, in µs. It
/// covers many election timeouts, since votes may split repeatedly, and the time to send everything
/// to each server.
pub(super) fn bound(simulation: &Simulation, calm: Calm) -> Micros {
    let servers = simulation.ids().len() as u64;
    pace::span(simulation.config(), 20_000).max(20 * SECOND) + servers * calm.copying(simulation)
}

/// Ends all faults, waits for a write and for equal states, and then checks all obligations.
/// Returns the number of events.
pub(super) fn recover(simulation: &mut Simulation, watch: &mut Watch) -> Result<u64, Failure> {
    let mut random = Random::new(simulation.config().seed ^ 0xca1a_ca1a_ca1a_ca1a);
    let calm = Calm::draw(simulation.config(), &mut random);
    end_faults(simulation, calm);
    let mut events = reunite(simulation, watch, calm)?;
    let mut obligations = Obligations { simulation, watch, random, calm, events: 0 };
    obligations.judge()?;
    events += obligations.events;
    Ok(events)
}

fn reunite(simulation: &mut Simulation, watch: &mut Watch, calm: Calm) -> Result<u64, Failure> {
    let fails = |what: &str| Err(Failure::Liveness(what.to_owned()));
    let mut events = 0;
    let limit = simulation.now().after(bound(simulation, calm));
    while !committed_in_this_term(simulation) {
        if simulation.now() > limit {
            return fails("no leader commits though all faults have stopped");
        }
        events += pass(simulation, watch, 10)?;
    }
    while !members::is_complete(simulation) {
        if simulation.now() > limit {
            return fails("a voter does not vote, or a change of members does not end");
        }
        if let Some(action) = members::readmit(simulation) {
            let _ = simulation.act(action);
        }
        events += pass(simulation, watch, 200)?;
    }
    // Messages from before the recovery may still depose a leader. Then the write is repeated.
    while simulation.now() < limit {
        if let Some(node) = simulation.leader() {
            let command = Command::put("end", "");
            let _ = simulation.act(Action::Write { node, command });
        }
        let patience = simulation.now().after(pace::span(simulation.config(), 1_000));
        let agreed = simulation.run_while(patience, |simulation| !converged(simulation));
        events += pass(simulation, watch, 0)?;
        if agreed {
            return Ok(events);
        }
    }
    fails("the servers' states stay different")
}

fn pass(simulation: &mut Simulation, watch: &mut Watch, millis: u64) -> Result<u64, Failure> {
    let span = pace::span(simulation.config(), millis);
    simulation.run_until(simulation.now().after(span));
    let events = simulation.take_events();
    judge_properties(simulation)?;
    watch.observe(simulation.config(), &events)?;
    Ok(events.len() as u64)
}

/// Ends all faults. A damaged disk stays damaged, and its server stays down.
fn end_faults(simulation: &mut Simulation, calm: Calm) {
    let mut act = |action| {
        let _ = simulation.act(action);
    };
    act(Action::Heal);
    act(Action::SetDelay { min: calm.delay_min, max: calm.delay_max });
    act(Action::SetDiskDelay { min: 0, max: calm.sync_max });
    let held: Vec<EventId> =
        simulation.flying().filter(|flying| flying.due.is_none()).map(|flying| flying.id).collect();
    for message in held {
        let _ = simulation.act(Action::Release(message));
    }
    for node in simulation.ids() {
        let mut act = |action| {
            let _ = simulation.act(action);
        };
        act(Action::SetClock { node, jump: 0, rate_permille: 1000 });
        act(Action::MendDisk(node));
        // A frozen server may learn only now that its write failed.
        act(Action::Thaw(node));
        if simulation.replica(node).is_some_and(|replica| replica.status().halted) {
            let _ = simulation.act(Action::Crash(node));
        }
        let _ = simulation.act(Action::Restart(node));
    }
}

fn committed_in_this_term(simulation: &Simulation) -> bool {
    let leader = simulation.leader().and_then(|leader| simulation.replica(leader));
    leader.is_some_and(|replica| replica.last_applied().term == replica.status().term)
}

/// Whether all running members have the same state, which includes the final write.
fn converged(simulation: &Simulation) -> bool {
    let leader = simulation.leader().and_then(|leader| simulation.replica(leader));
    let Some(leader) = leader else { return false };
    let members = leader.status().membership.members();
    let replicas: Vec<_> = members.into_iter().filter_map(|id| simulation.replica(id)).collect();
    let written = |it: &Replica| it.store().get(b"end").is_some();
    let first = replicas.first().map(|it| it.store().digest());
    replicas.iter().all(|it| written(it) && Some(it.store().digest()) == first)
}
