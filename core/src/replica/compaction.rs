//! When to take a snapshot, and whose (§7): the own state's to shorten the log, the leader's to
//! catch up.

use bytes::Bytes;

use super::{Output, Replica};
use crate::event::{EventKind, SnapshotRefusal};
use crate::kv::{Snapshot, SnapshotBuilder};
use crate::message::{Cursor, SnapshotMeta};
use crate::node::ReceivedChunk;
use crate::types::{LogIndex, Micros, NodeId, SECOND, Time};

/// After a snapshot could not be saved the next attempt waits so long, in µs …
const RETRY_MIN: Micros = SECOND;

/// … then twice as long each time, up to this.
const RETRY_MAX: Micros = 300 * SECOND;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Compaction {
    /// The newest snapshot that is durable here. Not its state: that would keep everything that was
    /// replaced since.
    latest: SnapshotMeta,
    /// Size of the entries applied since then, in bytes.
    applied_bytes: u64,
    /// What is to be saved, or is being saved by the driver.
    saving: Option<Saving>,
    /// What the leader is sending, and when it last sent some of it.
    receiving: Option<(SnapshotBuilder, Time)>,
    /// Attempts to save one that failed since the last that succeeded.
    failures: u32,
    /// When the next one is tried by itself, after a failure.
    retry_at: Time,
}

#[derive(Clone, Debug)]
struct Saving {
    snapshot: Snapshot,
    /// Whose state it is: a leader's, or (`None`) the own.
    from: Option<NodeId>,
    /// The size of the entries applied since the latest snapshot, when this one was taken.
    bytes_before: u64,
    /// It is not handed to the driver before; `None` when it was.
    not_before: Option<Time>,
}

impl Compaction {
    pub(super) const fn new(latest: SnapshotMeta) -> Self {
        Self {
            latest,
            applied_bytes: 0,
            saving: None,
            receiving: None,
            failures: 0,
            retry_at: Time(0),
        }
    }

    /// An entry of this size was applied.
    pub(super) const fn applied(&mut self, bytes: usize) {
        self.applied_bytes += bytes as u64;
    }

    /// The driver could not save a snapshot. The next attempt comes after a pause that grows, or on
    /// demand. An own state will be newer by then; a leader's need not travel again.
    pub(super) fn failed(&mut self, meta: &SnapshotMeta, now: Time) {
        let Some(failed) = self.saving.take_if(|saving| saving.is_being_saved(meta)) else {
            return;
        };
        let pause = RETRY_MIN.saturating_mul(1_u64.checked_shl(self.failures).unwrap_or(u64::MAX));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.after(pause.min(RETRY_MAX));
        if failed.from.is_some() {
            self.saving = Some(Saving { not_before: Some(self.retry_at), ..failed });
        }
    }

    /// How many attempts to save a snapshot have failed in a row, and in how many µs the next one
    /// follows by itself.
    pub(super) fn trouble(&self, now: Time) -> (u32, Option<Micros>) {
        (self.failures, (self.failures > 0).then(|| self.retry_at.since(now)))
    }

    /// Whether no snapshot is being saved or received.
    #[cfg(feature = "sim")]
    pub(super) const fn is_idle(&self) -> bool {
        self.saving.is_none() && self.receiving.is_none()
    }

    pub(super) const fn latest(&self) -> &SnapshotMeta {
        &self.latest
    }
}

impl Saving {
    /// Whether this is the snapshot that the driver was given.
    fn is_being_saved(&self, meta: &SnapshotMeta) -> bool {
        self.not_before.is_none() && self.snapshot.meta == *meta
    }
}

impl Replica {
    /// Takes a snapshot when enough was applied since the last, but for a while after a failure.
    pub(super) fn compact_if_due(&mut self) {
        if self.node.now() < self.compaction.retry_at {
            return;
        }
        let config = self.node.config();
        let latest = self.compaction.latest.last.index;
        let entries = self.last_applied.index.0.saturating_sub(latest.0);
        if entries >= config.compact_after_entries
            || self.compaction.applied_bytes >= config.compact_after_bytes
        {
            self.compact();
        }
    }

