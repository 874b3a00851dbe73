//! Changes of members in a random run, and how a server that lost its disk comes back.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Action, Simulation};
use super::faults::any_node;
use crate::event::{Event, EventKind, Fault};
use crate::membership::MembershipChange;
use crate::random::Random;
use crate::replica::Replica;
use crate::types::{LogIndex, NodeId};

/// What a run does to its members. Both at once could leave a cluster without a majority for good,
/// through no fault of Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// They stay who they are.
    Stay,
    /// Servers come and go, in any number at a time.
    Change,
    /// Servers lose their disks and join anew, never more than the cluster can do without.
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

/// Empties the disk of a server, if the cluster can do without one more.
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

/// What to ask for next so that all servers that lost their disks belong to the cluster again: a
/// server that the members still count on must leave before it joins anew (pitfall 29).
pub(super) fn readmit(simulation: &Simulation) -> Option<Action> {
    let node = simulation.leader()?;
    let membership = simulation.replica(node)?.status().membership;
    if !membership.is_settled() {
        return None;
    }
    let stranger = |node: NodeId| simulation.replica(node).is_some_and(Replica::is_stranger);
    let change = simulation.wiped().find_map(|lost| {
        if !membership.contains(lost) {
            Some(MembershipChange::AddVoter(lost))
        } else if !membership.voters.contains(&lost) || stranger(lost) {
            Some(MembershipChange::Remove(lost))
        } else {
            None
        }
    })?;
    Some(Action::ChangeMembership { node, change })
}

/// What became of the servers whose promises nobody knows: those that lost their disks and those that
/// came later. A cluster may promote them once it has committed that they are out.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost {
    /// The newest committed configuration that was seen.
    newest: LogIndex,
    /// Whether each was let in since.
    servers: BTreeMap<NodeId, LetIn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LetIn {
    /// It may still be counted on for what it was before.
    Before,
    /// It is out.
    Out,
    /// It was made a voter after it was out.
    Since,
}

impl Lost {
    #[expect(clippy::wildcard_enum_match_arm, reason = "few kinds of events concern members")]
    pub(super) fn observe(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Fault(Fault::Wiped { node }) => {
                self.servers.insert(*node, LetIn::Before);
            }
            EventKind::ConfigurationCommitted { index, membership } if *index > self.newest => {
                self.newest = *index;
                for (node, state) in &mut self.servers {
                    if !membership.contains(*node) {
                        *state = LetIn::Out;
                    } else if *state == LetIn::Out && membership.voters.contains(node) {
                        *state = LetIn::Since;
                    }
                }
            }
            _ => {}
        }
    }

    /// A server that was made a voter long ago, has heard of it, and takes itself for a stranger.
    pub(super) fn never_votes(&self, simulation: &Simulation) -> Option<NodeId> {
        let leader = simulation.replica(simulation.leader()?)?.status();
        self.servers.iter().find_map(|(node, state)| {
            let replica = simulation.replica(*node)?;
            let let_in = matches!(state, LetIn::Since);
            let heard = replica.status().commit_index >= self.newest
                && leader.commit_index == replica.status().commit_index
                && replica.status().membership.voters.contains(node);
            (let_in && heard && replica.is_stranger()).then_some(*node)
        })
    }
}

/// Whether everybody belongs to the cluster again who lost its disk.
pub(super) fn is_complete(simulation: &Simulation) -> bool {
    let leader = simulation.leader().and_then(|leader| simulation.replica(leader));
    let Some(membership) = leader.map(|it| it.status().membership) else { return false };
    let member = |node: NodeId| {
        membership.voters.contains(&node)
            && simulation.replica(node).is_some_and(|it| !it.is_stranger())
    };
    membership.is_settled() && simulation.wiped().all(member)
}
