//! A voter that has acknowledged a leader refuses other candidates for the shortest election
//! timeout (dissertation §6.4.1). Leases rest on it; a stale read is only its rarest consequence, so
//! the promise itself is judged.

#![expect(clippy::wildcard_enum_match_arm, reason = "few kinds of events concern a promise")]

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::event::{Event, EventKind, Fault};
use crate::message::Body;
use crate::types::{EventId, NodeId, Time};

/// Each voter's latest promise, by its own clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises {
    given: BTreeMap<NodeId, Promise>,
    /// The heartbeat round of each message of a leader that is on its way.
    rounds: BTreeMap<EventId, u64>,
    /// When each voter first heard each round of each leader.
    heard: BTreeMap<(NodeId, NodeId), BTreeMap<u64, Time>>,
    /// The requests for votes that a leader asked for itself (dissertation §3.10), and what they led
    /// to.
    transfers: BTreeSet<EventId>,
}

#[derive(Clone, Copy, Debug)]
struct Promise {
    leader: NodeId,
    at: Time,
}

impl Promises {
    /// Takes in an event. Gives the promise that it breaks, in words.
    pub(super) fn observe(&mut self, config: &Config, event: &Event) -> Result<(), String> {
        let node = event.id.node;
        if event.cause.is_some_and(|cause| self.transfers.contains(&cause)) {
            self.transfers.insert(event.id);
        }
        match &event.kind {
            EventKind::MessageSent(message) => match message.body {
                Body::AppendEntries { round, .. } | Body::InstallSnapshot { round, .. } => {
                    self.rounds.insert(event.id, round);
                }
                // The answer may have waited for the disk; the promise counts from the question.
                Body::AppendEntriesReply { round, .. }
                | Body::InstallSnapshotReply { round, .. }
                    if round != Body::NO_ROUND =>
                {
                    let heard = self.heard.get(&(node, message.to));
                    if let Some(at) = heard.and_then(|rounds| rounds.get(&round)) {
                        self.given.insert(node, Promise { leader: message.to, at: *at });
                    }
                }
                Body::RequestVote { transfer: true, .. } => {
                    self.transfers.insert(event.id);
                }
                _ => {}
            },
            EventKind::MessageReceived { message, .. } => {
                // What its receiver does is caused by the receipt.
                if self.transfers.contains(message) {
                    self.transfers.insert(event.id);
                }
                if let Some(round) = self.rounds.get(message) {
                    let heard = self.heard.entry((node, message.node)).or_default();
                    heard.entry(*round).or_insert(event.time);
                }
            }
            EventKind::VoteGranted { candidate, pre: false, term } if *candidate != node => {
                let asked_for = event.cause.is_some_and(|cause| self.transfers.contains(&cause));
                if let Some(promise) = self.given.get(&node)
                    && config.lease_reads
                    && !asked_for
                    && promise.leader != *candidate
                    && event.time < promise.at.after(config.election_timeout_min)
                {
                    return Err(format!(
                        "{node} votes for {candidate} in {term} at {}, though it acknowledged \
                         {} at {}",
                        event.time, promise.leader, promise.at
                    ));
                }
            }
            // What a server remembers over a restart is another matter, as is a clock that jumps.
            EventKind::Crashed => {
                self.given.remove(&node);
            }
            EventKind::Fault(Fault::ClockSet { node, .. }) => {
                self.given.remove(node);
            }
            _ => {}
        }
        Ok(())
    }
}