    /// Takes a snapshot of the state as it is, unless one is being saved or nothing is new.
    pub(super) fn compact(&mut self) {
        let fresh = self.last_applied.index > self.compaction.latest.last.index;
        if self.compaction.saving.is_none() && fresh {
            let snapshot = self.snapshot();
            if snapshot.meta.membership.voters.is_empty() {
                // A server that was added knows of no members before the entry that added it. Whoever
                // got a snapshot from before would know of none either, and nobody could campaign.
                return;
            }
            self.save(snapshot, None);
        }
    }

    /// The state as it is.
    fn snapshot(&self) -> Snapshot {
        let membership = self.node.membership_at(self.last_applied.index);
        let meta = SnapshotMeta { last: self.last_applied, membership };
        Snapshot { meta, store: self.store.clone() }
    }

    fn save(&mut self, snapshot: Snapshot, from: Option<NodeId>) {
        let bytes_before = self.compaction.applied_bytes;
        // A leader's may be the same again that just failed.
        let earliest = if from.is_some() { self.compaction.retry_at } else { Time(0) };
        let not_before = Some(earliest);
        self.compaction.saving = Some(Saving { snapshot, from, bytes_before, not_before });
    }

    /// Hands the snapshot that waits to the driver, once term, vote and the mark of a stranger are
    /// durable: the snapshot goes to the disk beside the log, and a server that finds one takes
    /// itself for a member. Drops it when it was overtaken while it waited.
    pub(super) fn hand_over_snapshot(&mut self) {
        let now = self.node.now();
        let Some(saving) = &mut self.compaction.saving else { return };
        let due = saving.not_before.is_some_and(|earliest| earliest <= now);
        if !due || self.node.halted || !self.node.hard_state_is_durable() {
            return;
        }
        let (last, commit) = (saving.snapshot.meta.last.index, self.node.commit_index);
        if saving.from.is_some() && !self.node.rules().accept_snapshot(last, commit) {
            self.compaction.saving = None;
            return;
        }
        saving.not_before = None;
        self.outputs.push(Output::SaveSnapshot(Box::new(saving.snapshot.clone())));
    }

    pub(super) fn snapshot_saved(&mut self, meta: &SnapshotMeta) {
        let Some(saving) = self.compaction.saving.take_if(|it| it.is_being_saved(meta)) else {
            return;
        };
        (self.compaction.failures, self.compaction.retry_at) = (0, Time(0));
        self.node.recorder.emit_cause(|| EventKind::SnapshotSaved { meta: meta.clone() });
        self.compaction.applied_bytes -= saving.bytes_before.min(self.compaction.applied_bytes);
        match saving.from {
            None => {
                self.compaction.latest = saving.snapshot.meta;
                self.node.compact_log(meta.last);
            }
            Some(from) => {
                if self.node.install_snapshot(meta, from) {
                    self.install(saving.snapshot);
                }
            }
        }
    }

    /// Replaces the state by the leader's.
    fn install(&mut self, snapshot: Snapshot) {
        self.store = snapshot.store.clone();
        self.last_applied = snapshot.meta.last;
        self.digests.clear();
        self.comparison.forget_state();
        let (meta, digest) = (snapshot.meta.clone(), self.store.digest());
        self.compaction.latest = snapshot.meta;
        self.node.recorder.emit(|| EventKind::SnapshotInstalled { meta, digest });
        let state = self.state();
        self.node.recorder.emit(|| EventKind::Attached(Box::new(state)));
    }

    // Transfers

