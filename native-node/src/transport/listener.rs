//! The connections that other servers make to this one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use raft_core::codec;
use raft_core::message::Message;
use raft_core::types::NodeId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dialer::count;
use super::handshake::{Answer, Challenge, Hello, Lane, Refusal, Side, Verdict, nonce};
use super::{CONNECT_TIMEOUT, IDLE_TIMEOUT, Identity, Known, Links, frame};
use crate::config::Address;
use crate::tls::Stream;

/// Connections in the middle of their handshake, at most.
const MAX_HANDSHAKES: usize = 64;

/// Bytes of one connection that the driver has not worked off yet, at most and beside one frame;
/// then the connection is not read, and the other side notices by TCP's means.
const MAX_UNDELIVERED: u32 = 32 << 20;

/// At most one log line about refused connections in this time.
const LOG_PAUSE: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<Stream>;

/// Messages of one frame. Dropping it makes room for another of the same connection.
#[derive(Debug)]
pub struct Delivery {
    /// The messages, all from the server at the other end.
    pub messages: Vec<Message>,
    _permit: OwnedSemaphorePermit,
}

/// What the driver hears of from connections.
#[derive(Debug)]
pub enum Arrival {
    /// Messages of one frame.
    Messages(Delivery),
    /// A server came in that this one has no address of: a member that was added while this server
    /// was away, perhaps even the leader (§6), or one that is to be added.
    Met {
        /// Which.
        peer: NodeId,
        /// Where it says that it is found.
        address: Address,
    },
}

/// Accepts connections and hands on what arrives.
pub(super) struct Acceptor<F> {
    shared: Arc<Shared<F>>,
}

struct Shared<F> {
    identity: Arc<Identity>,
    known: Known,
    links: Links,
    deliver: F,
    handshakes: Arc<Semaphore>,
    /// The connection that counts for each peer and lane: the newest. The lock is held for a
    /// look-up only.
    current: Mutex<BTreeMap<(NodeId, Lane), CancellationToken>>,
    last_line: Mutex<Option<Instant>>,
}

impl<F: Fn(Arrival) + Send + Sync + 'static> Acceptor<F> {
    pub(super) fn new(identity: Arc<Identity>, known: Known, links: Links, deliver: F) -> Self {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        let (current, last_line) = Default::default();
        let shared = Shared { identity, known, links, deliver, handshakes, current, last_line };
        Self { shared: Arc::new(shared) }
    }

    /// Accepts until told to stop.
    pub(super) async fn run(
        self,
        listener: TcpListener,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    let connection = serve(Arc::clone(&self.shared), stream, from);
                    tasks.spawn(stop.clone().run_until_cancelled_owned(connection));
                }
                Err(error) => {
                    // Out of file descriptors, most likely: accepting again at once would spin.
                    tracing::error!("cannot accept a connection from a peer: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve<F: Fn(Arrival)>(shared: Arc<Shared<F>>, stream: TcpStream, from: SocketAddr) {
    let Ok(permit) = Arc::clone(&shared.handshakes).try_acquire_owned() else {
        shared.refuse(from, &Refusal::Busy);
        return;
    };
    let greeted = timeout(CONNECT_TIMEOUT, shared.greet(stream)).await;
    drop(permit);
    let (socket, hello) = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(refusal)) => return shared.refuse(from, &refusal),
        Err(_) => return shared.refuse(from, &Refusal::Slow),
    };
    let replaced = shared.make_current(&hello);
    if let Some(link) = shared.links.link(hello.from) {
        // It is there, so the connection to it can be made without waiting longer.
        link.wake.notify_waiters();
    } else {
        let (peer, address) = (hello.from, hello.address.clone());
        (shared.deliver)(Arrival::Met { peer, address });
    }
    tokio::select! {
        () = replaced.cancelled() => {}
        end = shared.receive_all(socket, &hello) => {
            replaced.cancel();
            tracing::debug!(peer = %hello.from, lane = ?hello.lane, "a peer's connection ended: {end}");
        }
    }
}

