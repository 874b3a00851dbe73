//! If a server's state changes by itself, through bad memory or a bug, the others detect it. That
//! server stops, and no other server does.

use super::super::{Action, Simulation};
use super::obligations::{Judged, Obligations, fails};
use super::{faults, recovery};
use crate::event::ProgressMode;
use crate::kv::Command;
use crate::replica::{Halt, Replica};
use crate::types::NodeId;

impl Obligations<'_> {
    /// Works on a copy of the run: the states then differ, which other checks report as a
    /// violation.
    pub(super) fn finds_a_spoiled_state(&mut self) -> Judged {
        let Some(leader) = self.leader().map(Replica::status) else { return Ok(()) };
        let voters: Vec<NodeId> = leader.membership.all_voters().collect();
        let all_run = voters.iter().all(|id| self.simulation.replica(*id).is_some());
        // With fewer digests, the trial would take too long.
        let often = self.simulation.config().node.digest_every <= 32;
        if voters.len() < 3 || !all_run || !often {
            return Ok(());
        }
        let spoiled = faults::one_of(&voters, &mut self.random);
        let mut copy = self.simulation.clone();
        copy.spoil_state(spoiled);
        let (limit, step) =
            (copy.now().after(recovery::bound(&copy, self.calm)), self.calm.round_trip());
        while !has_stopped(&copy, spoiled) {
            if copy.now() > limit {
                return fails(format!("{spoiled} continues with a state that no other server has"));
            }
            // While the leader sends a snapshot, more writes could make another snapshot necessary.
            // This never ends if the log keeps little (`keep_bytes`): seed 53761.
            let leader = copy.leader().filter(|node| !is_copying(&copy, *node));
            if let Some(node) = leader {
                let _ = copy.act(Action::Write { node, command: Command::put("s", "") });
            }
            copy.run_until(copy.now().after(step));
            copy.take_events();
        }
        match voters.into_iter().find(|id| *id != spoiled && has_stopped(&copy, *id)) {
            Some(other) => fails(format!("{other} stops, but the state of {spoiled} is wrong")),
            None => Ok(()),
        }
    }
}

/// Whether the leader is sending a snapshot.
fn is_copying(simulation: &Simulation, leader: NodeId) -> bool {
    let status = simulation.replica(leader).map(Replica::status);
    status.is_some_and(|it| it.peers.values().any(|peer| peer.mode == ProgressMode::Snapshot))
}

fn has_stopped(simulation: &Simulation, node: NodeId) -> bool {
    let halt = simulation.replica(node).and_then(Replica::halt);
    matches!(halt, Some(Halt::StateDiffers { .. }))
}
