//! The connections that other servers open to this server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::address::Address;
use futures_util::{SinkExt, StreamExt};
use prometheus_client::metrics::counter::Counter;
use raft_core::codec;
use raft_core::message::Message;
use raft_core::types::NodeId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Error, Message as Frame};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::age::Ages;
use super::dialer::count;
use super::door::{self, Door};
use super::handshake::{Answer, Challenge, Hello, Lane, Refusal, Side, Verdict, nonce};
use super::limits::{
    ACCEPT_PAUSE_MAX, ACCEPT_PAUSE_MIN, IDLE_TIMEOUT, LOG_PAUSE, MAX_PEERS, max_undelivered,
};
use super::outbox::goes_stale;
use super::{Identity, Known, RefusedLabels, Shared, Version, frame, tune};
use crate::tls::Stream;

type Socket = WebSocketStream<Stream>;

/// How many cut handshakes may still be ending while others begin.
pub(super) const CUT_AT_ONCE: usize = 4;

/// The messages of one frame. Dropping it makes room for other frames of the same connection.
#[derive(Debug)]
pub struct Delivery {
    /// The messages, all from the server at the other end.
    pub messages: Vec<Message>,
    /// The age of the oldest message on arrival, as far as it is known.
    age: Duration,
    came_in: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Delivery {
    /// How long ago the peer sent the oldest of the messages.
    pub fn age(&self) -> Duration {
        self.age + self.came_in.elapsed()
    }
}

/// What the transport reports to the driver.
#[derive(Debug)]
pub enum Arrival {
    /// The messages of one frame.
    Messages(Delivery),
    /// A server connected that this server does not dial yet. It was added while this server was
    /// down, and may even be the leader (§6), or it is about to be added.
    Met {
        /// The server's ID.
        peer: NodeId,
        /// The address that it gave.
        address: Address,
    },
    /// Messages to this server may be lost: a connection broke, or the queue had no room.
    Lost(NodeId),
}

/// Accepts connections and passes on what arrives.
pub(super) struct Acceptor {
    hall: Arc<Hall>,
}

struct Hall {
    shared: Arc<Shared>,
    known: Known,
    door: Door,
    /// The newest connection of each peer and lane. The lock is held only for a look-up.
    current: Mutex<BTreeMap<(NodeId, Lane), Current>>,
    last_line: Mutex<Option<Instant>>,
}

/// The newest connection of a peer on a lane.
struct Current {
    number: u64,
    /// Cancelled when a newer connection replaces this one.
    replaced: CancellationToken,
}

impl Acceptor {
    pub(super) fn new(shared: Arc<Shared>, known: Known, loopback: bool) -> Self {
        let door = Door::new(shared.identity.address.clone(), loopback);
        let (current, last_line) = Default::default();
        Self { hall: Arc::new(Hall { shared, known, door, current, last_line }) }
    }

    /// Accepts connections until `stop` is cancelled.
    pub(super) async fn run(
        self,
        listener: TcpListener,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let mut pause = ACCEPT_PAUSE_MIN;
        let descriptors = Arc::new(Semaphore::new(self.hall.shared.identity.handshakes));
        loop {
            let accepting = async {
                // Waits at most until a cut handshake has ended.
                let descriptor = Arc::clone(&descriptors).acquire_owned().await;
                (descriptor.expect("it is never closed"), listener.accept().await)
            };
            let (descriptor, accepted) = tokio::select! {
                () = stop.cancelled() => return,
                accepted = accepting => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    pause = ACCEPT_PAUSE_MIN;
                    let connection = serve(Arc::clone(&self.hall), stream, from, descriptor);
                    tasks.spawn(stop.clone().run_until_cancelled_owned(connection));
                }
                Err(error) => {
                    // Most likely no file descriptors are left. An immediate retry would spin.
                    self.hall.not_accepted(&error);
                    if stop.run_until_cancelled(sleep(pause)).await.is_none() {
                        return;
                    }
                    pause = (pause * 2).min(ACCEPT_PAUSE_MAX);
                }
            }
        }
    }
}

/// The slot of a pending handshake. Dropping it frees the slot.
struct Place<'a> {
    shared: &'a Shared,
    number: u64,
    cut: CancellationToken,
    _descriptor: OwnedSemaphorePermit,
}

