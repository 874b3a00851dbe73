//! The queue of messages to one peer on one lane. Its size in bytes is limited, and it never drops
//! what the receiver needs first.
//!
//! Bulk messages (entries and snapshot chunks) keep their order. A bulk message that does not fit
//! is refused, because everything behind a gap would be useless. All other messages are small, and
//! for their receiver a newer one replaces an older one. If they do not fit, the oldest is dropped.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use raft_core::message::{Body, Message};
use tokio::sync::Notify;

use super::Lane;
use super::frame;
use super::limits::{MAX_BULK_BYTES, MAX_CONTROL_BYTES};
use super::link::Link;

/// The messages of one queue.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<Queued>,
    bulk_bytes: usize,
    control_bytes: usize,
    /// A message that goes stale is dropped after it waited this long.
    stale_after: Duration,
    /// Whether bulk was refused since the last batch was taken.
    full: bool,
}

/// What was lost when a message was queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// How many messages were dropped; 1 if the new message itself was refused.
    pub messages: u64,
    /// Whether a gap in the receiver's bulk messages begins here.
    pub gap: bool,
}

#[derive(Debug)]
struct Queued {
    message: Message,
    bytes: usize,
    since: Instant,
}

/// Messages that fit into one frame, in order.
#[derive(Debug)]
pub struct Batch {
    /// The messages; never empty.
    pub messages: Vec<Message>,
    /// When the first of them was queued.
    pub since: Instant,
}

impl Outbox {
    /// Creates an empty outbox that drops stale messages after `stale_after`.
    pub const fn new(stale_after: Duration) -> Self {
        Self { queue: VecDeque::new(), bulk_bytes: 0, control_bytes: 0, stale_after, full: false }
    }

    /// Adds a message and returns what was lost for it.
    pub fn push(&mut self, message: Message, now: Instant) -> Loss {
        let bytes = frame::size(&message);
        if is_bulk(&message.body) {
            if self.bulk_bytes > 0 && self.bulk_bytes + bytes > MAX_BULK_BYTES {
                let gap = !std::mem::replace(&mut self.full, true);
                return Loss { messages: 1, gap };
            }
            self.bulk_bytes += bytes;
        } else {
            self.control_bytes += bytes;
        }
        self.queue.push_back(Queued { message, bytes, since: now });
        let mut dropped = 0;
        while self.control_bytes > MAX_CONTROL_BYTES {
            let oldest = self.queue.iter().position(|queued| !is_bulk(&queued.message.body));
            self.remove(oldest.expect("they have bytes"));
            dropped += 1;
        }
        Loss { messages: dropped, gap: false }
    }

    /// Takes the next messages. Also returns how many stale messages were dropped.
    pub fn take_batch(&mut self, now: Instant) -> (Option<Batch>, u64) {
        let (mut messages, mut since, mut bytes, mut stale) = (Vec::new(), now, 0, 0);
        self.full = false;
        while let Some(next) = self.queue.front() {
            let waited = now.saturating_duration_since(next.since);
            if waited > self.stale_after && goes_stale(&next.message.body) {
                self.remove(0);
                stale += 1;
                continue;
            }
            if !messages.is_empty() && bytes + next.bytes > frame::BATCH_BYTES {
                break;
            }
            bytes += next.bytes;
            since = since.min(next.since);
            messages.push(self.remove(0));
        }
        let batch = (!messages.is_empty()).then_some(Batch { messages, since });
        (batch, stale)
    }

    /// Drops all bulk messages and returns their number. Earlier bulk is lost, so the receiver
    /// cannot use it.
    pub fn drop_bulk(&mut self) -> u64 {
        let before = self.queue.len();
        self.queue.retain(|queued| !is_bulk(&queued.message.body));
        self.bulk_bytes = 0;
        (before - self.queue.len()) as u64
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many bytes wait.
    pub const fn bytes(&self) -> usize {
        self.bulk_bytes + self.control_bytes
    }

    fn remove(&mut self, position: usize) -> Message {
        let removed = self.queue.remove(position).expect("a position within the queue");
        let bytes = if is_bulk(&removed.message.body) {
            &mut self.bulk_bytes
        } else {
            &mut self.control_bytes
        };
        *bytes -= removed.bytes;
        removed.message
    }
}

const fn is_bulk(body: &Body) -> bool {
    !matches!(Lane::of(body), Lane::Control)
}

/// Whether a message is useless after its sender has waited for an election timeout. Replies to a
/// leader stay useful: they report the progress of its follower.
pub(super) const fn goes_stale(body: &Body) -> bool {
    match body {
        Body::AppendEntries { .. } => !is_bulk(body),
        Body::PreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::RequestVote { .. }
        | Body::RequestVoteReply { .. }
        | Body::TimeoutNow
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. }
        // It stays true, but its sender repeats it or sends a newer one.
        | Body::StateDigest { .. } => true,
        Body::AppendEntriesReply { .. }
        | Body::InstallSnapshot { .. }
        | Body::InstallSnapshotReply { .. } => false,
    }
}

