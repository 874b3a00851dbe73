//! Messages between servers: WebSocket connections that carry batches in the core's binary form.
//!
//! Each server dials every other one and sends on the connections that it made, one for each
//! [`Lane`]; what arrives on those that it accepted goes to the driver. Connections are remade for
//! as long as the server runs, after a pause that grows and is jittered.
//!
//! Peers are not trusted: browsers are turned away at the door, who a server is is settled by
//! [`handshake`], a frame's size is bounded before it is read, a message must come from the server
//! that proved to be its sender, and each connection may have only so much under way to the driver.
//! All bounds stand in [`limits`].

mod age;
mod dialer;
pub mod door;
pub mod frame;
pub mod handshake;
mod known;
pub mod limits;
mod link;
mod listener;
pub mod outbox;
mod outgoing;
mod pace;
mod porch;
mod sending;
mod spoken;
pub mod version;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use raft_core::types::NodeId;
use tokio::net::{TcpListener, TcpStream};

use crate::config::Address;
use crate::faults::Injector;
use crate::supervise::Supervisor;
use crate::tls::PeerTls;
pub use handshake::{Lane, LeaseTerms, Secret};
pub use known::Known;
pub use limits::Timings;
pub use link::{Link, LinkState};
pub use listener::{Arrival, Delivery};
pub use outgoing::Outgoing;
use porch::Porch;
pub use spoken::Spoken;
pub use version::Version;

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
    /// How long things may take.
    pub timings: Timings,
    /// How many connections may be in the middle of their handshake, at most
    /// [`limits::MAX_HALF_OPEN`].
    pub handshakes: usize,
}

/// What all connections of a server share.
struct Shared {
    identity: Identity,
    links: Links,
    /// Takes what arrives; must not block.
    deliver: Box<dyn Fn(Arrival) + Send + Sync>,
    porch: Mutex<Porch>,
    /// Stamps of what is sent count from here.
    started: Instant,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Shared {
    /// The lock is held for a look-up only.
    fn porch(&self) -> MutexGuard<'_, Porch> {
        self.porch.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    /// Who speaks which protocol.
    pub spoken: Spoken,
    /// Connections refused, either way.
    pub refused: Refused,
    /// Messages that came too late to say anything.
    pub stale: Counter,
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
    identity: Identity,
}

impl Transport {
    /// Takes the address to listen on.
    pub async fn bind(address: &Address, identity: Identity) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address.to_string()).await?;
        Ok(Self { listener, identity })
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
        spoken: Spoken,
        supervisor: &Supervisor,
        faults: Option<Arc<Injector>>,
        deliver: impl Fn(Arrival) + Send + Sync + 'static,
    ) -> (Outgoing, Links) {
        let links = Links { spoken, faults, ..Links::default() };
        let porch = Porch::new(self.identity.handshakes - listener::CUT_AT_ONCE);
        let shared = Arc::new(Shared {
            identity: self.identity,
            links: links.clone(),
            deliver: Box::new(deliver),
            porch: Mutex::new(porch),
            started: Instant::now(),
        });
        let loopback = self.listener.local_addr().map_or(true, |own| own.ip().is_loopback());
        let acceptor = listener::Acceptor::new(Arc::clone(&shared), known.clone(), loopback);
        let (tasks, stop) = (supervisor.tasks().clone(), supervisor.end().clone());
        let accepting = acceptor.run(self.listener, tasks, stop);
        supervisor.spawn("the listener for other servers", accepting);
        let outgoing = Outgoing::new(shared, known, supervisor.clone());
        (outgoing, links)
    }
}

/// What the system does with a connection between servers.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    // Batches are made by us; the system must not wait for more.
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt;
        // Not every system that passes for Linux has these, and pings do without them.
        let millis = u32::try_from(limits::TCP_USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
        let _ = sockopt::set_tcp_user_timeout(stream, millis);
        // With little under way a retransmission follows after the same time again, and not after
        // twice the time: else a link that was cut for a second stays silent for another one.
        let _ = sockopt::set_tcp_thin_linear_timeouts(stream, true);
    }
    Ok(())
}
