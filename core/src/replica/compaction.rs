//! When to take a snapshot, and whose (§7): the own state's to shorten the log, the leader's to
//! catch up.

use super::{Output, Replica};
use crate::event::{EventKind, SnapshotRefusal};
use crate::kv::{Snapshot, SnapshotBuilder};
use crate::message::SnapshotMeta;
use crate::node::ReceivedChunk;
use crate::types::{LogIndex, NodeId};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Compaction {
    /// The newest snapshot that is durable here. Not its state: that would keep everything that was
    /// replaced since.
    latest: SnapshotMeta,
    /// Size of the entries applied since then, in bytes.
    applied_bytes: u64,
    /// What the driver is saving now.
    saving: Option<Saving>,
    /// What the leader is sending.
    receiving: Option<SnapshotBuilder>,
}

#[derive(Clone, Debug)]
struct Saving {
    snapshot: Snapshot,
    /// Whose state it is: a leader's, or (`None`) the own.
    from: Option<NodeId>,
    /// No other snapshot is tried before this many bytes more.
    bytes_before: u64,
}

impl Compaction {
    pub(super) const fn new(latest: SnapshotMeta) -> Self {
        Self { latest, applied_bytes: 0, saving: None, receiving: None }
    }

    /// An entry of this size was applied.
    pub(super) const fn applied(&mut self, bytes: usize) {
        self.applied_bytes += bytes as u64;
    }

    /// The driver could not save a snapshot. The next one is tried when as much again has been
    /// applied, or on demand.
    pub(super) fn failed(&mut self, meta: &SnapshotMeta) {
        self.saving.take_if(|saving| saving.snapshot.meta == *meta);
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

impl Replica {
    /// Takes a snapshot when enough was applied since the last.
    pub(super) fn compact_if_due(&mut self) {
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
            self.save(self.snapshot(), None);
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
        self.compaction.saving = Some(Saving { snapshot: snapshot.clone(), from, bytes_before });
        self.outputs.push(Output::SaveSnapshot(Box::new(snapshot)));
    }

    pub(super) fn snapshot_saved(&mut self, meta: &SnapshotMeta) {
        let Some(saving) = self.compaction.saving.take_if(|it| it.snapshot.meta == *meta) else {
            return;
        };
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
        let (meta, digest) = (snapshot.meta.clone(), self.store.digest());
        self.compaction.latest = snapshot.meta;
        self.node.recorder.emit(|| EventKind::SnapshotInstalled { meta, digest });
        let state = self.state();
        self.node.recorder.emit(|| EventKind::Attached(Box::new(state)));
    }

    // Transfers

    /// Cuts the chunks that followers need.
    pub(super) fn serve_transfers(&mut self) {
        if !self.node.is_leader() {
            self.transfers.clear();
        }
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
            let chunk = snapshot.chunk(&request.cursor, self.node.config().max_chunk_bytes);
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

    /// Takes in the chunks that the leader sent.
    pub(super) fn take_chunks(&mut self) {
        for chunk in std::mem::take(&mut self.node.received_chunks) {
            self.take_chunk(chunk);
        }
    }

    fn take_chunk(&mut self, chunk: ReceivedChunk) {
        let ReceivedChunk { from, meta, cursor, data, next, round } = chunk;
        let last = meta.last;
        if let Some(saving) = &self.compaction.saving {
            // The answer comes when it is saved; an own snapshot under way must end first.
            if saving.from.is_some() {
                return;
            }
            self.node.ignore_snapshot(last, SnapshotRefusal::Busy);
            return;
        }
        let known = self.compaction.receiving.take_if(|builder| *builder.meta() == meta);
        let mut builder = known.unwrap_or_else(|| SnapshotBuilder::new(meta));
        if *builder.cursor() != cursor {
            // A repeated chunk, or the first after a break: go on where this server is.
            self.node.ignore_snapshot(last, SnapshotRefusal::OutOfSequence);
            let wanted = builder.cursor().clone();
            self.compaction.receiving = Some(builder);
            self.node.want_chunk(from, last, wanted, round);
            return;
        }
        match builder.add(&data, next) {
            Ok(None) => {
                let wanted = builder.cursor().clone();
                self.compaction.receiving = Some(builder);
                self.node.want_chunk(from, last, wanted, round);
            }
            Ok(Some(snapshot)) => self.save(snapshot, Some(from)),
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
