//! A voter that acknowledged a leader refuses other candidates for the minimum election timeout
//! (dissertation §6.4.1). Leases rely on this promise. A broken promise rarely leads to a stale
//! read, so the promise itself is judged.

#![expect(clippy::wildcard_enum_match_arm, reason = "few kinds of events concern a promise")]

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::event::{Event, EventKind, Fault};
use crate::message::Body;
use crate::types::{EventId, NodeId, Time};

/// The latest promise of each voter, by the voter's own clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises {
    given: BTreeMap<NodeId, Promise>,
    /// The heartbeat round of each message that a leader sent.
    rounds: BTreeMap<EventId, u64>,
    /// When each voter first received each round of each leader.
    heard: BTreeMap<(NodeId, NodeId), BTreeMap<u64, Time>>,
    /// The vote requests that a leader asked for (dissertation §3.10), and the events that they
    /// caused.
    transfers: BTreeSet<EventId>,
}

#[derive(Clone, Copy, Debug)]
struct Promise {
    leader: NodeId,
    at: Time,
}

impl Promises {
    /// Handles an event. Returns a description of the promise that the event breaks.
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
                // The reply may have waited for the disk, but the promise counts from the leader's
                // message.
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
                // The receipt is the cause of what the receiver does.
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
            // Promises across a restart or a clock jump are not judged here.
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
