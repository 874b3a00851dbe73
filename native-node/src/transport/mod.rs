//! Messages between servers: WebSocket connections that carry batches in the core's binary form.
//!
//! Each server dials every other one and sends on the connections that it made; what arrives on
//! those that it accepted goes to the driver. Connections are remade for as long as the server
//! runs, after a pause that grows and is jittered.
//!
//! Peers are not trusted: who they are is settled by [`handshake`], a frame's size is bounded
//! before it is read, a message must come from the server that proved to be its sender, and each
//! connection may have only so much under way to the driver.

mod dialer;
pub mod frame;
pub mod handshake;
mod link;
mod listener;
pub mod outbox;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use raft_core::message::{Body, Message};
use raft_core::types::NodeId;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Address, Members};
pub use handshake::{Lane, Secret};
pub use link::{Link, LinkState};
pub use listener::Delivery;

/// How long a TCP connection and a handshake may take, together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long one frame may take to leave.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often an otherwise quiet connection is tried.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// A connection on which nothing came back for this long is dead.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// Who this server is to its peers.
#[derive(Debug)]
pub struct Identity {
    /// The cluster's name.
    pub cluster_id: String,
    /// This server.
    pub id: NodeId,
    /// What servers prove to each other.
    pub secret: Secret,
}

/// Counts what was refused at the door.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedLabels {
    /// [`handshake::Refusal::code`].
    pub reason: &'static str,
}

/// Connections that were refused, by reason.
pub type Refused = Family<RefusedLabels, Counter>;

/// What is known of each peer, readable from anywhere.
#[derive(Clone, Debug)]
pub struct Links {
    links: Arc<BTreeMap<NodeId, Arc<Link>>>,
    /// Connections refused, either way.
    pub refused: Refused,
}

impl Links {
    /// One peer's connection.
    pub fn get(&self, peer: NodeId) -> Option<LinkState> {
        self.links.get(&peer).map(|link| link.state())
    }

    /// All peers' connections.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, LinkState)> {
        self.links.iter().map(|(peer, link)| (*peer, link.state()))
    }
}

/// The sending half, owned by the driver.
#[derive(Debug)]
pub struct Outgoing {
    lanes: BTreeMap<(NodeId, Lane), mpsc::UnboundedSender<Message>>,
}

impl Outgoing {
    /// Hands a message to its connection. Never waits: the connection's task takes it into its
    /// bounded queue at once, whether or not it can send.
    pub fn send(&self, message: Message) {
        let lane = match message.body {
            Body::InstallSnapshot { .. } => Lane::Snapshot,
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::RequestVote { .. }
            | Body::RequestVoteReply { .. }
            | Body::AppendEntries { .. }
            | Body::AppendEntriesReply { .. }
            | Body::InstallSnapshotReply { .. }
            | Body::TimeoutNow
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. } => Lane::Log,
        };
        if let Some(sender) = self.lanes.get(&(message.to, lane)) {
            // The task ends only with the server, after which nothing needs to be sent.
            drop(sender.send(message));
        } else {
            tracing::debug!(to = %message.to, "a message to a server without an address");
        }
    }
}

/// A transport whose address is taken but that does not run yet.
#[derive(Debug)]
pub struct Transport {
    listener: TcpListener,
    identity: Arc<Identity>,
    members: Members,
}

impl Transport {
    /// Takes the address to listen on.
    pub async fn bind(
        address: &Address,
        identity: Identity,
        members: Members,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address.to_string()).await?;
        Ok(Self { listener, identity: Arc::new(identity), members })
    }

    /// Where it listens.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Starts to dial and to accept. What arrives goes to `deliver`, which must not block.
    pub fn start(
        self,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        deliver: impl Fn(Delivery) + Clone + Send + Sync + 'static,
    ) -> (Outgoing, Links) {
        let own = self.identity.id;
        let peers = || self.members.iter().filter(|(id, _)| *id != own);
        let links: BTreeMap<_, _> =
            peers().map(|(id, _)| (id, Arc::new(Link::default()))).collect();
        let links = Links { links: Arc::new(links), refused: Refused::default() };
        let wake: BTreeMap<_, _> = peers().map(|(id, _)| (id, Arc::new(Notify::new()))).collect();
        let mut lanes = BTreeMap::new();
        for (id, member) in peers() {
            for lane in [Lane::Log, Lane::Snapshot] {
                let (sender, receiver) = mpsc::unbounded_channel();
                lanes.insert((id, lane), sender);
                let dialer = dialer::Dialer {
                    identity: Arc::clone(&self.identity),
                    peer: id,
                    address: member.peer.clone(),
                    lane,
                    link: Arc::clone(&links.links[&id]),
                    refused: links.refused.clone(),
                    wake: Arc::clone(&wake[&id]),
                };
                tasks.spawn(stop.clone().run_until_cancelled_owned(dialer.run(receiver)));
            }
        }
        let acceptor = listener::Acceptor::new(self.identity, links.clone(), wake, deliver);
        tasks.spawn(acceptor.run(self.listener, tasks.clone(), stop.clone()));
        (Outgoing { lanes }, links)
    }
}
