//! What an established connection sends: frames, large ones in pieces, and measurements of the
//! path.
//!
//! - Pings accompany the data. Their answers confirm bulk data for [`Pace`], measure the round
//!   trip, and show that the peer is alive. Without an answer the sender reconnects, sooner than
//!   TCP would notice.
//! - An unsolicited pong precedes each frame (RFC 6455, section 5.5.3). It carries the time at
//!   which the frame's first message was queued. The receiver computes the frame's age from it
//!   ([`super::age`]).

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::Frame as RawFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message as Frame};

use super::dialer::{Dialer, LinkError, Made, Socket};
use super::frame;
use super::handshake::Refusal;
use super::limits::{PING_INTERVAL, WRITE_TIMEOUT};
use super::outbox::{Batch, Queue};
use super::pace::Pace;
use super::{Lane, Version};

/// A round trip that takes this many times as long as the last one counts as silence.
const SILENT_ROUND_TRIPS: u32 = 4;

/// The minimum time between two checks whether a ping is due.
const MIN_TICK: Duration = Duration::from_millis(20);

/// The sender of one established connection.
pub(super) struct Sending<'a> {
    dialer: &'a Dialer,
    socket: Socket,
    version: Version,
    /// The control queue, if the connection must send it too.
    urgent: Option<&'a Queue>,
    /// The rest of the frame that is being sent.
    rest: Bytes,
    /// The stamp of that frame, until its first piece is sent.
    stamp: Option<Instant>,
    /// Only on bulk lanes.
    pace: Option<Pace>,
    round_trip: Duration,
    pinged_at: Instant,
    /// Since when a ping is unanswered.
    unanswered: Option<Instant>,
    /// Whether anything was sent since the last ping.
    active: bool,
}

impl<'a> Sending<'a> {
    pub(super) fn new(dialer: &'a Dialer, made: Made) -> Self {
        let Made { socket, version, round_trip } = made;
        let now = Instant::now();
        let urgent = dialer.urgent.as_deref().filter(|_| !version.has(Lane::Control));
        let target = dialer.shared.identity.timings.heartbeat / 2;
        let pace = (dialer.lane != Lane::Control).then(|| Pace::new(target, now));
        Self {
            dialer,
            socket,
            version,
            urgent,
            rest: Bytes::new(),
            stamp: None,
            pace,
            round_trip,
            pinged_at: now,
            unanswered: None,
            active: false,
        }
    }

    /// Sends until the connection breaks; returns the reason.
    pub(super) async fn run(mut self) -> LinkError {
        let heartbeat = self.dialer.shared.identity.timings.heartbeat;
        let mut ticks = interval(heartbeat.clamp(MIN_TICK, PING_INTERVAL));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        if let Err(error) = self.open().await {
            return error;
        }
        loop {
            let done = tokio::select! {
                biased;
                heard = self.socket.next() => self.hear(heard),
                () = filled(&self.dialer.queue, self.urgent), if self.rest.is_empty() => {
                    self.begin();
                    Ok(())
                }
                _ = ticks.tick() => self.tick().await,
            };
            if let Err(error) = done {
                return error;
            }
            if let Err(error) = self.advance().await {
                return error;
            }
        }
    }

    /// Sends a stamp and a ping, from which both sides learn the delay of the idle path.
    async fn open(&mut self) -> Result<(), LinkError> {
        let stamp = self.stamp_of(Instant::now());
        self.feed(stamp).await?;
        self.ping().await
    }

    /// Takes the next batch and encodes it as the current frame.
    fn begin(&mut self) {
        if let Some(mut batch) = self.take() {
            batch.messages.retain(|message| self.version.knows(&message.body));
            if batch.messages.is_empty() {
                return;
            }
            self.rest = frame::encode(&batch.messages);
            self.stamp = Some(batch.since);
            self.dialer.link.count_sent(self.rest.len());
        }
    }

    /// Takes the next batch, control messages first.
    fn take(&self) -> Option<Batch> {
        self.urgent.and_then(Queue::take).or_else(|| self.dialer.queue.take())
    }

