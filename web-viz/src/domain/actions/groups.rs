//! Groups of servers to cut off from each other.

use std::collections::BTreeSet;

use raft_core::types::NodeId;

use crate::domain::cluster::ClusterModel;

/// One place for each possible server number. Place 0 is not a server.
const PLACES: usize = 10;

/// The group of each server by its number; 0 means no group. It is small enough for
/// [`ClusterAction`](super::ClusterAction) to be `Copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Groups([u8; PLACES]);

impl Groups {
    pub(crate) fn of(groups: &[BTreeSet<NodeId>]) -> Self {
        let mut places = [0; PLACES];
        for (number, group) in (1..).zip(groups) {
            for node in group {
                if let Some(place) = usize::try_from(node.0).ok().and_then(|it| places.get_mut(it))
                {
                    *place = number;
                }
            }
        }
        Self(places)
    }

    /// Two groups: these servers, and all others.
    pub(crate) fn apart(servers: &BTreeSet<NodeId>, roster: &BTreeSet<NodeId>) -> Self {
        Self::of(&[servers.clone(), roster.difference(servers).copied().collect()])
    }

    /// The groups that are not empty.
    pub(crate) fn sets(&self) -> Vec<BTreeSet<NodeId>> {
        let mut sets = vec![BTreeSet::new(); PLACES];
        for (node, group) in (0..).map(NodeId).zip(self.0).filter(|(_, group)| *group > 0) {
            sets[usize::from(group)].insert(node);
        }
        sets.retain(|set| !set.is_empty());
        sets
    }

    /// Whether all links between the groups are already cut.
    pub(crate) fn are_apart(&self, cluster: &ClusterModel) -> bool {
        let sets = self.sets();
        let cut = |from, to| cluster.view.cut_links.contains(&(from, to));
        sets.iter().enumerate().all(|(place, one)| {
            sets[place + 1..]
                .iter()
                .flatten()
                .all(|other| one.iter().all(|node| cut(*node, *other) && cut(*other, *node)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that the groups of a partition survive the conversion.
    #[test]
    fn groups_come_out_as_they_went_in() {
        let set = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
        let sets = vec![set(&[1, 9]), set(&[2]), set(&[3, 4])];
        assert_eq!(Groups::of(&sets).sets(), sets);
        assert_eq!(PLACES as u64, crate::domain::run::SimSetup::MOST + 1);
        let all = set(&[1, 2]);
        assert_eq!(Groups::apart(&all, &all).sets(), std::slice::from_ref(&all));
    }
}