/// An outbox that the driver fills and a connection empties.
#[derive(Debug)]
pub(super) struct Queue {
    outbox: Mutex<Outbox>,
    filled: Notify,
    /// Whether there is a connection to send on.
    connected: AtomicBool,
    lane: Lane,
    link: Arc<Link>,
}

impl Queue {
    pub(super) fn new(lane: Lane, stale_after: Duration, link: Arc<Link>) -> Self {
        Self {
            outbox: Mutex::new(Outbox::new(stale_after)),
            filled: Notify::new(),
            connected: AtomicBool::new(false),
            lane,
            link,
        }
    }

    /// Adds a message. Without a connection, a bulk message replaces the waiting bulk: only the
    /// newest will be useful. Returns whether a gap begins in the peer's bulk messages.
    pub(super) fn push(&self, message: Message) -> bool {
        let mut outbox = self.lock();
        if is_bulk(&message.body) && !self.connected.load(Relaxed) {
            self.link.count_dropped(outbox.drop_bulk());
        }
        let loss = outbox.push(message, Instant::now());
        self.report(&outbox);
        drop(outbox);
        self.link.count_dropped(loss.messages);
        self.filled.notify_one();
        loss.gap
    }

    /// Waits until there is something to send.
    pub(super) async fn ready(&self) {
        while self.lock().is_empty() {
            self.filled.notified().await;
        }
    }

