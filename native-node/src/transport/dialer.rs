//! The connection that this server opens to one peer for one lane.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::address::Address;
use futures_util::{SinkExt, StreamExt};
use prometheus_client::metrics::counter::Counter;
use raft_core::codec;
use raft_core::types::NodeId;
use serde::de::DeserializeOwned;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Message as Frame};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::either::Either;

use super::handshake::{Answer, Challenge, Hello, Lane, Refusal, Side, Verdict, Version, nonce};
use super::limits::{BACKOFF_MIN, STABLE_AFTER, WRITE_TIMEOUT};
use super::link::Link;
use super::outbox::Queue;
use super::sending::Sending;
use super::{Arrival, Known, Refused, RefusedLabels, Shared, door, frame, tune};
use crate::tls::Stream;

pub(super) type Socket = WebSocketStream<Stream>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("cannot reach {0}: {1}")]
    Unreachable(Address, std::io::Error),
    #[error(
        "no encrypted connection to {0}: {1}. It must run with --peer-tls-cert too, and its \
         certificate must name it"
    )]
    Tls(Address, std::io::Error),
    #[error("no answer from {0} within {1:?}")]
    ConnectTimeout(Address, Duration),
    #[error("{0}")]
    WebSocket(#[from] tungstenite::Error),
    #[error("refused: {0}")]
    RefusedByPeer(Refusal),
    #[error("not trusted: {0}")]
    RefusedByUs(Refusal),
    #[error("its protocol does not have this lane")]
    NoSuchLane,
    #[error("it now speaks a later protocol")]
    Outdated,
    #[error("its release does not know the rules that this cluster follows")]
    Forbidden,
    #[error("a piece of a frame could not be sent within {WRITE_TIMEOUT:?}")]
    WriteTimeout,
    #[error("no answer came for {0:?}")]
    Silent(Duration),
    #[error("the other side closed the connection")]
    Closed,
}

/// An established connection.
pub(super) struct Made {
    pub(super) socket: Socket,
    pub(super) version: Version,
    /// An upper bound of one round trip.
    pub(super) round_trip: Duration,
}

/// Dials one peer for one lane.
pub(super) struct Dialer {
    pub(super) shared: Arc<Shared>,
    pub(super) known: Known,
    pub(super) peer: NodeId,
    pub(super) address: Address,
    pub(super) lane: Lane,
    pub(super) queue: Arc<Queue>,
    /// The control queue, for the log lane to a peer without a control lane.
    pub(super) urgent: Option<Arc<Queue>>,
    pub(super) link: Arc<Link>,
}

impl Dialer {
    /// Connects, sends and reconnects until the server ends.
    pub(super) async fn run(self) {
        let mut backoff = BACKOFF_MIN;
        loop {
            match self.lane {
                Lane::Log => {}
                // Snapshots are rare, so this connection is opened only when a message waits.
                Lane::Snapshot => self.queue.ready().await,
                Lane::Control => self.link.needs_control().await,
            }
            let error = match self.connect().await {
                Ok(made) => {
                    let since = Instant::now();
                    let error = self.send_on(made).await;
                    if since.elapsed() >= STABLE_AFTER {
                        backoff = BACKOFF_MIN;
                    }
                    error
                }
                Err(error) => error,
            };
            self.note_down(&error);
            tokio::select! {
                () = sleep(jittered(backoff)) => {}
                () = self.link.wake.notified() => {}
            }
            backoff = (backoff * 2).min(self.shared.identity.timings.backoff_max);
        }
    }

    /// Sends until the connection breaks; returns the reason.
    async fn send_on(&self, made: Made) -> LinkError {
        let (spoken, version) = (&self.shared.links.spoken, made.version);
        let _agreed = spoken.agree(self.peer, version);
        self.note_up(version);
        tokio::select! {
            error = Sending::new(self, made).run() => error,
            () = spoken.forbidden(version) => LinkError::Forbidden,
        }
    }

    fn note_up(&self, version: Version) {
        self.queue.connected();
        self.link.came_up(self.lane, version);
        tracing::info!(
            peer = %self.peer, address = %self.address, lane = ?self.lane,
            protocol = version.numbers().0, "connected"
        );
    }

    fn note_down(&self, error: &LinkError) {
        if matches!(error, LinkError::NoSuchLane) {
            // The log lane reports the state of the peer.
            return;
        }
        if self.queue.disconnected() {
            (self.shared.deliver)(Arrival::Lost(self.peer));
        }
        if let LinkError::RefusedByPeer(refusal) | LinkError::RefusedByUs(refusal) = error {
            count(&self.shared.links.refused, refusal);
        }
        // A repeated error is logged once as a warning; status and metrics show that it continues.
        if self.link.went_down(self.lane, &error.to_string()) {
            tracing::warn!(peer = %self.peer, address = %self.address, "no connection: {error}");
        } else {
            tracing::debug!(peer = %self.peer, lane = ?self.lane, "no connection: {error}");
        }
    }

