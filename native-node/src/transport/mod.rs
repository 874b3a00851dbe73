//! Messages between servers, sent over WebSocket connections in the core's binary format.
//!
//! Each server dials every other server and sends only on the connections that it opened, one per
//! [`Lane`]. Messages on accepted connections go to the driver. A broken connection is retried for
//! as long as the server runs, with a growing, jittered backoff.
//!
//! Peers are not trusted. The server rejects browsers, the [`handshake`] authenticates peers, and
//! the size of a frame is checked before it is read. A message must come from the authenticated
//! peer, and each connection may have only a limited amount of data in flight to the driver. All
//! limits are in [`limits`].

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

use api::address::Address;
use arc_swap::ArcSwap;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use raft_core::types::NodeId;
use tokio::net::{TcpListener, TcpStream};

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

/// How this server identifies itself to its peers, and the transport's limits.
#[derive(Debug)]
pub struct Identity {
    /// The cluster name.
    pub cluster_id: String,
    /// The ID of this server.
    pub id: NodeId,
    /// The address at which peers reach this server.
    pub address: Address,
    /// The lease settings; `None` without lease reads.
    pub lease: Option<LeaseTerms>,
    /// The cluster secret.
    pub secret: Secret,
    /// The TLS settings of peer connections; `None` without TLS.
    pub tls: Option<Arc<PeerTls>>,
    /// The transport's timeouts.
    pub timings: Timings,
    /// The maximum number of pending handshakes, at most [`MAX_HALF_OPEN`](crate::descriptors::MAX_HALF_OPEN).
    pub handshakes: usize,
}

/// The state that all connections of a server share.
struct Shared {
    identity: Identity,
    links: Links,
    /// Receives what arrives. Must not block.
    deliver: Box<dyn Fn(Arrival) + Send + Sync>,
    porch: Mutex<Porch>,
    /// The origin of the timestamps on sent frames.
    started: Instant,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl Shared {
    /// Callers hold the lock only briefly.
    fn porch(&self) -> MutexGuard<'_, Porch> {
        self.porch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The label of counters of refused connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedLabels {
    /// The reason, such as [`handshake::Refusal::code`].
    pub reason: &'static str,
}

/// Refused connections, by reason.
pub type Refused = Family<RefusedLabels, Counter>;

/// The state of each peer connection, readable from any task.
#[derive(Clone, Debug, Default)]
pub struct Links {
    known: Arc<ArcSwap<BTreeMap<NodeId, Arc<Link>>>>,
    /// The protocol version of each peer.
    pub spoken: Spoken,
    /// Refused connections, incoming and outgoing.
    pub refused: Refused,
    /// Messages that were dropped because they arrived too late.
    pub stale: Counter,
    /// The injected link faults; `None` without `--allow-faults`.
    pub faults: Option<Arc<Injector>>,
}

impl Links {
    fn link(&self, peer: NodeId) -> Option<Arc<Link>> {
        self.known.load().get(&peer).cloned()
    }

    /// The state of the connection to one peer.
    pub fn get(&self, peer: NodeId) -> Option<LinkState> {
        self.link(peer).map(|link| link.state())
    }

    /// The states of the connections to all peers.
    pub fn all(&self) -> BTreeMap<NodeId, LinkState> {
        self.known.load().iter().map(|(peer, link)| (*peer, link.state())).collect()
    }
}

/// A transport that is bound to its address but does not accept connections yet.
#[derive(Debug)]
pub struct Transport {
    listener: TcpListener,
    identity: Identity,
}

impl Transport {
    /// Binds the address to listen on.
    pub async fn bind(address: &Address, identity: Identity) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address.to_string()).await?;
        Ok(Self { listener, identity })
    }

    /// The address that it listens on.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Starts to accept connections and passes what arrives to `deliver`, which must not block.
    /// [`Outgoing::set_peers`] sets the peers to dial.
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

/// Sets the options of a TCP connection between servers.
fn tune(stream: &TcpStream) -> std::io::Result<()> {
    // The transport forms batches itself, so the kernel must not delay small writes.
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        use rustix::net::sockopt;
        // Some Linux-compatible systems lack these options; pings then detect dead connections.
        let millis = u32::try_from(limits::TCP_USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
        let _ = sockopt::set_tcp_user_timeout(stream, millis);
        // On thin streams, retransmissions then follow at a constant interval. Otherwise a link
        // that was cut for one second stays silent for another second.
        let _ = sockopt::set_tcp_thin_linear_timeouts(stream, true);
    }
    Ok(())
}
