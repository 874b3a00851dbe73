//! Which streams to open, and when. A browser complains loudly about every server that does not
//! answer, so the plan asks those that do before it tries one that was lost.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::types::NodeId;

use super::api::{Node, Status};
use crate::model::live::ProcessState;

/// Without anybody to ask, a lost server is tried again after this long, in milliseconds, …
const FIRST_PAUSE: f64 = 500.0;

/// … twice as long each time, up to this.
const LONGEST_PAUSE: f64 = 4_000.0;

/// A server that the others cannot reach is tried this seldom: perhaps this page can.
const AGAINST_ADVICE: f64 = 20_000.0;

/// While nobody is missing, a server is asked this seldom whether somebody came in, in milliseconds.
const BETWEEN_QUESTIONS: f64 = 3_000.0;

/// How a stream stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stream {
    Closed { since: f64, pause: f64 },
    Opening { pause: f64 },
    Open,
}

#[derive(Clone, Debug)]
struct Peer {
    address: String,
    stream: Stream,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    peers: BTreeMap<NodeId, Peer>,
    /// Processes of which a supervisor says that they stand still or are ended.
    stopped: BTreeSet<NodeId>,
    /// Whom the server that was asked last can reach, itself included.
    reachable: Option<BTreeSet<NodeId>>,
    /// When a server was last asked who belongs to the cluster.
    asked: f64,
}

impl Plan {
    /// Takes members in. Whether that changed anything.
    pub(super) fn take_members(&mut self, members: &[(NodeId, String)]) -> bool {
        let mut changed = false;
        for (node, address) in members {
            match self.peers.get_mut(node) {
                Some(peer) if peer.address == *address => {}
                Some(peer) => {
                    peer.address.clone_from(address);
                    changed = true;
                }
                None => {
                    // Long ago, so that it is tried at once.
                    let stream = Stream::Closed { since: f64::MIN, pause: 0.0 };
                    self.peers.insert(*node, Peer { address: address.clone(), stream });
                    changed = true;
                }
            }
        }
        changed
    }

    pub(super) fn take_processes(&mut self, nodes: &[Node]) {
        let stopped = nodes.iter().filter(|node| node.state() != ProcessState::Running);
        self.stopped = stopped.map(|node| node.id).collect();
    }

    pub(super) fn take_status(&mut self, status: &Status) {
        let peers = status.peers.iter().filter(|peer| peer.connected).map(|peer| peer.id);
        self.reachable = Some(peers.chain([status.node.id]).collect());
    }

    /// A server to ask about those that are missing, and now and then about new ones; `None` when
    /// that is not due or nobody is there to ask.
    pub(super) fn witness(&mut self, now: f64) -> Option<String> {
        let missing = |(node, peer): (&NodeId, &Peer)| {
            matches!(peer.stream, Stream::Closed { .. }) && !self.stopped.contains(node)
        };
        if !self.peers.iter().any(missing) && now - self.asked < BETWEEN_QUESTIONS {
            return None;
        }
        self.asked = now;
        let open = |(node, peer): &(&NodeId, &Peer)| {
            peer.stream == Stream::Open && !self.stopped.contains(node)
        };
        self.peers.iter().find(open).map(|(_, peer)| peer.address.clone())
    }

    /// The streams to open at `now`, which from here on count as being opened.
    pub(super) fn due(&mut self, now: f64) -> Vec<(NodeId, String)> {
        let somebody_open = self.peers.values().any(|peer| peer.stream == Stream::Open);
        let mut due = Vec::new();
        for (node, peer) in &mut self.peers {
            let Stream::Closed { since, pause } = peer.stream else { continue };
            let advised = match &self.reachable {
                Some(reachable) if somebody_open => reachable.contains(node),
                // Nobody can be asked, or nobody was yet.
                Some(_) | None => true,
            };
            let wait = if advised { pause } else { AGAINST_ADVICE };
            if !self.stopped.contains(node) && now - since >= wait {
                peer.stream = Stream::Opening { pause };
                due.push((*node, peer.address.clone()));
            }
        }
        due
    }

