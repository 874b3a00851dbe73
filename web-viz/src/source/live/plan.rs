//! Decides which streams to open, and when. A browser logs an error for every server that does not
//! answer. So the plan asks reachable servers before it retries a lost server.

use std::collections::{BTreeMap, BTreeSet};

use api::demo::{Process, ProcessState};
use api::status::StatusSummary;
use raft_core::types::NodeId;

/// Without a server to ask, the first retry of a lost server comes after this long, in
/// milliseconds.
const FIRST_PAUSE: f64 = 500.0;

/// The delay doubles with each retry up to this, in milliseconds.
const LONGEST_PAUSE: f64 = 4_000.0;

/// The retry delay for a server that the others cannot reach, in milliseconds. Perhaps this page
/// can.
const AGAINST_ADVICE: f64 = 20_000.0;

/// How often the plan asks for new members while no server is missing, in milliseconds.
const BETWEEN_QUESTIONS: f64 = 3_000.0;

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

#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    peers: BTreeMap<NodeId, Peer>,
    /// Processes that are frozen or have ended, according to the supervisor.
    stopped: BTreeSet<NodeId>,
    /// The servers that the last asked server can reach, including itself.
    reachable: Option<BTreeSet<NodeId>>,
    /// When a server was last asked for the members.
    asked: f64,
}

impl Plan {
    /// Adds or updates members. Returns whether anything changed.
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
                    // Long ago, so it is tried at once.
                    let stream = Stream::Closed { since: f64::MIN, pause: 0.0 };
                    self.peers.insert(*node, Peer { address: address.clone(), stream });
                    changed = true;
                }
            }
        }
        changed
    }

    pub(super) fn take_processes(&mut self, processes: &[Process]) {
        let stopped = processes.iter().filter(|it| it.state != ProcessState::Running);
        self.stopped = stopped.map(|it| NodeId(it.id)).collect();
    }

    pub(super) fn take_status(&mut self, status: &StatusSummary) {
        let peers = status.peers.iter().filter(|peer| peer.connected).map(|peer| peer.id);
        self.reachable = Some(peers.chain([status.node.id]).collect());
    }

    /// A server to ask about missing servers, and periodically about new ones. `None` if no
    /// question is due or no server can be asked.
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

    /// The streams to open at `now`. They count as opening from then on.
    pub(super) fn due(&mut self, now: f64) -> Vec<(NodeId, String)> {
        let somebody_open = self.peers.values().any(|peer| peer.stream == Stream::Open);
        let mut due = Vec::new();
        for (node, peer) in &mut self.peers {
            let Stream::Closed { since, pause } = peer.stream else { continue };
            let advised = match &self.reachable {
                Some(reachable) if somebody_open => reachable.contains(node),
                // No server can be asked, or none was asked yet.
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

    /// Notes that a stream ended or failed to open.
    pub(super) fn closed(&mut self, node: NodeId, now: f64) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let pause = match peer.stream {
            Stream::Open => FIRST_PAUSE,
            Stream::Opening { pause } | Stream::Closed { pause, .. } => {
                (pause * 2.0).clamp(FIRST_PAUSE, LONGEST_PAUSE)
            }
        };
        peer.stream = Stream::Closed { since: now, pause };
        // What another server reported about it before is outdated.
        if let Some(reachable) = &mut self.reachable {
            reachable.remove(&node);
        }
    }
}

#[cfg(test)]
mod tests {
    use api::faults::Faults;
    use api::status::{PeerSummary, ServerSummary};

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

    fn status(of: u64, connected: &[u64]) -> StatusSummary {
        let server = |id| ServerSummary { id: NodeId(id), client: format!("s{id}") };
        let peers = (1..=3)
            .filter(|id| *id != of)
            .map(|id| PeerSummary {
                id: NodeId(id),
                client: format!("s{id}"),
                connected: connected.contains(&id),
            })
            .collect();
        StatusSummary { node: server(of), peers }
    }

    /// Guards that a killed server is retried once the others reach it, and not repeatedly before.
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

    /// Guards that new members are found: the plan periodically asks a server, and opens the new
    /// stream.
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

    /// Guards that with no server to ask, each is retried with growing delays.
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

    /// Guards that a process that the supervisor reports as stopped is not retried.
    #[test]
    fn a_stopped_process_is_left_alone() {
        let mut plan = plan();
        let process = |id, state| Process {
            id,
            client: format!("s{id}"),
            peer: format!("p{id}"),
            pid: None,
            state,
            faults: Faults::default(),
        };
        plan.take_processes(&[
            process(1, ProcessState::Running),
            process(2, ProcessState::Stopped),
            process(3, ProcessState::Frozen),
        ]);
        assert_eq!(nodes(&plan.due(0.0)), [1]);
        plan.take_processes(&[
            process(1, ProcessState::Running),
            process(2, ProcessState::Running),
            process(3, ProcessState::Frozen),
        ]);
        assert_eq!(nodes(&plan.due(0.0)), [2]);
    }
}
