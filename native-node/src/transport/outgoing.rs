//! The sending half: whom to dial, and which connection a message takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use raft_core::message::{Body, Message};
use raft_core::types::NodeId;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dialer::Dialer;
use super::link::Link;
use super::{Identity, Known, Lane, Links};
use crate::config::Address;
use crate::faults::Passage;

/// For how long a connection to a server that left stays: the last words to it may still wait.
const FAREWELL: Duration = Duration::from_secs(5);

/// The sending half, owned by the driver.
#[derive(Debug)]
pub struct Outgoing {
    identity: Arc<Identity>,
    known: Known,
    links: Links,
    tasks: TaskTracker,
    stop: CancellationToken,
    peers: BTreeMap<NodeId, Peer>,
    /// Ends the connections to servers that left, which are still told their last words.
    leaving: BTreeMap<NodeId, CancellationToken>,
}

/// A server that is dialled.
#[derive(Debug)]
struct Peer {
    address: Address,
    link: Arc<Link>,
    log: mpsc::UnboundedSender<Message>,
    snapshot: mpsc::UnboundedSender<Message>,
    /// Ends the connections.
    end: CancellationToken,
}

impl Outgoing {
    pub(super) const fn new(
        identity: Arc<Identity>,
        known: Known,
        links: Links,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            identity,
            known,
            links,
            tasks,
            stop,
            peers: BTreeMap::new(),
            leaving: BTreeMap::new(),
        }
    }

    /// Hands a message to its connection. Never waits: the connection's task takes it into its
    /// bounded queue at once, whether or not it can send.
    pub fn send(&self, message: Message) {
        let Some(peer) = self.peers.get(&message.to) else {
            tracing::debug!(to = %message.to, "a message to a server without an address");
            return;
        };
        let lane = match message.body {
            Body::InstallSnapshot { .. } => &peer.snapshot,
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::RequestVote { .. }
            | Body::RequestVoteReply { .. }
            | Body::AppendEntries { .. }
            | Body::AppendEntriesReply { .. }
            | Body::InstallSnapshotReply { .. }
            | Body::TimeoutNow
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. } => &peer.log,
        };
        let Some(faults) = &self.links.faults else {
            // The task ends only with the connection, after which nothing needs to be sent.
            drop(lane.send(message));
            return;
        };
        match faults.passage_to(message.to) {
            Passage::Now => drop(lane.send(message)),
            Passage::Never => {}
            Passage::After(delay) => {
                let lane = lane.clone();
                self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(async move {
                    sleep(delay).await;
                    drop(lane.send(message));
                }));
            }
        }
    }

    /// From now on exactly these are dialled. Connections that stay are left alone.
    pub fn set_peers(&mut self, wanted: &BTreeMap<NodeId, Address>) {
        let gone: Vec<NodeId> = self
            .peers
            .iter()
            .filter(|(id, peer)| wanted.get(id) != Some(&peer.address))
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            let peer = self.peers.remove(&id).expect("just found");
            let moved = wanted.get(&id);
            tracing::info!(peer = %id, to = moved.map(ToString::to_string), "a peer left or moved");
            if moved.is_some() {
                peer.end.cancel();
            } else {
                self.leaving.insert(id, peer.end.clone());
                self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(async move {
                    // Its queues are closed; what is in them is still sent.
                    drop((peer.log, peer.snapshot));
                    sleep(FAREWELL).await;
                    peer.end.cancel();
                }));
            }
        }
        self.leaving.retain(|_, end| !end.is_cancelled());
        for (id, address) in wanted {
            if !self.peers.contains_key(id) {
                self.dial(*id, address);
            }
        }
        let links = self.peers.iter().map(|(id, peer)| (*id, Arc::clone(&peer.link))).collect();
        self.links.known.store(Arc::new(links));
    }

    fn dial(&mut self, id: NodeId, address: &Address) {
        if let Some(old) = self.leaving.remove(&id) {
            // The other side keeps the newest connection only: two dialers would take it from each
            // other without end.
            old.cancel();
        }
        let link = Arc::new(Link::default());
        let end = self.stop.child_token();
        let lane = |lane| {
            let (sender, receiver) = mpsc::unbounded_channel();
            let dialer = Dialer {
                identity: Arc::clone(&self.identity),
                known: self.known.clone(),
                peer: id,
                address: address.clone(),
                lane,
                link: Arc::clone(&link),
                refused: self.links.refused.clone(),
            };
            self.tasks.spawn(end.clone().run_until_cancelled_owned(dialer.run(receiver)));
            sender
        };
        let (log, snapshot) = (lane(Lane::Log), lane(Lane::Snapshot));
        self.peers.insert(id, Peer { address: address.clone(), link, log, snapshot, end });
    }
}