    pub(super) fn opened(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.stream = Stream::Open;
        }
    }

    /// A stream ended, or could not be opened.
    pub(super) fn closed(&mut self, node: NodeId, now: f64) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let pause = match peer.stream {
            Stream::Open => FIRST_PAUSE,
            Stream::Opening { pause } | Stream::Closed { pause, .. } => {
                (pause * 2.0).clamp(FIRST_PAUSE, LONGEST_PAUSE)
            }
        };
        peer.stream = Stream::Closed { since: now, pause };
        // What was heard about it before is out of date.
        if let Some(reachable) = &mut self.reachable {
            reachable.remove(&node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::api::{Faults, PeerStatus, Place};
    use super::*;

    fn plan() -> Plan {
        let mut plan = Plan::default();
        let members: Vec<_> = (1..=3).map(|id| (NodeId(id), format!("http://s{id}"))).collect();
        assert!(plan.take_members(&members));
        assert!(!plan.take_members(&members), "nothing new");
        plan
    }

    fn nodes(due: &[(NodeId, String)]) -> Vec<u64> {
        due.iter().map(|(node, _)| node.0).collect()
    }

    fn status(of: u64, connected: &[u64]) -> Status {
        let place = |id| Place { id: NodeId(id), client: format!("s{id}") };
        let peers = (1..=3)
            .filter(|id| *id != of)
            .map(|id| PeerStatus {
                id: NodeId(id),
                client: format!("s{id}"),
                connected: connected.contains(&id),
            })
            .collect();
        Status { node: place(of), peers }
    }

    /// Guards reconnecting: a killed server is tried again once the others reach it, and not
    /// hammered before.
    #[test]
    fn a_lost_server_is_tried_again_when_the_others_reach_it() {
        let mut plan = plan();
        assert_eq!(nodes(&plan.due(0.0)), [1, 2, 3]);
        assert_eq!(plan.due(0.0), [], "they are being opened");
        (1..=3).for_each(|id| plan.opened(NodeId(id)));
        assert_eq!(plan.witness(1.0), None);
        plan.closed(NodeId(2), 1_000.0);
        assert_eq!(plan.witness(1_000.0).as_deref(), Some("http://s1"));
        plan.take_status(&status(1, &[3]));
        assert_eq!(plan.due(9_000.0), []);
        plan.take_status(&status(1, &[2, 3]));
        assert_eq!(nodes(&plan.due(9_000.0)), [2]);
    }

    /// Guards against missing a member that was added: while all is well somebody is asked now and
    /// then, and the new one's stream is opened.
    #[test]
    fn a_member_that_was_added_is_found() {
        let mut plan = plan();
        plan.due(0.0);
        (1..=3).for_each(|id| plan.opened(NodeId(id)));
        assert_eq!(plan.witness(BETWEEN_QUESTIONS - 1.0), None);
        assert_eq!(plan.witness(BETWEEN_QUESTIONS).as_deref(), Some("http://s1"));
        assert_eq!(plan.witness(BETWEEN_QUESTIONS + 1.0), None, "it was asked");
        let told: Vec<_> = (1..=4).map(|id| (NodeId(id), format!("http://s{id}"))).collect();
        assert!(plan.take_members(&told));
        assert_eq!(nodes(&plan.due(BETWEEN_QUESTIONS)), [4]);
    }

    /// Guards the way back when every server was gone: without anybody to ask, each is tried with
    /// growing pauses.
    #[test]
    fn with_nobody_to_ask_pauses_grow() {
        let mut plan = plan();
        plan.due(0.0);
        (1..=3).for_each(|id| plan.closed(NodeId(id), 0.0));
        assert_eq!(plan.witness(0.0), None);
        assert_eq!(plan.due(FIRST_PAUSE - 1.0), []);
        assert_eq!(nodes(&plan.due(FIRST_PAUSE)), [1, 2, 3]);
        (1..=3).for_each(|id| plan.closed(NodeId(id), FIRST_PAUSE));
        assert_eq!(plan.due(FIRST_PAUSE + 999.0), []);
        assert_eq!(nodes(&plan.due(FIRST_PAUSE + 1_000.0)), [1, 2, 3]);
    }

    /// Guards against knocking at the door of a process that the supervisor says is not there.
    #[test]
    fn a_stopped_process_is_left_alone() {
        let mut plan = plan();
        let node = |id, state: &str| Node {
            id: NodeId(id),
            client: format!("s{id}"),
            pid: None,
            state: state.to_owned(),
            faults: Faults::default(),
        };
        plan.take_processes(&[node(1, "running"), node(2, "stopped"), node(3, "frozen")]);
        assert_eq!(nodes(&plan.due(0.0)), [1]);
        plan.take_processes(&[node(1, "running"), node(2, "running"), node(3, "frozen")]);
        assert_eq!(nodes(&plan.due(0.0)), [2]);
    }
}
