//! The sending half of the transport: which peers it dials, and which connection a message uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::address::Address;
use raft_core::message::Message;
use raft_core::types::NodeId;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::dialer::Dialer;
use super::limits::FAREWELL;
use super::link::Link;
use super::outbox::Queue;
use super::{Arrival, Known, Lane, Shared, Spoken};
use crate::faults::Passage;
use crate::supervise::Supervisor;

/// The sending half of the transport, owned by the driver.
#[derive(Debug)]
pub struct Outgoing {
    shared: Arc<Shared>,
    known: Known,
    supervisor: Supervisor,
    peers: BTreeMap<NodeId, Peer>,
    /// Ends the connections to removed servers, which first send their remaining messages.
    leaving: BTreeMap<NodeId, CancellationToken>,
}

/// A peer that this server dials.
#[derive(Debug)]
struct Peer {
    address: Address,
    link: Arc<Link>,
    /// Indexed by [`Lane`].
    queues: [Arc<Queue>; Lane::ALL.len()],
    /// Ends the connections.
    end: CancellationToken,
}

impl Outgoing {
    pub(super) fn new(shared: Arc<Shared>, known: Known, supervisor: Supervisor) -> Self {
        let (peers, leaving) = (BTreeMap::new(), BTreeMap::new());
        Self { shared, known, supervisor, peers, leaving }
    }

    /// Starts a task that ends with the server at the latest.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let end = self.supervisor.end().clone();
        self.supervisor.tasks().spawn(end.run_until_cancelled_owned(work));
    }

    /// Puts a message into the bounded queue of its lane. Never waits.
    pub fn send(&self, message: Message) {
        let Some(peer) = self.peers.get(&message.to) else {
            tracing::debug!(to = %message.to, "dropped a message to a server without an address");
            return;
        };
        let queue = &peer.queues[Lane::of(&message.body) as usize];
        let passage = self.shared.links.faults.as_ref().map(|it| it.passage_to(message.to));
        match passage.unwrap_or(Passage::Now) {
            Passage::Now => push(&self.shared, queue, message),
            Passage::Never => {}
            Passage::After(delay) => {
                let (shared, queue) = (Arc::clone(&self.shared), Arc::clone(queue));
                self.spawn(async move {
                    sleep(delay).await;
                    push(&shared, &queue, message);
                });
            }
        }
    }

    /// The protocol version of each peer.
    pub fn spoken(&self) -> &Spoken {
        &self.shared.links.spoken
    }

    /// Sets the peers to dial. Connections to unchanged peers stay open.
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
                self.spawn(async move {
                    // Queued messages are still sent.
                    sleep(FAREWELL).await;
                    peer.end.cancel();
                });
            }
        }
        self.leaving.retain(|_, end| !end.is_cancelled());
        for (id, address) in wanted {
            if !self.peers.contains_key(id) {
                self.dial(*id, address);
            }
        }
        let links = self.peers.iter().map(|(id, peer)| (*id, Arc::clone(&peer.link))).collect();
        self.shared.links.known.store(Arc::new(links));
    }

    fn dial(&mut self, id: NodeId, address: &Address) {
        if let Some(old) = self.leaving.remove(&id) {
            // The other side keeps only the newest connection. Two dialers would replace each
            // other's connections without end.
            old.cancel();
        }
        let link = Arc::new(Link::default());
        let end = self.supervisor.end().child_token();
        let stale_after = self.shared.identity.timings.stale_after;
        let queues =
            Lane::ALL.map(|lane| Arc::new(Queue::new(lane, stale_after, Arc::clone(&link))));
        for lane in Lane::ALL {
            let urgent = (lane == Lane::Log).then(|| Arc::clone(&queues[Lane::Control as usize]));
            let dialer = Dialer {
                shared: Arc::clone(&self.shared),
                known: self.known.clone(),
                peer: id,
                address: address.clone(),
                lane,
                queue: Arc::clone(&queues[lane as usize]),
                urgent,
                link: Arc::clone(&link),
            };
            let name = "the connection to another server";
            self.supervisor.spawn_until(end.clone(), name, dialer.run());
        }
        self.peers.insert(id, Peer { address: address.clone(), link, queues, end });
    }
}

fn push(shared: &Shared, queue: &Queue, message: Message) {
    let to = message.to;
    if queue.push(message) {
        (shared.deliver)(Arrival::Lost(to));
    }
}
