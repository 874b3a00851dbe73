//! Membership changes in a random run, and how a server that lost its disk comes back.

use std::collections::BTreeSet;

use super::super::{Action, Simulation};
use super::faults::any_node;
use crate::membership::MembershipChange;
use crate::random::Random;
use crate::types::NodeId;

/// How a run changes the membership. It never combines changes with lost disks: both together could
/// remove the majority for good, which would not be a fault of Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// The membership stays the same.
    Stay,
    /// Servers join and leave, any number at a time.
    Change,
    /// Servers lose their disks and join again, never more than the cluster can spare.
    Rejoin,
}

impl Members {
    pub(super) fn draw(random: &mut Random) -> Self {
        match random.between(0, 4) {
            0 | 1 => Self::Stay,
            2 => Self::Change,
            _ => Self::Rejoin,
        }
    }

    pub(super) fn trouble(self, simulation: &mut Simulation, random: &mut Random) {
        match self {
            Self::Change if random.chance(40) => change(simulation, random),
            Self::Rejoin if random.chance(20) => wipe(simulation, random),
            Self::Rejoin if random.chance(60) => {
                if let Some(action) = readmit(simulation) {
                    let _ = simulation.act(action);
                }
            }
            Self::Stay | Self::Change | Self::Rejoin => {}
        }
        if random.chance(15) {
            let node = simulation.leader().unwrap_or_else(|| any_node(simulation, random));
            let to = random.chance(500).then(|| any_node(simulation, random));
            let _ = simulation.act(Action::Transfer { node, to });
        }
    }
}

fn change(simulation: &mut Simulation, random: &mut Random) {
    let ids = simulation.ids();
    let node = match simulation.leader() {
        Some(leader) if random.chance(800) => leader,
        _ => any_node(simulation, random),
    };
    let who = any_node(simulation, random);
    let change = match random.between(0, 6) {
        0 if (ids.len() as u64) < simulation.config().servers + 3 => {
            let _ = simulation.act(Action::AddServer(NodeId(ids.len() as u64 + 1)));
            return;
        }
        0 | 1 => MembershipChange::AddVoter(who),
        2 => MembershipChange::AddLearner(who),
        3 => MembershipChange::Remove(who),
        _ => {
            let voters: BTreeSet<NodeId> = ids.into_iter().filter(|_| random.chance(600)).collect();
            MembershipChange::SetVoters(voters)
        }
    };
    let _ = simulation.act(Action::ChangeMembership { node, change });
}

/// Wipes the disk of a server, if the cluster can spare one more server.
fn wipe(simulation: &mut Simulation, random: &mut Random) {
    let node = any_node(simulation, random);
    let bound = (simulation.config().servers - 1) / 2;
    let lost = simulation.wiped().count() as u64;
    if lost < bound && !simulation.wiped().any(|it| it == node) {
        let _ = simulation.act(Action::Crash(node));
        let _ = simulation.act(Action::Wipe(node));
        let _ = simulation.act(Action::Restart(node));
    }
}

/// The next change that brings servers with lost disks back into the cluster. A wiped server that
/// is still a voter must be removed before it joins again (pitfall 29). It is removed only once:
/// after that it must become a voter that votes.
pub(super) fn readmit(simulation: &Simulation) -> Option<Action> {
    let node = simulation.leader()?;
    let membership = simulation.replica(node)?.status().membership;
    if !membership.is_settled() {
        return None;
    }
    let change = simulation.wiped().find_map(|lost| {
        if membership.voters.contains(&lost) {
            let stays = simulation.has_left(lost) || votes(simulation, lost);
            (!stays).then_some(MembershipChange::Remove(lost))
        } else {
            Some(MembershipChange::AddVoter(lost))
        }
    })?;
    Some(Action::ChangeMembership { node, change })
}

/// Whether the membership is settled, all servers with lost disks are voters again, and every
/// running voter votes.
pub(super) fn is_complete(simulation: &Simulation) -> bool {
    let leader = simulation.leader().and_then(|leader| simulation.replica(leader));
    let Some(membership) = leader.map(|it| it.status().membership) else { return false };
    let runs = |node: &NodeId| simulation.replica(*node).is_some();
    membership.is_settled()
        && simulation.wiped().all(|lost| membership.voters.contains(&lost))
        && membership.voters.iter().copied().filter(runs).all(|node| votes(simulation, node))
}

fn votes(simulation: &Simulation, node: NodeId) -> bool {
    simulation.replica(node).is_some_and(|replica| !replica.is_stranger())
}
