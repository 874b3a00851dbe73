//! What waits to be sent to one peer: bounded, and forgetful where the protocol repeats itself.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use raft_core::message::{Body, Message};

use super::frame;

/// Messages that wait for one peer at most.
const MAX_MESSAGES: usize = 1024;

/// Bytes that wait for one peer at most, unless a single message is larger. A leader has at most half
/// as much under way to a follower, so that nothing that it counts on is dropped.
const MAX_BYTES: usize = raft_core::config::PEER_QUEUE_BYTES;

/// A message that waited longer is not worth sending: its sender has long decided without it.
pub const MESSAGE_TTL: Duration = Duration::from_secs(1);

/// The queue to one peer on one lane.
///
/// When it is full the oldest message that its sender repeats by itself goes first: heartbeats,
/// AppendEntries and snapshot chunks. Votes and answers go only when nothing else is left. So a
/// dead or slow peer costs a bounded amount of memory and its own lag.
#[derive(Debug, Default)]
pub struct Outbox {
    queue: VecDeque<Queued>,
    bytes: usize,
}

#[derive(Debug)]
struct Queued {
    message: Message,
    bytes: usize,
    since: Instant,
}

impl Outbox {
    /// Adds a message; says how many others had to go.
    pub fn push(&mut self, message: Message, now: Instant) -> u64 {
        let bytes = frame::size(&message);
        self.queue.push_back(Queued { message, bytes, since: now });
        self.bytes += bytes;
        let mut dropped = 0;
        while self.queue.len() > 1 && (self.queue.len() > MAX_MESSAGES || self.bytes > MAX_BYTES) {
            let before_new = self.queue.len() - 1;
            let victim = self
                .queue
                .iter()
                .take(before_new)
                .position(|queued| is_repeated(&queued.message))
                .unwrap_or(0);
            self.remove(victim);
            dropped += 1;
        }
        dropped
    }

    /// The next messages that fit into one frame, in order; and how many were too old to send.
    pub fn take_batch(&mut self, now: Instant) -> (Vec<Message>, u64) {
        let (mut batch, mut batch_bytes, mut expired) = (Vec::new(), 0, 0);
        while let Some(next) = self.queue.front() {
            if now.saturating_duration_since(next.since) > MESSAGE_TTL {
                expired += 1;
            } else if batch.is_empty() || batch_bytes + next.bytes <= frame::BATCH_BYTES {
                batch_bytes += next.bytes;
                batch.push(next.message.clone());
            } else {
                break;
            }
            self.remove(0);
        }
        (batch, expired)
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
        self.bytes
    }

    fn remove(&mut self, position: usize) {
        let removed = self.queue.remove(position).expect("a position within the queue");
        self.bytes -= removed.bytes;
    }
}

/// Whether the sender sends such a message again by itself when it goes unanswered.
const fn is_repeated(message: &Message) -> bool {
    match message.body {
        Body::AppendEntries { .. } | Body::InstallSnapshot { .. } | Body::ReadIndex { .. } => true,
        Body::PreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::RequestVote { .. }
        | Body::RequestVoteReply { .. }
        | Body::AppendEntriesReply { .. }
        | Body::InstallSnapshotReply { .. }
        | Body::TimeoutNow
        | Body::ReadIndexReply { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raft_core::log::{Entry, Payload};
    use raft_core::types::{LogIndex, LogPosition, NodeId, Term};

    use super::*;

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

    fn drain(outbox: &mut Outbox, now: Instant) -> Vec<u64> {
        let mut all = Vec::new();
        loop {
            let (batch, _) = outbox.take_batch(now);
            if batch.is_empty() {
                return all;
            }
            all.extend(batch.iter().map(|message| message.seq));
        }
    }

    /// Guards memory while a peer is away (pitfall 40), and that a vote outlives any number of
    /// AppendEntries.
    #[test]
    fn a_full_queue_drops_the_oldest_message_that_is_repeated_anyway() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.push(vote(1), now);
        let dropped: u64 = (2..10_000).map(|seq| outbox.push(append(seq, 100), now)).sum();
        assert_eq!(outbox.len(), MAX_MESSAGES);
        assert_eq!(dropped, 9_999 - MAX_MESSAGES as u64);
        let left = drain(&mut outbox, now);
        assert_eq!(left[0], 1, "the vote is still there");
        assert_eq!(*left.last().expect("messages"), 9_999, "the newest is still there");
        assert_eq!(outbox.bytes(), 0);
    }

    /// Guards the bound in bytes, and that one message above it is still sent.
    #[test]
    fn large_messages_are_bounded_by_bytes() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for seq in 0..100 {
            outbox.push(append(seq, 1 << 20), now);
            assert!(outbox.bytes() <= MAX_BYTES);
        }
        outbox.push(append(100, 2 * MAX_BYTES), now);
        assert_eq!(drain(&mut outbox, now), [100]);
    }

    /// Guards the deadline of a message: what waited too long for a connection is not sent.
    #[test]
    fn old_messages_are_not_sent() {
        let (mut outbox, start) = (Outbox::default(), Instant::now());
        outbox.push(append(1, 10), start);
        let later = start + MESSAGE_TTL + Duration::from_millis(1);
        outbox.push(append(2, 10), later);
        let (batch, expired) = outbox.take_batch(later);
        assert_eq!(batch.iter().map(|message| message.seq).collect::<Vec<_>>(), [2]);
        assert_eq!(expired, 1);
    }

    /// Guards the size of a frame: large messages travel one by one, in order.
    #[test]
    fn a_batch_is_closed_when_it_is_full() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for seq in 0..4 {
            outbox.push(append(seq, frame::BATCH_BYTES / 2), now);
        }
        assert_eq!(outbox.take_batch(now).0.len(), 1);
        assert_eq!(drain(&mut outbox, now), [1, 2, 3]);
    }
}