impl<F: Fn(Arrival)> Shared<F> {
    /// Counts a refused connection, and logs it unless that was done a moment ago.
    fn refuse(&self, from: SocketAddr, refusal: &Refusal) {
        count(&self.links.refused, refusal);
        let mut last = self.last_line.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= LOG_PAUSE) {
            *last = Some(Instant::now());
            tracing::warn!(%from, reason = refusal.code(), "refused a connection: {refusal}");
        }
    }

    /// The handshake; see [`super::handshake`].
    async fn greet(&self, stream: TcpStream) -> Result<(Socket, Hello), Refusal> {
        let garbage = |error: &dyn std::fmt::Display| Refusal::Garbage(error.to_string());
        stream.set_nodelay(true).map_err(|error| garbage(&error))?;
        let stream = match &self.identity.tls {
            None => Either::Left(stream),
            Some(tls) => {
                tls.accept(stream).await.map_err(|error| Refusal::Tls(error.to_string()))?
            }
        };
        let config = frame::websocket(frame::MAX_GREETING_BYTES);
        let mut socket = accept_async_with_config(stream, Some(config))
            .await
            .map_err(|error| garbage(&error))?;
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
        let (own, secret) = (nonce(), &self.identity.secret);
        let proof = secret.prove(Side::Acceptor, &hello, &own);
        send(&mut socket, &Challenge::Prove { nonce: own, proof }).await?;
        let answer: Answer =
            codec::decode(&next_binary(&mut socket).await?).map_err(|error| garbage(&error))?;
        if !secret.accepts(Side::Dialer, &hello, &own, answer.proof.as_ref()) {
            let refusal = Refusal::Proof(hello.from);
            return Err(tell(socket, &Verdict::Refused(refusal.clone()), refusal).await);
        }
        if let Err(refusal) = self.known.meet(&hello).await {
            return Err(tell(socket, &Verdict::Refused(refusal.clone()), refusal).await);
        }
        send(&mut socket, &Verdict::Welcome).await?;
        // Until it hears "welcome" the dialer sends nothing, so no byte of a message is lost with
        // the old socket's buffer; from here on frames may be large.
        let config = frame::websocket(frame::MAX_FRAME_BYTES);
        let stream = socket.into_inner();
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        Ok((socket, hello))
    }

    fn check(&self, hello: Hello, stream: &Stream) -> Result<Hello, Refusal> {
        let Identity { cluster_id, id, lease, tls, .. } = &*self.identity;
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

    /// Makes this the connection that counts; an older one of the same peer ends.
    fn make_current(&self, hello: &Hello) -> CancellationToken {
        let token = CancellationToken::new();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = current.insert((hello.from, hello.lane), token.clone()) {
            old.cancel();
        }
        token
    }

    /// Hands on what arrives until the connection ends; says why it did.
    async fn receive_all(&self, mut socket: Socket, hello: &Hello) -> String {
        let room = Arc::new(Semaphore::new(MAX_UNDELIVERED as usize));
        loop {
            let bytes = loop {
                match timeout(IDLE_TIMEOUT, socket.next()).await {
                    Err(_) => return format!("nothing was heard for {IDLE_TIMEOUT:?}"),
                    Ok(None | Some(Ok(Frame::Close(_)))) => return "closed".to_owned(),
                    Ok(Some(Err(error))) => return error.to_string(),
                    Ok(Some(Ok(Frame::Binary(bytes)))) => break bytes,
                    Ok(Some(Ok(Frame::Ping(_) | Frame::Pong(_)))) => {}
                    Ok(Some(Ok(Frame::Text(_) | Frame::Frame(_)))) => {
                        return self.expel(hello, "a frame that is not binary");
                    }
                }
            };
            match frame::decode(&bytes) {
                Err(error) => return self.expel(hello, &error.to_string()),
                Ok(messages) => {
                    if let Some(forged) =
                        messages.iter().find(|m| m.from != hello.from || m.to != hello.to)
                    {
                        let what = format!("a message from {} to {}", forged.from, forged.to);
                        return self.expel(hello, &what);
                    }
                    if self.links.faults.as_ref().is_some_and(|it| it.is_cut_from(hello.from)) {
                        continue;
                    }
                    if let Some(link) = self.links.link(hello.from) {
                        link.count_received(bytes.len());
                    }
                    let bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(MAX_UNDELIVERED);
                    let permit = Arc::clone(&room).acquire_many_owned(bytes).await;
                    let permit = permit.expect("it is never closed");
                    (self.deliver)(Arrival::Messages(Delivery { messages, _permit: permit }));
                }
            }
        }
    }

    /// A peer that proved who it is and then sends nonsense is broken or hostile.
    fn expel(&self, hello: &Hello, what: &str) -> String {
        count(&self.links.refused, &Refusal::Garbage(String::new()));
        tracing::warn!(peer = %hello.from, "cut a peer's connection: {}", what.escape_debug());
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

/// Tells the dialer why it is refused, for its log; whether that arrives does not matter.
async fn tell<T: serde::Serialize>(mut socket: Socket, word: &T, refusal: Refusal) -> Refusal {
    if send(&mut socket, word).await.is_ok() {
        let _closed = socket.close(None).await;
    }
    refusal
}