    /// Takes the next batch, if any.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut outbox = self.lock();
        let (batch, stale) = outbox.take_batch(Instant::now());
        self.report(&outbox);
        self.link.count_dropped(stale);
        batch
    }

    /// Records that the connection is established.
    pub(super) fn connected(&self) {
        self.connected.store(true, Relaxed);
    }

    /// Records that the connection is gone. Returns whether bulk messages may be lost with it.
    pub(super) fn disconnected(&self) -> bool {
        let was_connected = self.connected.swap(false, Relaxed);
        if was_connected {
            let mut outbox = self.lock();
            self.link.count_dropped(outbox.drop_bulk());
            self.report(&outbox);
        }
        was_connected && self.lane != Lane::Control
    }

    fn report(&self, outbox: &Outbox) {
        self.link.set_queue(self.lane, outbox.len(), outbox.bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raft_core::log::{Entry, Payload};
    use raft_core::message::AppendResult;
    use raft_core::types::{LogIndex, LogPosition, NodeId, Term};

    use super::*;

    const STALE: Duration = Duration::from_millis(300);

    fn message(seq: u64, body: Body) -> Message {
        Message { from: NodeId(1), to: NodeId(2), seq, term: Term(1), body }
    }

    fn append(seq: u64, value_bytes: usize) -> Message {
        let payload = Payload::Command(Bytes::from(vec![0; value_bytes]));
        let entries = vec![Entry { index: LogIndex(1), term: Term(1), payload }].into();
        let (prev_log, leader_commit) = (LogPosition::ZERO, LogIndex(0));
        message(seq, Body::AppendEntries { prev_log, entries, leader_commit, round: 0 })
    }

    fn vote(seq: u64) -> Message {
        message(seq, Body::RequestVoteReply { granted: true })
    }

    fn numbers(batch: Option<Batch>) -> Vec<u64> {
        batch.map_or(Vec::new(), |it| it.messages.iter().map(|message| message.seq).collect())
    }

    fn drain(outbox: &mut Outbox, now: Instant) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            let batch = numbers(outbox.take_batch(now).0);
            if batch.is_empty() {
                return all;
            }
            all.extend(batch);
        }
    }

    /// Guards against sending everything twice: bulk messages that do not fit are refused. What the
    /// receiver needs first stays, in order.
    #[test]
    fn a_full_queue_refuses_bulk_and_keeps_what_is_needed_first() {
        let (mut outbox, now) = (Outbox::new(STALE), Instant::now());
        let losses: Vec<_> = (0..100).map(|seq| outbox.push(append(seq, 1 << 20), now)).collect();
        let refused: u64 = losses.iter().map(|loss| loss.messages).sum();
        assert_eq!(losses.iter().filter(|loss| loss.gap).count(), 1, "it is told once");
        assert!(outbox.bytes() <= MAX_BULK_BYTES);
        let taken = 100 - refused;
        assert_eq!(taken, MAX_BULK_BYTES as u64 / (1 << 20) - 1, "the envelope takes some room");
        assert_eq!(drain(&mut outbox, now), (0..taken).collect::<Vec<_>>());
        let none = Loss::default();
        assert_eq!(outbox.push(append(100, 2 * MAX_BULK_BYTES), now), none, "one always fits");
        assert_eq!(outbox.push(append(101, 1), now), Loss { messages: 1, gap: true });
        assert_eq!(drain(&mut outbox, now), [100]);
        assert_eq!(outbox.bytes(), 0);
    }

    /// Guards memory while a peer is unreachable (pitfall 40): the newest small messages stay.
    #[test]
    fn a_full_queue_drops_the_oldest_of_the_small_messages() {
        let (mut outbox, now) = (Outbox::new(STALE), Instant::now());
        outbox.push(append(1, 100), now);
        let dropped: u64 = (2..100_000).map(|seq| outbox.push(vote(seq), now).messages).sum();
        assert!(outbox.bytes() <= MAX_CONTROL_BYTES + 1000);
        assert_eq!(dropped + outbox.len() as u64, 99_999);
        let left = drain(&mut outbox, now);
        assert_eq!(left[0], 1, "the entries are still there");
        assert_eq!(*left.last().expect("messages"), 99_999, "the newest is still there");
        assert_eq!(outbox.bytes(), 0);
    }

    /// Guards slow connections: entries wait as long as necessary, but stale votes are dropped.
    #[test]
    fn only_what_is_stale_is_not_sent() {
        let (mut outbox, start) = (Outbox::new(STALE), Instant::now());
        outbox.push(append(1, 10), start);
        outbox.push(vote(2), start);
        let result = AppendResult::Accepted { match_index: LogIndex(1) };
        outbox.push(message(3, Body::AppendEntriesReply { round: 1, result }), start);
        let later = start + Duration::from_mins(1);
        outbox.push(vote(4), later);
        let (batch, stale) = outbox.take_batch(later);
        assert_eq!(batch.as_ref().expect("a batch").since, start);
        assert_eq!((numbers(batch), stale), (vec![1, 3, 4], 1));
    }

    /// Guards the size of a frame: large messages are sent one by one, in order.
    #[test]
    fn a_batch_is_closed_when_it_is_full() {
        let (mut outbox, now) = (Outbox::new(STALE), Instant::now());
        for seq in 0..4 {
            outbox.push(append(seq, frame::BATCH_BYTES / 2), now);
        }
        assert_eq!(numbers(outbox.take_batch(now).0), [0]);
        assert_eq!(drain(&mut outbox, now), [1, 2, 3]);
    }

    /// Guards the queue to an unreachable peer: only the newest bulk message waits, and none that
    /// would follow a gap.
    #[test]
    fn without_a_connection_only_the_newest_bulk_waits() {
        let link = Arc::new(Link::default());
        let queue = Queue::new(Lane::Log, STALE, Arc::clone(&link));
        queue.push(append(1, 10));
        queue.push(append(2, 10));
        assert_eq!(numbers(queue.take()), [2]);
        queue.connected();
        queue.push(append(3, 10));
        queue.push(append(4, 10));
        queue.push(vote(5));
        assert!(queue.disconnected());
        assert!(!queue.disconnected(), "it is told once");
        assert_eq!(numbers(queue.take()), [5]);
        assert_eq!(link.state().dropped, 3);
    }
}
