//! The connection that this server makes to one peer, and the queue before it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use prometheus_client::metrics::counter::Counter;
use raft_core::codec;
use raft_core::message::Message;
use raft_core::types::NodeId;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::tungstenite::{self, Message as Frame};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::either::Either;

use super::handshake::{Answer, Challenge, Hello, Lane, Refusal, Side, Verdict, nonce};
use super::link::Link;
use super::outbox::Outbox;
use super::{
    CONNECT_TIMEOUT, IDLE_TIMEOUT, Identity, Known, PING_INTERVAL, Refused, RefusedLabels,
    WRITE_TIMEOUT, frame,
};
use crate::config::Address;
use crate::tls::Stream;

/// The pause after a failed attempt starts here …
const BACKOFF_MIN: Duration = Duration::from_millis(20);

/// … and doubles up to here.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<Stream>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot reach {0}: {1}")]
    Unreachable(Address, std::io::Error),
    #[error(
        "no encrypted connection to {0}, which must run with --peer-tls-cert too and show a \
         certificate that names it: {1}"
    )]
    Tls(Address, std::io::Error),
    #[error("no answer from {0} within {CONNECT_TIMEOUT:?}")]
    ConnectTimeout(Address),
    #[error("{0}")]
    WebSocket(#[from] tungstenite::Error),
    #[error("refused: {0}")]
    RefusedByPeer(Refusal),
    #[error("not trusted: {0}")]
    RefusedByUs(Refusal),
    #[error("a frame could not be sent within {WRITE_TIMEOUT:?}")]
    WriteTimeout,
    #[error("nothing was heard for {IDLE_TIMEOUT:?}")]
    Idle,
    #[error("the other side closed the connection")]
    Closed,
}

/// One peer, one lane.
pub(super) struct Dialer {
    pub(super) identity: Arc<Identity>,
    pub(super) known: Known,
    pub(super) peer: NodeId,
    pub(super) address: Address,
    pub(super) lane: Lane,
    pub(super) link: Arc<Link>,
    pub(super) refused: Refused,
}

/// The queue together with where it is filled from.
struct Inflow {
    receiver: mpsc::UnboundedReceiver<Message>,
    outbox: Outbox,
    link: Arc<Link>,
    lane: Lane,
}

impl Inflow {
    /// Takes whatever waits, so that the channel before the bounded queue stays short.
    fn take_waiting(&mut self) {
        while let Ok(message) = self.receiver.try_recv() {
            self.push(message);
        }
        self.report();
    }

    fn push(&mut self, message: Message) {
        self.link.count_dropped(self.outbox.push(message, Instant::now()));
    }

    fn report(&self) {
        if self.lane == Lane::Log {
            self.link.set_queue(self.outbox.len(), self.outbox.bytes());
        }
    }

    /// Keeps taking messages while something else is awaited.
    async fn fill(&mut self) {
        while let Some(message) = self.receiver.recv().await {
            self.push(message);
            self.take_waiting();
        }
        // The driver is gone; the server is about to end this task too.
        std::future::pending::<()>().await;
    }

    /// Waits until there is something to send.
    async fn ready(&mut self) {
        self.take_waiting();
        while self.outbox.is_empty() {
            match self.receiver.recv().await {
                Some(message) => self.push(message),
                None => std::future::pending().await,
            }
        }
    }

    /// Waits for something to send, and takes it.
    async fn next_batch(&mut self) -> Vec<Message> {
        loop {
            self.ready().await;
            self.take_waiting();
            let (batch, expired) = self.outbox.take_batch(Instant::now());
            self.link.count_dropped(expired);
            self.report();
            if !batch.is_empty() {
                return batch;
            }
        }
    }
}