impl<'a> Place<'a> {
    fn take(shared: &'a Shared, from: IpAddr, descriptor: OwnedSemaphorePermit) -> Self {
        let cut = CancellationToken::new();
        let number = shared.porch().enter(from, cut.clone(), Instant::now());
        Self { shared, number, cut, _descriptor: descriptor }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.porch().leave(self.number);
    }
}

async fn serve(
    hall: Arc<Hall>,
    stream: TcpStream,
    from: SocketAddr,
    descriptor: OwnedSemaphorePermit,
) {
    let place = Place::take(&hall.shared, from.ip(), descriptor);
    let greeted = tokio::select! {
        greeted = timeout(hall.shared.identity.timings.connect, hall.greet(stream)) => {
            greeted.unwrap_or(Err(Refusal::Slow))
        }
        () = place.cut.cancelled() => Err(Refusal::Busy),
    };
    drop(place);
    let (socket, hello) = match greeted {
        Ok(greeted) => greeted,
        Err(refusal) => return hall.refuse(from, &refusal),
    };
    hall.shared.porch().know(from.ip());
    let (number, replaced) = hall.make_current(&hello);
    if let Some(link) = hall.shared.links.link(hello.from) {
        // The peer is alive, so the dialer need not wait any longer.
        link.wake.notify_waiters();
    } else {
        let (peer, address) = (hello.from, hello.address.clone());
        (hall.shared.deliver)(Arrival::Met { peer, address });
    }
    let spoken = &hall.shared.links.spoken;
    let _agreed = spoken.agree(hello.from, hello.version);
    tokio::select! {
        () = replaced.cancelled() => {}
        () = spoken.forbidden(hello.version) => {
            tracing::warn!(
                peer = %hello.from, protocol = hello.version.numbers().0,
                "closed a peer's connection: its release does not know the rules of this cluster"
            );
        }
        end = hall.receive_all(socket, &hello) => {
            tracing::debug!(peer = %hello.from, lane = ?hello.lane, "a peer's connection ended: {end}");
        }
    }
    hall.leave(&hello, number);
}

impl Hall {
    /// Counts a refused connection. Logs it unless another was logged a moment ago.
    fn refuse(&self, from: SocketAddr, refusal: &Refusal) {
        count(&self.shared.links.refused, refusal);
        if self.may_log() {
            tracing::warn!(%from, reason = refusal.code(), "refused a connection: {refusal}");
        }
    }

    fn not_accepted(&self, error: &std::io::Error) {
        let labels = RefusedLabels { reason: "not_accepted" };
        let _: u64 = Counter::inc(&self.shared.links.refused.get_or_create(&labels));
        if self.may_log() {
            tracing::error!("cannot accept a connection from a peer: {error}");
        }
    }

