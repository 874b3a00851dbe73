//! Snapshots (§7): the server takes its own to compact the log, and installs the leader's to catch
//! up.

use bytes::Bytes;

use super::{Output, Replica};
use crate::event::{EventKind, SnapshotRefusal};
use crate::kv::{Snapshot, SnapshotBuilder};
use crate::node::ReceivedChunk;
use crate::snapshot::{Cursor, SnapshotMeta};
use crate::types::{LogIndex, Micros, NodeId, SECOND, Time};

/// The delay before the first retry of a failed save, in µs. It doubles with each failure.
const RETRY_MIN: Micros = SECOND;

/// The longest delay before a retry, in µs.
const RETRY_MAX: Micros = 300 * SECOND;

/// The snapshots that this server takes, saves and receives.
#[derive(Clone, Debug)]
pub(super) struct Compaction {
    /// The newest durable snapshot, without its state. Keeping the state would also keep all data
    /// that was replaced later.
    latest: SnapshotMeta,
    /// The size of the entries applied since that snapshot, in bytes.
    applied_bytes: u64,
    /// The snapshot that waits to be saved, or that the driver is saving.
    saving: Option<Saving>,
    /// The snapshot that the leader is sending, and when its last chunk arrived.
    receiving: Option<(SnapshotBuilder, Time)>,
    /// Failed attempts to save a snapshot since the last success.
    failures: u32,
    /// When the replica retries on its own after a failure.
    retry_at: Time,
}

#[derive(Clone, Debug)]
struct Saving {
    snapshot: Snapshot,
    /// The leader that sent the snapshot; `None` for the server's own state.
    from: Option<NodeId>,
    /// `applied_bytes` when this snapshot was taken.
    bytes_before: u64,
    /// The earliest time to pass it to the driver; `None` after that has happened.
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

    /// Counts an applied entry of this size.
    pub(super) const fn applied(&mut self, bytes: usize) {
        self.applied_bytes += bytes as u64;
    }

    /// Handles a failed save. The next attempt follows after a growing delay, or on demand. It
    /// saves a newer own state, but keeps a leader's snapshot, which need not be sent again.
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

    /// The number of consecutive failures, and the time until the automatic retry in µs.
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
    /// Whether the driver is saving this snapshot.
    fn is_being_saved(&self, meta: &SnapshotMeta) -> bool {
        self.not_before.is_none() && self.snapshot.meta == *meta
    }
}

impl Replica {
    /// Takes a snapshot if enough was applied since the last one, except during the delay after a
    /// failure.
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

    /// Takes a snapshot of the current state, unless a save is in progress or nothing is new.
    pub(super) fn compact(&mut self) {
        let fresh = self.last_applied.index > self.compaction.latest.last.index;
        if self.compaction.saving.is_none() && fresh {
            let snapshot = self.snapshot();
            if snapshot.meta.membership.voters.is_empty() {
                // An added server knows no members before the entry that added it. A server that
                // received an earlier snapshot would know none either, and no server could
                // campaign.
                return;
            }
            self.save(snapshot, None);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let membership = self.node.membership_at(self.last_applied.index);
        let meta = SnapshotMeta { last: self.last_applied, membership };
        Snapshot { meta, store: self.store.clone() }
    }

    fn save(&mut self, snapshot: Snapshot, from: Option<NodeId>) {
        let bytes_before = self.compaction.applied_bytes;
        // A leader's snapshot may be the same as the snapshot that just failed.
        let earliest = if from.is_some() { self.compaction.retry_at } else { Time(0) };
        let not_before = Some(earliest);
        self.compaction.saving = Some(Saving { snapshot, from, bytes_before, not_before });
    }

    /// Passes the waiting snapshot to the driver after term, vote and stranger mark are durable.
    /// The snapshot and the log are written separately, and a server that finds a snapshot
    /// considers itself a member. Drops a leader's snapshot that became obsolete while it waited.
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

    /// Replaces the state with the leader's.
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

    /// Makes the chunks that followers need.
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

    /// The snapshot for a follower whose next entry is compacted. It is committed, so it need not
    /// be on this disk. A snapshot that another follower is receiving is reused if the log
    /// continues from it. Each kept state also keeps all data that was replaced later.
    fn snapshot_to_send(&self) -> Snapshot {
        let base = self.node.log.base().index;
        let under_way = self.transfers.values().filter(|it| it.meta.last.index >= base);
        let newest = under_way.max_by_key(|it| it.meta.last.index).cloned();
        newest.unwrap_or_else(|| self.snapshot())
    }

    /// Processes the chunks that the leader sent. Drops a partly received snapshot if it is
    /// obsolete, or if its sender was silent for the promotion timeout.
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
        // A different snapshot is better than a failed snapshot that waits for its retry.
        self.compaction.saving.take_if(|saving| {
            saving.from.is_some()
                && saving.not_before.is_some_and(|earliest| earliest > now)
                && saving.snapshot.meta != meta
        });
        if let Some(saving) = &self.compaction.saving {
            // The reply follows when the snapshot is saved; a save of the own state must end first.
            if saving.from.is_some() {
                return;
            }
            self.node.ignore_snapshot(last, SnapshotRefusal::Busy);
            return;
        }
        let known = self.compaction.receiving.take_if(|(builder, _)| *builder.meta() == meta);
        let mut builder = known.map_or_else(|| SnapshotBuilder::new(meta), |(builder, _)| builder);
        if *builder.cursor() != cursor {
            // A repeated chunk, or the first chunk after a break: request the chunk that is needed.
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
                self.node.want_chunk(from, last, crate::snapshot::Cursor::default(), round);
            }
        }
    }

    /// The last index that a durable snapshot covers.
    pub(super) const fn snapshot_index(&self) -> LogIndex {
        self.compaction.latest().last.index
    }
}
