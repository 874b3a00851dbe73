//! Event sequences for tests.

use raft_core::event::{Event, EventKind, NodeState, RoleName, RoleReason};
use raft_core::membership::Membership;
use raft_core::types::{EventId, Micros, NodeId, Term, Time};

use super::cluster::ClusterModel;
use super::failover::LeaderHistory;

/// A sequence of events under construction.
#[derive(Clone)]
pub(crate) struct Script {
    now: Time,
    events: Vec<Event>,
}

impl Script {
    /// Servers `S1` to `Sn` that have just started.
    pub(crate) fn new(servers: u64) -> Self {
        let membership = Membership::of((1..=servers).map(NodeId));
        let state = NodeState { membership, ..NodeState::default() };
        (1..=servers).fold(Self { now: Time(0), events: Vec::new() }, |script, node| {
            script.event(node, EventKind::Started(Box::new(state.clone())))
        })
    }

    pub(crate) fn event(mut self, node: u64, kind: EventKind) -> Self {
        let id = EventId { node: NodeId(node), seq: self.events.len() as u64 };
        self.events.push(Event { id, time: self.now, cause: None, kind });
        self
    }

    pub(crate) fn wait(mut self, span: Micros) -> Self {
        self.now = self.now.after(span);
        self
    }

    pub(crate) fn leader(self, node: u64, term: u64) -> Self {
        let (role, why) = (RoleName::Leader, RoleReason::VotesWon);
        self.event(node, EventKind::RoleChanged { role, term: Term(term), why })
    }

    pub(crate) fn follower(self, node: u64, term: u64) -> Self {
        let (role, why) = (RoleName::Follower, RoleReason::QuorumLost);
        self.event(node, EventKind::RoleChanged { role, term: Term(term), why })
    }

    pub(crate) fn crash(self, node: u64) -> Self {
        self.event(node, EventKind::Crashed)
    }

    pub(crate) fn freeze(self, node: u64) -> Self {
        self.event(node, EventKind::Frozen)
    }

    pub(crate) fn thaw(self, node: u64) -> Self {
        self.event(node, EventKind::Thawed)
    }

    /// Cuts all links of a server, in both directions.
    pub(crate) fn isolate(mut self, node: u64) -> Self {
        let others: Vec<u64> = self.cluster().roster.iter().map(|id| id.0).collect();
        for other in others.into_iter().filter(|other| *other != node) {
            for (from, to) in [(node, other), (other, node)] {
                let (from, to) = (NodeId(from), NodeId(to));
                self = self.event(0, EventKind::LinkChanged { from, to, up: false });
            }
        }
        self
    }

    pub(crate) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(crate) fn cluster(&self) -> ClusterModel {
        let mut cluster = ClusterModel::default();
        for event in &self.events {
            cluster.view.observe(event);
            cluster.widen_roster();
        }
        cluster
    }

    pub(crate) fn leaders(&self) -> LeaderHistory {
        let (mut cluster, mut leaders) = (ClusterModel::default(), LeaderHistory::default());
        for event in &self.events {
            cluster.view.observe(event);
            cluster.widen_roster();
            leaders.observe(event, &cluster);
        }
        leaders
    }
}

/// Cuts all links of a server in the view, in both directions.
pub(crate) fn isolate(cluster: &mut ClusterModel, node: u64) {
    let node = NodeId(node);
    for other in cluster.roster.clone().into_iter().filter(|other| *other != node) {
        cluster.view.cut_links.insert((node, other));
        cluster.view.cut_links.insert((other, node));
    }
}
