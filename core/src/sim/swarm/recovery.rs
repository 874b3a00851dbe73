//! After the faults: all of them end, and the cluster must elect, commit and agree.

use super::super::{Action, Simulation};
use super::{Failure, judge_properties, members};
use crate::kv::Command;
use crate::replica::Replica;
use crate::types::{EventId, MILLISECOND, Micros, SECOND};

/// How long the cluster may take to commit once all faults have stopped: many election timeouts,
/// for votes may split again and again.
const LIVENESS_BOUND: Micros = 20 * SECOND;

/// Ends all faults and waits for a write and for equal states. Gives the number of events.
pub(super) fn recover(simulation: &mut Simulation) -> Result<u64, Failure> {
    end_faults(simulation);
    let mut events = 0;
    let limit = simulation.now().after(LIVENESS_BOUND);
    while !committed_in_this_term(simulation) {
        if simulation.now() > limit {
            return Err(Failure::Liveness("no leader commits though all faults have stopped"));
        }
        simulation.run_until(simulation.now().after(10 * MILLISECOND));
        events += simulation.take_events().len() as u64;
        judge_properties(simulation)?;
    }
    while !members::is_complete(simulation) {
        if simulation.now() > limit {
            return Err(Failure::Liveness(
                "a voter does not vote, or a change of members does not end",
            ));
        }
        if let Some(action) = members::readmit(simulation) {
            let _ = simulation.act(action);
        }
        simulation.run_until(simulation.now().after(200 * MILLISECOND));
        events += simulation.take_events().len() as u64;
        judge_properties(simulation)?;
    }
    // A leader may still be deposed, by word from a time before the recovery: ask again then.
    while simulation.now() < limit {
        if let Some(node) = simulation.leader() {
            let command = Command::put("end", "");
            let _ = simulation.act(Action::Write { node, command });
        }
        let patience = simulation.now().after(SECOND);
        let agreed = simulation.run_while(patience, |simulation| !converged(simulation));
        events += simulation.take_events().len() as u64;
        judge_properties(simulation)?;
        if agreed {
            return Ok(events);
        }
    }
    Err(Failure::Liveness("the servers' states stay different"))
}

/// All faults end. A disk that is damaged stays so: its server stays down.
fn end_faults(simulation: &mut Simulation) {
    let mut act = |action| {
        let _ = simulation.act(action);
    };
    act(Action::Heal);
    act(Action::SetDelay { min: MILLISECOND, max: 10 * MILLISECOND });
    act(Action::SetDiskDelay { min: MILLISECOND, max: 5 * MILLISECOND });
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
        // Only now may a frozen server learn that a write of its failed.
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

/// Whether all members that run have applied the same entries, the final write among them.
fn converged(simulation: &Simulation) -> bool {
    let leader = simulation.leader().and_then(|leader| simulation.replica(leader));
    let Some(leader) = leader else { return false };
    let members = leader.status().membership.members();
    let replicas: Vec<_> = members.into_iter().filter_map(|id| simulation.replica(id)).collect();
    let written = |it: &Replica| it.store().get(b"end").is_some();
    let first = replicas.first().map(|it| it.store().digest());
    replicas.iter().all(|it| written(it) && Some(it.store().digest()) == first)
}