    /// Whether the last log line about a refused connection is old enough.
    fn may_log(&self) -> bool {
        let mut last = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| last.elapsed() >= LOG_PAUSE);
        if may {
            *last = Some(Instant::now());
        }
        may
    }

    /// Runs the acceptor's side of the [`super::handshake`].
    async fn greet(&self, stream: TcpStream) -> Result<(Socket, Hello), Refusal> {
        let garbage = |error: &dyn std::fmt::Display| Refusal::Garbage(error.to_string());
        let identity = &self.shared.identity;
        tune(&stream).map_err(|error| garbage(&error))?;
        let stream = match &identity.tls {
            None => Either::Left(stream),
            Some(tls) => {
                tls.accept(stream).await.map_err(|error| Refusal::Tls(error.to_string()))?
            }
        };
        let mut socket = self.open(stream).await?;
        let checked = match next_binary(&mut socket).await {
            Ok(bytes) => {
                Hello::decode(&bytes).and_then(|hello| self.check(hello, socket.get_ref()))
            }
            Err(refusal) => Err(refusal),
        };
        let hello = match checked {
            Ok(hello) => hello,
            Err(refusal) => {
                return Err(tell(socket, &Challenge::Refused(refusal.clone()), refusal).await);
            }
        };
        let (own, secret) = (nonce(), &identity.secret);
        let proof = secret.prove(Side::Acceptor, &hello, &own);
        send(&mut socket, &Challenge::Prove { nonce: own, proof }).await?;
        let answer: Answer =
            codec::decode(&next_binary(&mut socket).await?).map_err(|error| garbage(&error))?;
        if !secret.accepts(Side::Dialer, &hello, &own, answer.proof.as_ref()) {
            let refusal = Refusal::Proof(hello.from);
            return Err(tell(socket, &Verdict::Refused(refusal.clone()), refusal).await);
        }
        let met = if self.has_room(hello.from) {
            self.known.meet(&hello).await
        } else {
            Err(Refusal::Busy)
        };
        if let Err(refusal) = met {
            return Err(tell(socket, &Verdict::Refused(refusal.clone()), refusal).await);
        }
        send(&mut socket, &Verdict::Welcome).await?;
        // The dialer sends nothing before it receives Welcome, so no byte of a message is lost with
        // the old socket's buffer. From here on frames may be large.
        let config = frame::websocket(frame::max_bytes(hello.lane));
        let stream = socket.into_inner();
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        Ok((socket, hello))
    }

    /// Opens a WebSocket if the [`Door`] accepts the request.
    #[expect(clippy::result_large_err, reason = "the WebSocket layer wants it so")]
    async fn open(&self, stream: Stream) -> Result<Socket, Refusal> {
        let mut refused = None;
        let ask = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            self.door.check(request).map(|()| response).map_err(|refusal| {
                let answer = door::answer(&refusal);
                refused = Some(refusal);
                answer
            })
        };
        let config = frame::websocket(frame::MAX_GREETING_BYTES);
        let opened = accept_hdr_async_with_config(stream, ask, Some(config)).await;
        opened
            .map_err(|error: Error| refused.unwrap_or_else(|| Refusal::Garbage(error.to_string())))
    }

    fn check(&self, hello: Hello, stream: &Stream) -> Result<Hello, Refusal> {
        let Identity { cluster_id, id, lease, tls, .. } = &self.shared.identity;
        let spoken = &self.shared.links.spoken;
        if !spoken.admits(hello.version) {
            let theirs = Version::words(hello.version.numbers());
            return Err(Refusal::Version { theirs, ours: spoken.range() });
        }
        if hello.cluster_id != *cluster_id {
            return Err(Refusal::Cluster { from: hello.from, theirs: hello.cluster_id });
        }
        if hello.to != *id {
            let (from, wanted, actual) = (hello.from, hello.to, *id);
            return Err(Refusal::WrongServer { from, wanted, actual });
        }
        if hello.from == *id || hello.from == NodeId::ENVIRONMENT {
            return Err(Refusal::SameNumber(hello.from));
        }
        if tls.as_ref().is_some_and(|tls| !tls.names(stream, hello.from)) {
            return Err(Refusal::Certificate(hello.from));
        }
        if hello.lease != *lease {
            return Err(Refusal::Lease(hello.from));
        }
        Ok(hello)
    }

    /// Whether another server may connect. Members may always connect, other servers up to a limit.
    fn has_room(&self, peer: NodeId) -> bool {
        let current = self.current();
        let others: BTreeSet<NodeId> = current.keys().map(|(other, _)| *other).collect();
        others.contains(&peer) || others.len() < MAX_PEERS || self.known.is_listed(peer)
    }

    fn current(&self) -> MutexGuard<'_, BTreeMap<(NodeId, Lane), Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes this the current connection; an older one of the same peer and lane ends.
    fn make_current(&self, hello: &Hello) -> (u64, CancellationToken) {
        let mut current = self.current();
        let key = (hello.from, hello.lane);
        let number = current.get(&key).map_or(0, |old| old.number + 1);
        let replaced = CancellationToken::new();
        let new = Current { number, replaced: replaced.clone() };
        if let Some(old) = current.insert(key, new) {
            old.replaced.cancel();
        }
        (number, replaced)
    }

    /// Removes an ended connection, unless a newer connection has replaced it.
    fn leave(&self, hello: &Hello, number: u64) {
        let mut current = self.current();
        let key = (hello.from, hello.lane);
        if current.get(&key).is_some_and(|it| it.number == number) {
            current.remove(&key);
        }
    }

    /// Passes on what arrives until the connection ends; returns the reason.
    async fn receive_all(&self, mut socket: Socket, hello: &Hello) -> String {
        let most = max_undelivered(hello.lane);
        let room = Arc::new(Semaphore::new(most as usize));
        let mut ages = Ages::new(Instant::now());
        // The age of the next frame when its stamp arrived, and the time of that arrival.
        let mut stamped = None;
        loop {
            let bytes = match timeout(IDLE_TIMEOUT, socket.next()).await {
                Err(_) => return format!("no data arrived for {IDLE_TIMEOUT:?}"),
                Ok(None | Some(Ok(Frame::Close(_)))) => return "closed".to_owned(),
                Ok(Some(Err(error))) => return error.to_string(),
                Ok(Some(Ok(Frame::Binary(bytes)))) => bytes,
                Ok(Some(Ok(Frame::Pong(stamp)))) => {
                    if let Ok(stamp) = <[u8; 8]>::try_from(&stamp[..]) {
                        let now = Instant::now();
                        stamped = Some((ages.age(u64::from_le_bytes(stamp), now), now));
                    }
                    continue;
                }
                Ok(Some(Ok(Frame::Ping(_)))) => continue,
                Ok(Some(Ok(Frame::Text(_) | Frame::Frame(_)))) => {
                    return self.expel(hello, "a frame that is not binary");
                }
            };
            let came_in = Instant::now();
            let age = stamped.take().map_or(Duration::ZERO, |(age, at): (Duration, Instant)| {
                age + came_in.saturating_duration_since(at)
            });
            let messages = match frame::decode(&bytes) {
                Err(error) => return self.expel(hello, &error.to_string()),
                Ok(messages) => messages,
            };
            if let Some(forged) = messages.iter().find(|m| m.from != hello.from || m.to != hello.to)
            {
                let what = format!("a message from {} to {}", forged.from, forged.to);
                return self.expel(hello, &what);
            }
            if messages.iter().any(|message| !hello.version.knows(&message.body)) {
                return self.expel(hello, "a message that its protocol does not have");
            }
            let links = &self.shared.links;
            let messages = self.without_stale(messages, age);
            if links.faults.as_ref().is_some_and(|it| it.is_cut_from(hello.from)) {
                continue;
            }
            if let Some(link) = links.link(hello.from) {
                link.count_received(bytes.len());
            }
            let bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(most);
            let permit = Arc::clone(&room).acquire_many_owned(bytes).await;
            let permit = permit.expect("it is never closed");
            let delivery = Delivery { messages, age, came_in, _permit: permit };
            (self.shared.deliver)(Arrival::Messages(delivery));
        }
    }

    /// Drops messages that were in transit for longer than their sender waits. A late heartbeat
    /// must not support a leader that has stepped down since.
    fn without_stale(&self, mut messages: Vec<Message>, age: Duration) -> Vec<Message> {
        if age > self.shared.identity.timings.stale_after {
            let all = messages.len();
            messages.retain(|message| !goes_stale(&message.body));
            let _: u64 = self.shared.links.stale.inc_by((all - messages.len()) as u64);
        }
        messages
    }

    /// Counts and logs invalid data from an authenticated peer, which is broken or hostile.
    fn expel(&self, hello: &Hello, what: &str) -> String {
        count(&self.shared.links.refused, &Refusal::Garbage(String::new()));
        if self.may_log() {
            tracing::warn!(
                peer = %hello.from, "closed a peer's connection: {}", what.escape_debug()
            );
        }
        what.to_owned()
    }
}

async fn next_binary(socket: &mut Socket) -> Result<bytes::Bytes, Refusal> {
    match socket.next().await {
        Some(Ok(Frame::Binary(bytes))) => Ok(bytes),
        Some(Err(error)) => Err(Refusal::Garbage(error.to_string())),
        Some(Ok(
            Frame::Text(_) | Frame::Ping(_) | Frame::Pong(_) | Frame::Close(_) | Frame::Frame(_),
        ))
        | None => Err(Refusal::Garbage("no binary frame".to_owned())),
    }
}

async fn send<T: serde::Serialize>(socket: &mut Socket, word: &T) -> Result<(), Refusal> {
    let frame = Frame::binary(codec::encode(word));
    socket.send(frame).await.map_err(|error| Refusal::Garbage(error.to_string()))
}

/// Sends the dialer the reason of its refusal, for its log. Failures are ignored.
async fn tell<T: serde::Serialize>(mut socket: Socket, word: &T, refusal: Refusal) -> Refusal {
    if send(&mut socket, word).await.is_ok() {
        let _closed = socket.close(None).await;
    }
    refusal
}
