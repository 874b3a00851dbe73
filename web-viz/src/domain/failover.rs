//! Measures failovers: from the moment when a leader is lost to the moment when the next leader
//! wins.

use raft_core::event::{Event, EventKind, RoleName};
use raft_core::types::{Micros, NodeId, Term, Time};

use super::cluster::ClusterModel;

/// How a leader was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    Crashed,
    Frozen,
    /// It no longer reaches a majority.
    CutOff,
    /// It stepped down.
    SteppedDown,
    /// The page receives no events from this leader of a live cluster.
    OutOfSight,
}

/// A completed change of leaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failover {
    pub(crate) from: NodeId,
    pub(crate) to: NodeId,
    pub(crate) term: Term,
    pub(crate) took: Micros,
    /// When the old leader was lost.
    pub(crate) lost: Time,
}

/// The current leadership, and the last failover.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaderHistory {
    /// The current or last leader.
    leader: Option<(NodeId, Term)>,
    /// When and how the leader was lost.
    lost: Option<(Time, Loss)>,
    /// The newest completed failover.
    pub(crate) last: Option<Failover>,
}

impl LeaderHistory {
    /// The lost leader, when and how it was lost, while there is no new leader.
    pub(crate) fn vacancy(&self) -> Option<(NodeId, Time, Loss)> {
        let (leader, _) = self.leader?;
        self.lost.map(|(at, how)| (leader, at, how))
    }

    /// Applies an event that `cluster` already contains.
    #[expect(clippy::wildcard_enum_match_arm, reason = "few kinds concern who leads")]
    pub(crate) fn observe(&mut self, event: &Event, cluster: &ClusterModel) {
        let own = |node: NodeId| self.leader.is_some_and(|(leader, _)| leader == node);
        match &event.kind {
            EventKind::RoleChanged { role: RoleName::Leader, term, .. } => {
                self.crown(event.id.node, *term, event.time);
            }
            EventKind::Started(state) | EventKind::Attached(state)
                if state.role == RoleName::Leader =>
            {
                self.crown(event.id.node, state.term, event.time);
            }
            EventKind::RoleChanged { .. } | EventKind::Started(_) | EventKind::Attached(_)
                if own(event.id.node) =>
            {
                self.lose(event.time, Loss::SteppedDown);
            }
            EventKind::Crashed | EventKind::WriteFailed { .. } if own(event.id.node) => {
                self.lose(event.time, Loss::Crashed);
            }
            EventKind::Frozen if own(event.id.node) => self.lose(event.time, Loss::Frozen),
            EventKind::Thawed if own(event.id.node) => self.found(),
            EventKind::LinkChanged { .. } => self.links(event.time, cluster),
            _ => {}
        }
    }

    /// Notes that a live server's events stopped arriving.
    pub(crate) fn out_of_sight(&mut self, node: NodeId, at: Time) {
        if self.leader.is_some_and(|(leader, _)| leader == node) {
            self.lose(at, Loss::OutOfSight);
        }
    }

    /// Notes that a live server's events arrive again.
    pub(crate) fn in_sight(&mut self, node: NodeId, cluster: &ClusterModel) {
        let own = self.leader.is_some_and(|(leader, _)| leader == node);
        if own && cluster.leads(node) && matches!(self.lost, Some((_, Loss::OutOfSight))) {
            self.found();
        }
    }

    fn links(&mut self, at: Time, cluster: &ClusterModel) {
        let Some((leader, _)) = self.leader else { return };
        if cluster.reaches_majority(leader) {
            if matches!(self.lost, Some((_, Loss::CutOff))) {
                self.found();
            }
        } else {
            self.lose(at, Loss::CutOff);
        }
    }

    fn crown(&mut self, node: NodeId, term: Term, at: Time) {
        if self.leader.is_some_and(|(_, led_in)| led_in > term) {
            return;
        }
        if let Some((from, lost_at, _)) = self.vacancy()
            && self.leader != Some((node, term))
        {
            let took = at.since(lost_at);
            self.last = Some(Failover { from, to: node, term, took, lost: lost_at });
        }
        self.leader = Some((node, term));
        self.lost = None;
    }

    /// Only the first loss counts: a crashed leader that steps down later was already lost.
    fn lose(&mut self, at: Time, how: Loss) {
        self.lost.get_or_insert((at, how));
    }

    const fn found(&mut self) {
        self.lost = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::testing::Script;

    /// Guards the failover time, which the page shows in large type.
    #[test]
    fn a_failover_lasts_from_the_loss_to_the_next_leader() {
        let script = Script::new(3).leader(1, 1).wait(1000).crash(1).wait(250_000);
        let leaders = script.leaders();
        assert_eq!(leaders.vacancy(), Some((NodeId(1), Time(1000), Loss::Crashed)));
        let leaders = script.leader(2, 2).leaders();
        assert_eq!(leaders.vacancy(), None);
        let last = leaders.last.unwrap();
        assert_eq!((last.from, last.to, last.took), (NodeId(1), NodeId(2), 250_000));
    }

    /// Guards that the first election and a follower's crash do not count as failovers.
    #[test]
    fn the_first_election_and_a_follower_are_no_failover() {
        let leaders = Script::new(3).wait(500).leader(1, 1).crash(3).wait(10).leaders();
        assert!(leaders.vacancy().is_none());
        assert!(leaders.last.is_none());
    }

    /// Guards that a failover starts when the leader is cut off, not when it notices that later.
    #[test]
    fn a_leader_is_lost_when_it_is_cut_off_not_when_it_notices() {
        let script = Script::new(3).leader(1, 1).wait(100).isolate(1).wait(900);
        let leaders = script.follower(1, 1).wait(1000).leader(3, 2).leaders();
        assert_eq!(leaders.last.unwrap().took, 1900);
    }

    /// Guards that the measurement stops if the same leader comes back in time.
    #[test]
    fn a_leader_that_thaws_in_time_was_not_lost() {
        let leaders = Script::new(3).leader(1, 1).freeze(1).wait(10).thaw(1).leaders();
        assert!(leaders.vacancy().is_none());
    }
}