    /// Connects with the newest protocol that both sides know.
    async fn connect(&self) -> Result<Made, LinkError> {
        match self.attempt(Version::NEWEST).await {
            Err(LinkError::RefusedByPeer(Refusal::Version { .. })) if self.may_fall_back() => {
                if !Version::V3.has(self.lane) {
                    return Err(LinkError::NoSuchLane);
                }
                self.attempt(Version::V3).await
            }
            made => made,
        }
    }

    /// A peer with an open connection of the newest protocol would not have refused that protocol.
    fn may_fall_back(&self) -> bool {
        let spoken = &self.shared.links.spoken;
        spoken.admits(Version::V3) && !spoken.stands(self.peer, Version::NEWEST)
    }

    async fn attempt(&self, version: Version) -> Result<Made, LinkError> {
        let timings = &self.shared.identity.timings;
        let attempt = async {
            let unreachable = |error| LinkError::Unreachable(self.address.clone(), error);
            let address = resolve(&self.address).await.map_err(unreachable)?;
            self.shared.porch().know(address.ip());
            // The kernel repeats a lost SYN only after a second, and then with growing delays.
            let stream = timeout(timings.tcp_connect, TcpStream::connect(address))
                .await
                .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
                .map_err(unreachable)?;
            tune(&stream).map_err(unreachable)?;
            let stream = match &self.shared.identity.tls {
                None => Either::Left(stream),
                Some(tls) => tls
                    .connect(stream, self.peer)
                    .await
                    .map_err(|error| LinkError::Tls(self.address.clone(), error))?,
            };
            let url = format!("ws://{}{}", self.address, door::PATH);
            let config = frame::websocket(frame::MAX_GREETING_BYTES);
            let began = Instant::now();
            let (socket, _) = client_async_with_config(url, stream, Some(config)).await?;
            let round_trip = began.elapsed();
            let socket = self.greet(socket, version).await?;
            Ok(Made { socket, version, round_trip })
        };
        timeout(timings.connect, attempt).await.unwrap_or_else(|_| {
            Err(LinkError::ConnectTimeout(self.address.clone(), timings.connect))
        })
    }

    async fn greet(&self, mut socket: Socket, version: Version) -> Result<Socket, LinkError> {
        let identity = &self.shared.identity;
        let hello = Hello {
            version,
            cluster_id: identity.cluster_id.clone(),
            from: identity.id,
            to: self.peer,
            lane: self.lane,
            nonce: nonce(),
            address: identity.address.clone(),
            lease: identity.lease,
            storage: self.known.claim(),
            let_in: self.known.let_in(identity.id),
            founded: self.known.founded(),
        };
        socket.send(Frame::binary(hello.encode())).await?;
        let (theirs, proof) = match receive(&mut socket).await? {
            Challenge::Prove { nonce, proof } => (nonce, proof),
            Challenge::Refused(refusal) => return Err(LinkError::RefusedByPeer(refusal)),
        };
        let secret = &identity.secret;
        if !secret.accepts(Side::Acceptor, &hello, &theirs, proof.as_ref()) {
            return Err(LinkError::RefusedByUs(Refusal::Proof(self.peer)));
        }
        let answer = Answer { proof: secret.prove(Side::Dialer, &hello, &theirs) };
        socket.send(Frame::binary(codec::encode(&answer))).await?;
        match receive(&mut socket).await? {
            Verdict::Welcome => Ok(socket),
            Verdict::Refused(refusal) => Err(LinkError::RefusedByPeer(refusal)),
        }
    }
}

/// Receives one message of the handshake.
async fn receive<T: DeserializeOwned>(socket: &mut Socket) -> Result<T, LinkError> {
    match socket.next().await {
        Some(Ok(Frame::Binary(bytes))) => codec::decode(&bytes)
            .map_err(|error| LinkError::RefusedByUs(Refusal::Garbage(error.to_string()))),
        Some(Err(error)) => Err(error.into()),
        Some(Ok(
            Frame::Text(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Close(_) | Frame::Frame(_),
        ))
        | None => Err(LinkError::Closed),
    }
}

/// Between half of `span` and all of it: servers that lost each other must not reconnect together.
fn jittered(span: Duration) -> Duration {
    let draw = getrandom::u32().unwrap_or(u32::MAX);
    span.mul_f64(0.5 + 0.5 * f64::from(draw) / f64::from(u32::MAX))
}

/// Counts a refusal by its reason.
pub(super) fn count(refused: &Refused, refusal: &Refusal) {
    let labels = RefusedLabels { reason: refusal.code() };
    let _: u64 = Counter::inc(&refused.get_or_create(&labels));
}

/// Resolves the host name.
async fn resolve(address: &Address) -> std::io::Result<SocketAddr> {
    let mut found = lookup_host(address.to_string()).await?;
    found.next().ok_or_else(|| {
        std::io::Error::new(ErrorKind::NotFound, format!("{} has no IP address", address.host()))
    })
}
