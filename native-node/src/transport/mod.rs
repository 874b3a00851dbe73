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
mod known;
mod link;
mod listener;
pub mod outbox;
mod outgoing;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use raft_core::types::NodeId;
use tokio::net::TcpListener;

use crate::config::Address;
use crate::faults::Injector;
use crate::supervise::Supervisor;
use crate::tls::PeerTls;
pub use handshake::{Lane, LeaseTerms, Secret};
pub use known::Known;
pub use link::{Link, LinkState};
pub use listener::{Arrival, Delivery};
pub use outgoing::Outgoing;

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
    /// Where the others reach it.
    pub address: Address,
    /// What its leases rest on, where they are switched on.
    pub lease: Option<LeaseTerms>,
    /// What servers prove to each other.
    pub secret: Secret,
    /// With what they encrypt, and show who they are.
    pub tls: Option<Arc<PeerTls>>,
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
#[derive(Clone, Debug, Default)]
pub struct Links {
    known: Arc<ArcSwap<BTreeMap<NodeId, Arc<Link>>>>,
    /// Connections refused, either way.
    pub refused: Refused,
    /// What is done to the links by command, where that is allowed.
    pub faults: Option<Arc<Injector>>,
}

impl Links {
    fn link(&self, peer: NodeId) -> Option<Arc<Link>> {
        self.known.load().get(&peer).cloned()
    }

    /// One peer's connection.
    pub fn get(&self, peer: NodeId) -> Option<LinkState> {
        self.link(peer).map(|link| link.state())
    }

    /// All peers' connections.
    pub fn all(&self) -> BTreeMap<NodeId, LinkState> {
        self.known.load().iter().map(|(peer, link)| (*peer, link.state())).collect()
    }
}

/// A transport whose address is taken but that does not run yet.
#[derive(Debug)]
pub struct Transport {
    listener: TcpListener,
    identity: Arc<Identity>,
}

impl Transport {
    /// Takes the address to listen on.
    pub async fn bind(address: &Address, identity: Identity) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address.to_string()).await?;
        Ok(Self { listener, identity: Arc::new(identity) })
    }

    /// Where it listens.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Starts to accept; whom to dial is told to [`Outgoing`]. What arrives goes to `deliver`, which
    /// must not block.
    pub fn start(
        self,
        known: Known,
        supervisor: &Supervisor,
        faults: Option<Arc<Injector>>,
        deliver: impl Fn(Arrival) + Clone + Send + Sync + 'static,
    ) -> (Outgoing, Links) {
        let links = Links { faults, ..Links::default() };
        let identity = Arc::clone(&self.identity);
        let acceptor = listener::Acceptor::new(identity, known.clone(), links.clone(), deliver);
        let (tasks, stop) = (supervisor.tasks().clone(), supervisor.end().clone());
        let accepting = acceptor.run(self.listener, tasks.clone(), stop.clone());
        supervisor.spawn("the listener for other servers", accepting);
        let outgoing = Outgoing::new(self.identity, known, links.clone(), tasks, stop);
        (outgoing, links)
    }
}