    /// Sends as much of the current frame as the pace allows.
    async fn advance(&mut self) -> Result<(), LinkError> {
        while !self.rest.is_empty() {
            let left = self.rest.len();
            let piece = self.pace.as_mut().map_or(left, |pace| pace.piece(left));
            if piece == 0 {
                if self.pace.as_ref().is_some_and(Pace::owes_ping) {
                    self.ping().await?;
                }
                return Ok(());
            }
            let mut kind = Data::Continue;
            if let Some(since) = self.stamp.take() {
                let stamp = self.stamp_of(since);
                self.feed(stamp).await?;
                kind = Data::Binary;
            }
            let piece = self.rest.split_to(piece);
            let bytes = piece.len();
            let raw = RawFrame::message(piece, OpCode::Data(kind), self.rest.is_empty());
            self.feed(Frame::Frame(raw)).await?;
            self.active = true;
            if self.pace.as_mut().is_some_and(|pace| pace.sent(bytes)) {
                self.ping().await?;
            } else {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Pings the peer from time to time, and fails if an answer is overdue.
    async fn tick(&mut self) -> Result<(), LinkError> {
        let spoken = &self.dialer.shared.links.spoken;
        if self.version < Version::NEWEST && spoken.stands(self.dialer.peer, Version::NEWEST) {
            return Err(LinkError::Outdated);
        }
        if let Some(since) = self.unanswered {
            let timings = &self.dialer.shared.identity.timings;
            let most = timings.silence(self.dialer.lane).max(SILENT_ROUND_TRIPS * self.round_trip);
            return if since.elapsed() > most { Err(LinkError::Silent(most)) } else { Ok(()) };
        }
        if self.active || self.pinged_at.elapsed() >= PING_INTERVAL {
            self.ping().await?;
        }
        Ok(())
    }

    async fn ping(&mut self) -> Result<(), LinkError> {
        let now = Instant::now();
        let number = self.pace.as_mut().map_or(0, Pace::ping);
        let mut payload = Vec::with_capacity(16);
        payload.extend(self.micros(now).to_le_bytes());
        payload.extend(number.to_le_bytes());
        self.pinged_at = now;
        self.unanswered.get_or_insert(now);
        self.active = false;
        self.feed(Frame::Ping(payload.into())).await?;
        self.flush().await
    }

    /// Handles a frame from the peer, which sends only pongs on this connection.
    fn hear(&mut self, heard: Option<tungstenite::Result<Frame>>) -> Result<(), LinkError> {
        match heard {
            None | Some(Ok(Frame::Close(_))) => Err(LinkError::Closed),
            Some(Err(error)) => Err(error.into()),
            Some(Ok(Frame::Pong(payload))) => {
                self.answered(&payload);
                Ok(())
            }
            Some(Ok(Frame::Text(_) | Frame::Binary(_) | Frame::Ping(_) | Frame::Frame(_))) => {
                let what = "data in the wrong direction of a connection";
                Err(LinkError::RefusedByUs(Refusal::Garbage(what.to_owned())))
            }
        }
    }

    fn answered(&mut self, payload: &[u8]) {
        let Some((sent, number)) = payload.split_first_chunk::<8>() else { return };
        let Ok(number) = <[u8; 8]>::try_from(number) else { return };
        let (sent, number) = (u64::from_le_bytes(*sent), u64::from_le_bytes(number));
        let now = Instant::now();
        self.round_trip = Duration::from_micros(self.micros(now).saturating_sub(sent));
        if let Some(pace) = &mut self.pace {
            pace.confirmed(number, self.round_trip, now);
        } else {
            self.dialer.link.set_round_trip(self.round_trip);
        }
        // The answer to the last ping also answers the pings before it.
        self.unanswered = (sent < self.micros(self.pinged_at)).then_some(now);
    }

    /// Creates the frame that tells when the next frame's first message was queued.
    fn stamp_of(&self, since: Instant) -> Frame {
        let stamp = self.micros(since).to_le_bytes();
        Frame::Frame(RawFrame::pong(Bytes::copy_from_slice(&stamp)))
    }

    /// The time on this server's clock as its peers see it, in µs.
    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.dialer.shared.started);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    async fn feed(&mut self, frame: Frame) -> Result<(), LinkError> {
        write_in_time(self.socket.feed(frame)).await
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        write_in_time(self.socket.flush()).await
    }
}

/// Waits until one of the queues has a message.
async fn filled(queue: &Queue, urgent: Option<&Queue>) {
    match urgent {
        None => queue.ready().await,
        Some(urgent) => tokio::select! {
            () = urgent.ready() => {}
            () = queue.ready() => {}
        },
    }
}

async fn write_in_time(
    writing: impl Future<Output = tungstenite::Result<()>>,
) -> Result<(), LinkError> {
    Ok(timeout(WRITE_TIMEOUT, writing).await.map_err(|_| LinkError::WriteTimeout)??)
}
