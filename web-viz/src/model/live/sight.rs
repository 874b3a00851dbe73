//! The members of a live cluster and the unreachable servers, at any time. No event reports these.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use raft_core::types::{NodeId, Time};

use crate::domain::cluster::{ClusterModel, Presence};

/// How many changes are kept. Older ones are dropped.
const KEPT: usize = 10_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Sights(VecDeque<Sight>);

/// What is valid from this time on.
#[derive(Clone, Debug)]
struct Sight {
    since: Time,
    roster: BTreeSet<NodeId>,
    absent: BTreeMap<NodeId, Presence>,
}

impl Sights {
    /// Records the current values, if they are new.
    pub(super) fn note(&mut self, cluster: &ClusterModel, now: Time) {
        let last = self.0.back();
        if last.is_some_and(|it| it.roster == cluster.roster && it.absent == cluster.absent) {
            return;
        }
        let (roster, absent) = (cluster.roster.clone(), cluster.absent.clone());
        self.0.push_back(Sight { since: now, roster, absent });
        if self.0.len() > KEPT {
            self.0.pop_front();
        }
    }

    /// Restores the values at a time.
    pub(super) fn recall(&self, cluster: &mut ClusterModel, time: Time) {
        let after = self.0.partition_point(|it| it.since <= time);
        let Some(sight) = self.0.get(after.saturating_sub(1)) else { return };
        cluster.roster.clone_from(&sight.roster);
        cluster.absent.clone_from(&sight.absent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that the past shows the servers known at that time, and whether each was reachable.
    #[test]
    fn what_was_in_sight_is_recalled() {
        let (mut sights, mut cluster) = (Sights::default(), ClusterModel::default());
        cluster.roster = BTreeSet::from([NodeId(1), NodeId(2)]);
        sights.note(&cluster, Time(10));
        cluster.absent.insert(NodeId(2), Presence::Unreachable);
        sights.note(&cluster, Time(20));
        sights.note(&cluster, Time(25));
        cluster.absent.clear();
        cluster.roster.insert(NodeId(3));
        sights.note(&cluster, Time(30));
        assert_eq!(sights.0.len(), 3, "only what is new");
        let at = |time| {
            let mut cluster = ClusterModel::default();
            sights.recall(&mut cluster, Time(time));
            (cluster.roster.len(), cluster.absent.len())
        };
        assert_eq!([5, 10, 20, 29, 30].map(at), [(2, 0), (2, 0), (2, 1), (2, 1), (3, 0)]);
    }
}