impl Dialer {
    /// Connects, sends, and connects again, until the server ends.
    pub(super) async fn run(self, receiver: mpsc::UnboundedReceiver<Message>) {
        let outbox = Outbox::default();
        let mut inflow = Inflow { receiver, outbox, link: Arc::clone(&self.link), lane: self.lane };
        let mut backoff = BACKOFF_MIN;
        loop {
            if self.lane == Lane::Snapshot {
                // Rarely needed, so it is not kept for a day that may not come.
                inflow.ready().await;
            }
            let connected = tokio::select! {
                connected = self.connect() => connected,
                () = inflow.fill() => unreachable!("fill waits for ever"),
            };
            let error = match connected {
                Ok(socket) => {
                    backoff = BACKOFF_MIN;
                    self.note_up();
                    self.send_all(socket, &mut inflow).await
                }
                Err(error) => error,
            };
            self.note_down(&error);
            tokio::select! {
                () = sleep(jittered(backoff)) => {}
                () = self.link.wake.notified() => {}
                () = inflow.fill() => unreachable!("fill waits for ever"),
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    fn note_up(&self) {
        if self.lane == Lane::Log {
            self.link.came_up();
            tracing::info!(peer = %self.peer, address = %self.address, "connected");
        }
    }

    fn note_down(&self, error: &LinkError) {
        if let LinkError::RefusedByPeer(refusal) | LinkError::RefusedByUs(refusal) = error {
            count(&self.refused, refusal);
        }
        // The same error again and again is told once; status and metrics show that it goes on.
        if self.lane == Lane::Log && self.link.went_down(&error.to_string()) {
            tracing::warn!(peer = %self.peer, address = %self.address, "no connection: {error}");
        }
    }

    async fn connect(&self) -> Result<Socket, LinkError> {
        let attempt = async {
            let unreachable = |error| LinkError::Unreachable(self.address.clone(), error);
            let address = self.address.resolve().await.map_err(unreachable)?;
            let stream = TcpStream::connect(address).await.map_err(unreachable)?;
            // Batches are made by us; the system must not wait for more.
            stream.set_nodelay(true).map_err(unreachable)?;
            let stream = match &self.identity.tls {
                None => Either::Left(stream),
                Some(tls) => tls
                    .connect(stream, self.peer)
                    .await
                    .map_err(|error| LinkError::Tls(self.address.clone(), error))?,
            };
            let url = format!("ws://{}/raft", self.address);
            let config = frame::websocket(frame::MAX_GREETING_BYTES);
            let (socket, _) = client_async_with_config(url, stream, Some(config)).await?;
            self.greet(socket).await
        };
        timeout(CONNECT_TIMEOUT, attempt)
            .await
            .unwrap_or_else(|_| Err(LinkError::ConnectTimeout(self.address.clone())))
    }

    async fn greet(&self, mut socket: Socket) -> Result<Socket, LinkError> {
        let hello = Hello {
            cluster_id: self.identity.cluster_id.clone(),
            from: self.identity.id,
            to: self.peer,
            lane: self.lane,
            nonce: nonce(),
            address: self.identity.address.clone(),
            lease: self.identity.lease,
            storage: self.known.claim(),
            let_in: self.known.let_in(self.identity.id),
        };
        socket.send(Frame::binary(hello.encode())).await?;
        let (theirs, proof) = match receive(&mut socket).await? {
            Challenge::Prove { nonce, proof } => (nonce, proof),
            Challenge::Refused(refusal) => return Err(LinkError::RefusedByPeer(refusal)),
        };
        let secret = &self.identity.secret;
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

    /// Sends until the connection breaks; says why it did.
    async fn send_all(&self, socket: Socket, inflow: &mut Inflow) -> LinkError {
        let (mut sink, mut stream) = socket.split();
        let started = Instant::now();
        let mut ping = interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let sent = tokio::select! {
                batch = inflow.next_batch() => {
                    let bytes = frame::encode(&batch);
                    self.link.count_sent(bytes.len());
                    self.send(&mut sink, Frame::Binary(bytes), inflow).await
                }
                answer = stream.next() => self.hear(answer, started, &mut heard),
                _ = ping.tick() => {
                    if heard.elapsed() > IDLE_TIMEOUT {
                        return LinkError::Idle;
                    }
                    let stamp = started.elapsed().as_micros().to_le_bytes();
                    let frame = Frame::Ping(Bytes::copy_from_slice(&stamp));
                    self.send(&mut sink, frame, inflow).await
                }
            };
            if let Err(error) = sent {
                return error;
            }
        }
    }

    /// Sends one frame while the queue goes on filling.
    async fn send(
        &self,
        sink: &mut SplitSink<Socket, Frame>,
        frame: Frame,
        inflow: &mut Inflow,
    ) -> Result<(), LinkError> {
        tokio::select! {
            biased;
            sent = sink.send(frame) => Ok(sent?),
            () = sleep(WRITE_TIMEOUT) => Err(LinkError::WriteTimeout),
            () = inflow.fill() => unreachable!("fill waits for ever"),
        }
    }

    /// The peer says nothing on this connection but that it is there.
    fn hear(
        &self,
        answer: Option<<SplitStream<Socket> as futures_util::Stream>::Item>,
        started: Instant,
        heard: &mut Instant,
    ) -> Result<(), LinkError> {
        match answer {
            None | Some(Ok(Frame::Close(_))) => Err(LinkError::Closed),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(Frame::Pong(stamp))) => {
                *heard = Instant::now();
                if let Ok(stamp) = <[u8; 16]>::try_from(&stamp[..]) {
                    let sent = u128::from_le_bytes(stamp);
                    let micros = started.elapsed().as_micros().saturating_sub(sent);
                    let micros = u64::try_from(micros).unwrap_or(u64::MAX);
                    self.link.set_round_trip(Duration::from_micros(micros));
                }
                Ok(())
            }
            Some(Ok(Frame::Text(_) | Frame::Binary(_) | Frame::Ping(_) | Frame::Frame(_))) => {
                let what = "data on a connection that carries none this way";
                Err(LinkError::RefusedByUs(Refusal::Garbage(what.to_owned())))
            }
        }
    }
}

/// Receives one word of the handshake.
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

/// Between half of it and all of it, so that servers which lost each other together do not come
/// back together.
fn jittered(span: Duration) -> Duration {
    let draw = getrandom::u32().unwrap_or(u32::MAX);
    span.mul_f64(0.5 + 0.5 * f64::from(draw) / f64::from(u32::MAX))
}

/// Counts a refusal by its reason.
pub(super) fn count(refused: &Refused, refusal: &Refusal) {
    let labels = RefusedLabels { reason: refusal.code() };
    let _: u64 = Counter::inc(&refused.get_or_create(&labels));
}
