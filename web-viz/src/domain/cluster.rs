//! The cluster as far as the page knows it: the state from its events, and the unreachable
//! servers.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::event::RoleName;
use raft_core::membership::Membership;
use raft_core::types::{LogIndex, NodeId, Term};
use raft_core::view::{ClusterView, Liveness, NodeView};

/// Whether a server runs, as far as the page can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Up,
    Frozen,
    Down,
    /// The page receives no events from it, but it may run.
    Unreachable,
}

impl Presence {
    /// Whether it can be expected to answer.
    pub(crate) const fn runs(self) -> bool {
        matches!(self, Self::Up)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ClusterModel {
    /// The state from the events.
    pub(crate) view: ClusterView,
    /// The servers of the cluster, whether they have reported or not.
    pub(crate) roster: BTreeSet<NodeId>,
    /// Servers of a live cluster that send no events, and what is known about them instead.
    pub(crate) absent: BTreeMap<NodeId, Presence>,
}

impl ClusterModel {
    /// Adds every server that has reported, and all known voters, to the roster.
    pub(crate) fn widen_roster(&mut self) {
        let voters = self.view.nodes.values().flat_map(|node| node.membership.voters.iter());
        self.roster.extend(self.view.nodes.keys().chain(voters).copied());
    }

    /// Removes servers from the roster that have left the cluster and are down.
    pub(crate) fn drop_retired(&mut self) {
        let Some(members) = self.membership().map(Membership::members) else { return };
        let view = &self.view;
        let is_down =
            |id: &NodeId| view.nodes.get(id).is_some_and(|node| node.liveness == Liveness::Down);
        self.roster.retain(|id| members.contains(id) || !is_down(id));
    }

    /// The membership in the view of the leader. Without a leader, in the view of the server with
    /// the longest log.
    pub(crate) fn membership(&self) -> Option<&Membership> {
        let longest = || {
            let told = self.view.nodes.values().filter(|node| !node.membership.voters.is_empty());
            told.max_by_key(|node| node.last)
        };
        let node = self.leader().and_then(|leader| self.node(leader)).or_else(longest)?;
        Some(&node.membership)
    }

    /// The voters; all servers as long as nothing is known.
    pub(crate) fn voters(&self) -> BTreeSet<NodeId> {
        match self.membership() {
            Some(membership) if !membership.voters.is_empty() => membership.voters.clone(),
            Some(_) | None => self.roster.clone(),
        }
    }

    pub(crate) fn node(&self, node: NodeId) -> Option<&NodeView> {
        self.view.nodes.get(&node)
    }

    pub(crate) fn presence(&self, node: NodeId) -> Presence {
        if let Some(absence) = self.absent.get(&node) {
            return *absence;
        }
        match self.node(node).map(|view| view.liveness) {
            Some(Liveness::Up) => Presence::Up,
            Some(Liveness::Frozen) => Presence::Frozen,
            Some(Liveness::Down) => Presence::Down,
            None => Presence::Unreachable,
        }
    }

    pub(crate) fn leads(&self, node: NodeId) -> bool {
        matches!(self.presence(node), Presence::Up | Presence::Frozen)
            && self.node(node).is_some_and(|view| view.role == RoleName::Leader)
    }

    /// The leader with the highest term, and that term.
    pub(crate) fn leadership(&self) -> Option<(NodeId, Term)> {
        self.view
            .nodes
            .iter()
            .filter(|(id, _)| self.leads(**id))
            .map(|(id, node)| (*id, node.term))
            .max_by_key(|(_, term)| *term)
    }

    pub(crate) fn leader(&self) -> Option<NodeId> {
        self.leadership().map(|(leader, _)| leader)
    }

    /// How many voters run.
    pub(crate) fn running(&self) -> usize {
        self.voters().iter().filter(|node| self.presence(**node).runs()).count()
    }

    /// How many servers make a majority.
    pub(crate) fn majority(&self) -> usize {
        self.voters().len() / 2 + 1
    }

    /// Whether messages pass in both directions.
    pub(crate) fn linked(&self, one: NodeId, other: NodeId) -> bool {
        !self.view.cut_links.contains(&(one, other)) && !self.view.cut_links.contains(&(other, one))
    }

    /// Whether no message passes between the server and any other, in either direction.
    pub(crate) fn isolated(&self, node: NodeId) -> bool {
        let cut = |from, to| self.view.cut_links.contains(&(from, to));
        self.roster.len() > 1
            && self
                .roster
                .iter()
                .filter(|other| **other != node)
                .all(|other| cut(node, *other) && cut(*other, node))
    }

    /// The servers that `node` has working links with, itself included, whether they run or not.
    pub(crate) fn circle(&self, node: NodeId) -> BTreeSet<NodeId> {
        let talks = |other: &NodeId| *other == node || self.linked(node, *other);
        self.roster.iter().copied().filter(talks).collect()
    }

    /// Whether the running voters that `node` can reach, itself included, are a majority.
    pub(crate) fn reaches_majority(&self, node: NodeId) -> bool {
        let circle = self.circle(node);
        let voters = self.voters();
        let voting = circle.iter().filter(|other| voters.contains(other));
        let running = voting.filter(|other| self.presence(**other).runs()).count();
        running >= self.majority()
    }

    /// The highest commit index that any server knows.
    pub(crate) fn committed(&self) -> LogIndex {
        self.view.nodes.values().map(|node| node.commit_index).max().unwrap_or_default()
    }
}

/// `S1`, `S1 and S2`, `S1, S2 and S3`.
pub(crate) fn names(nodes: impl IntoIterator<Item = NodeId>) -> String {
    let names: Vec<String> = nodes.into_iter().map(|node| node.to_string()).collect();
    match names.as_slice() {
        [] => "no server".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::{self, Script};

    /// Guards that of two leaders the leader with the higher term counts.
    #[test]
    fn of_two_leaders_the_one_of_the_higher_term_counts() {
        let cluster = Script::new(3).leader(1, 1).leader(2, 4).cluster();
        assert_eq!(cluster.leadership(), Some((NodeId(2), Term(4))));
    }

    /// Guards that an unreachable leader counts neither as the leader nor as down.
    #[test]
    fn a_server_out_of_sight_does_not_lead() {
        let mut cluster = Script::new(3).leader(1, 1).cluster();
        assert_eq!(cluster.leader(), Some(NodeId(1)));
        cluster.absent.insert(NodeId(1), Presence::Unreachable);
        assert_eq!(cluster.leader(), None);
        assert_eq!(cluster.presence(NodeId(1)), Presence::Unreachable);
        assert_eq!(cluster.running(), 2);
    }

    /// Guards that cut links count when the page checks for a majority.
    #[test]
    fn cut_links_are_counted_against_a_majority() {
        let mut cluster = Script::new(3).leader(1, 1).cluster();
        assert!(cluster.reaches_majority(NodeId(1)));
        testing::isolate(&mut cluster, 1);
        assert!(cluster.isolated(NodeId(1)));
        assert!(!cluster.isolated(NodeId(2)));
        assert!(!cluster.reaches_majority(NodeId(1)));
        assert!(cluster.reaches_majority(NodeId(2)));
        assert_eq!(cluster.circle(NodeId(2)), BTreeSet::from([NodeId(2), NodeId(3)]));
    }

    /// Guards the format of server lists in sentences.
    #[test]
    fn names_read_as_prose() {
        assert_eq!(names([]), "no server");
        assert_eq!(names([NodeId(1)]), "S1");
        assert_eq!(names([1, 2, 3].map(NodeId)), "S1, S2 and S3");
    }
}