    /// Cuts the chunks that followers need.
    pub(super) fn serve_transfers(&mut self) {
        let node = &self.node;
        self.transfers.retain(|to, snapshot| node.sends_snapshot(*to, snapshot.meta.last));
        for request in std::mem::take(&mut self.node.chunk_requests) {
            let snapshot = match request.last {
                None => {
                    let snapshot = self.snapshot_to_send();
                    self.transfers.insert(request.to, snapshot.clone());
                    Some(snapshot)
                }
                Some(last) => {
                    self.transfers.get(&request.to).filter(|it| it.meta.last == last).cloned()
                }
            };
            let Some(snapshot) = snapshot else {
                self.node.restart_transfer(request.to);
                continue;
            };
            let chunk = if request.cursor == Cursor::NOWHERE {
                (Bytes::new(), None)
            } else {
                snapshot.chunk(&request.cursor, self.node.config().max_chunk_bytes)
            };
            self.node.send_chunk(request.to, snapshot.meta, request.cursor, chunk);
        }
    }

    /// The state for a follower that the log does not reach back to. It is committed, so it need not
    /// be on this disk. One that another follower is receiving will do while the log goes on from
    /// there: each state that is kept costs what was replaced since.
    fn snapshot_to_send(&self) -> Snapshot {
        let base = self.node.log.base().index;
        let under_way = self.transfers.values().filter(|it| it.meta.last.index >= base);
        let newest = under_way.max_by_key(|it| it.meta.last.index).cloned();
        newest.unwrap_or_else(|| self.snapshot())
    }

    /// Takes in the chunks that the leader sent. What was received of a snapshot is forgotten when it
    /// is needed no more, or its sender has been silent for long.
    pub(super) fn take_chunks(&mut self) {
        let (now, commit) = (self.node.now(), self.node.commit_index);
        let patience = self.node.config().promotion_timeout;
        self.compaction.receiving.take_if(|(builder, at)| {
            builder.meta().last.index <= commit || now.since(*at) >= patience
        });
        for chunk in std::mem::take(&mut self.node.received_chunks) {
            self.take_chunk(chunk);
        }
    }

    fn take_chunk(&mut self, chunk: ReceivedChunk) {
        let ReceivedChunk { from, meta, cursor, data, next, round } = chunk;
        let (last, now) = (meta.last, self.node.now());
        // Another one than that which waits after a failure is worth more.
        self.compaction.saving.take_if(|saving| {
            saving.from.is_some()
                && saving.not_before.is_some_and(|earliest| earliest > now)
                && saving.snapshot.meta != meta
        });
        if let Some(saving) = &self.compaction.saving {
            // The answer comes when it is saved; an own snapshot under way must end first.
            if saving.from.is_some() {
                return;
            }
            self.node.ignore_snapshot(last, SnapshotRefusal::Busy);
            return;
        }
        let known = self.compaction.receiving.take_if(|(builder, _)| *builder.meta() == meta);
        let mut builder = known.map_or_else(|| SnapshotBuilder::new(meta), |(builder, _)| builder);
        if *builder.cursor() != cursor {
            // A repeated chunk, or the first after a break: go on where this server is.
            self.node.ignore_snapshot(last, SnapshotRefusal::OutOfSequence);
            let wanted = builder.cursor().clone();
            self.compaction.receiving = Some((builder, now));
            self.node.want_chunk(from, last, wanted, round);
            return;
        }
        match builder.add(&data, next) {
            Ok(None) => {
                let wanted = builder.cursor().clone();
                self.compaction.receiving = Some((builder, now));
                self.node.want_chunk(from, last, wanted, round);
            }
            Ok(Some(mut snapshot)) => {
                snapshot.store.forget_large_answers();
                self.save(snapshot, Some(from));
            }
            Err(_) => {
                // Start over: the next chunk that fits is the first one.
                self.node.ignore_snapshot(last, SnapshotRefusal::Damaged);
                self.node.want_chunk(from, last, crate::message::Cursor::default(), round);
            }
        }
    }

    /// The last index that a durable snapshot covers.
    pub(super) const fn snapshot_index(&self) -> LogIndex {
        self.compaction.latest().last.index
    }
}
