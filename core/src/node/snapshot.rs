//! Snapshots and the followers that need them (§7).
//!
//! The node decides whether a snapshot may replace the log. The replica cuts the state into chunks
//! and rebuilds it from them, because only the replica knows the state.

use bytes::Bytes;

use super::Node;
use super::gate::Needs;
use super::progress::Mode;
use super::role::Role;
use crate::event::{CommitReason, EventKind, SnapshotRefusal};
use crate::log::Log;
use crate::membership::Membership;
use crate::message::{Body, SnapshotChunk, SnapshotProgress};
use crate::snapshot::{Cursor, SnapshotMeta};
use crate::types::{LogIndex, LogPosition, NodeId};

/// A chunk that a follower needs.
#[derive(Clone, Debug)]
pub(crate) struct ChunkRequest {
    pub(crate) to: NodeId,
    /// The snapshot that the transfer began with; `None` if any snapshot will do.
    pub(crate) last: Option<LogPosition>,
    pub(crate) cursor: Cursor,
}

/// A chunk from the leader.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedChunk {
    pub(crate) from: NodeId,
    pub(crate) meta: SnapshotMeta,
    pub(crate) cursor: Cursor,
    pub(crate) data: Bytes,
    pub(crate) next: Option<Cursor>,
    pub(crate) round: u64,
}

impl Node {
    // The leader's side

    /// Sends the chunk that [`ChunkRequest`] asked for.
    pub(crate) fn send_chunk(
        &mut self,
        to: NodeId,
        meta: SnapshotMeta,
        cursor: Cursor,
        (data, next): (Bytes, Option<Cursor>),
    ) {
        let round = match &self.role {
            Role::Leader(leader) => leader.round,
            Role::Follower(_) | Role::Candidate(_) => return,
        };
        let Some(transfer) = self.transfer_to(to) else { return };
        transfer.last = Some(meta.last);
        if cursor != Cursor::NOWHERE {
            transfer.is_whole = next.is_none();
        }
        let chunk = Box::new(SnapshotChunk { meta, cursor, data, next });
        let body = Body::InstallSnapshot { chunk, round };
        self.send(to, body, Needs::HardState);
    }

    pub(super) fn on_snapshot_reply(
        &mut self,
        from: NodeId,
        last: LogPosition,
        round: u64,
        result: SnapshotProgress,
    ) {
        if !self.heard_from(from, round) {
            return;
        }
        match result {
            SnapshotProgress::Installed { match_index } => self.on_match(from, match_index),
            SnapshotProgress::Wants(cursor) => {
                let now = self.now;
                let Some(transfer) = self.transfer_to(from) else { return };
                let moves = transfer.cursor != cursor;
                // An answer to a later question proves that the follower lacks the chunk that was
                // sent.
                let lacks_it = round > transfer.round;
                if transfer.last == Some(last) && (moves || lacks_it) {
                    transfer.cursor = cursor;
                    if moves && let Some(progress) = self.progress_of(from) {
                        progress.moved(now);
                    }
                    self.request_chunk(from);
                }
            }
        }
        self.answer_confirmed_reads();
    }

    /// Whether this leader is sending a follower the snapshot up to `last`.
    pub(crate) fn sends_snapshot(&self, to: NodeId, last: LogPosition) -> bool {
        let progress = self.progress().and_then(|progress| progress.get(&to));
        progress.is_some_and(
            |it| matches!(&it.mode, Mode::Snapshot(transfer) if transfer.last == Some(last)),
        )
    }

    /// Restarts a transfer with another snapshot, because this server no longer has the first one.
    pub(crate) fn restart_transfer(&mut self, peer: NodeId) {
        self.set_mode(peer, Mode::Probe { in_flight: None });
    }

    // The follower's side

    pub(super) fn on_install_snapshot(&mut self, chunk: ReceivedChunk) {
        if self.is_leader() {
            return;
        }
        self.met_leader(chunk.meta.last.index);
        if self.rules.accept_snapshot(chunk.meta.last.index, self.commit_index) {
            self.received_chunks.push(chunk);
        } else {
            self.ignore_snapshot(chunk.meta.last, SnapshotRefusal::NotNewer);
            self.report_installed(chunk.from, chunk.meta.last, chunk.round);
        }
    }

    pub(crate) fn ignore_snapshot(&mut self, last: LogPosition, why: SnapshotRefusal) {
        self.recorder.emit(|| EventKind::SnapshotIgnored { last, why });
    }

    /// Asks the leader for the chunk at `cursor`.
    pub(crate) fn want_chunk(
        &mut self,
        from: NodeId,
        last: LogPosition,
        cursor: Cursor,
        round: u64,
    ) {
        let result = SnapshotProgress::Wants(cursor);
        self.send(from, Body::InstallSnapshotReply { last, round, result }, Needs::HardState);
    }

    /// Tells the leader how far this server's durable state goes.
    fn report_installed(&mut self, from: NodeId, last: LogPosition, round: u64) {
        // Committed entries equal the leader's log (Leader Completeness).
        let match_index = self.commit_index.min(self.gate.durable_index());
        let result = SnapshotProgress::Installed { match_index };
        self.send(from, Body::InstallSnapshotReply { last, round, result }, Needs::Log);
    }

    /// Replaces the log with the leader's snapshot, which is durable here, unless the server has
    /// advanced further. Returns whether it did.
    pub(crate) fn install_snapshot(&mut self, meta: &SnapshotMeta, from: NodeId) -> bool {
        if !self.rules.accept_snapshot(meta.last.index, self.commit_index) {
            self.ignore_snapshot(meta.last, SnapshotRefusal::NotNewer);
            return false;
        }
        if self.is_leader() && !self.log.matches(meta.last) {
            // The snapshot came before this server was elected. A leader holds all committed
            // entries and only appends to its log (§5.3), so the peer sent an invalid snapshot.
            self.ignore_snapshot(meta.last, SnapshotRefusal::Damaged);
            return false;
        }
        // Entries after a matching position stay; a conflicting log is discarded (§7, steps 6 and
        // 7).
        let keep_log = self.rules.keep_log_after_snapshot(self.log.matches(meta.last));
        if keep_log {
            self.log.compact(meta.last);
        } else {
            self.log = Log::new(meta.last);
            self.gate.truncate(meta.last.index.next());
        }
        self.gate.compact(meta.last);
        self.gate.covered_by_snapshot(meta.last.index);
        self.install_configuration(meta.last, &meta.membership, keep_log);
        self.settle_in();
        self.recorder.emit(|| EventKind::LogCompacted { to: meta.last });
        self.move_commit_index(meta.last.index, || CommitReason::Snapshot);
        if self.leader() == Some(from) {
            self.report_installed(from, meta.last, 0);
        }
        true
    }

    /// Removes the log on disk, because it did not fit the recovered snapshot.
    pub(crate) fn replace_recovered_log(&mut self) {
        let base = self.log.base();
        self.gate.compact(base);
        self.recorder.emit(|| EventKind::LogCompacted { to: base });
    }

    /// The members at an applied index, for a snapshot of that state.
    pub(crate) fn membership_at(&self, index: LogIndex) -> Membership {
        self.configurations.at(index).clone()
    }

    /// Compacts the log after a snapshot of the server's state became durable. A tail stays, to
    /// spare slightly lagging followers a snapshot transfer. Entries after a snapshot in transfer
    /// stay too: otherwise its receiver would need another snapshot.
    pub(crate) fn compact_log(&mut self, snapshot: LogPosition) {
        let base = self.log.base();
        let index = LogIndex(snapshot.index.0.saturating_sub(self.config.keep_entries));
        let index = self.oldest_on_its_way().map_or(index, |oldest| oldest.min(index));
        let to = if base.index >= snapshot.index {
            // The log in memory already begins later, the log on disk does not.
            snapshot
        } else {
            let index = index.max(base.index);
            // Only if a rule is broken does the log end before a snapshot of the server's state.
            let Some(term) = self.log.term_at(index) else { return };
            LogPosition { term, index }
        };
        if to.index > self.gate.disk_base() {
            self.gate.compact(to);
        }
        if to.index > base.index {
            self.log.compact(to);
            self.forgot_log();
        }
    }

    /// The last entry of the oldest snapshot that this leader sends to a live follower.
    fn oldest_on_its_way(&self) -> Option<LogIndex> {
        let (now, away) = (self.now, self.config.election_timeout_max);
        let sent = self.progress()?.values().filter_map(|progress| match &progress.mode {
            Mode::Snapshot(transfer) if now.since(progress.heard_at) < away => transfer.last,
            Mode::Snapshot(_) | Mode::Probe { .. } | Mode::Replicate(_) | Mode::Lost => None,
        });
        sent.map(|last| last.index).min()
    }

    /// Keeps the log in memory within [`crate::config::Config::keep_bytes`]. The removed entries
    /// are applied, and stay on disk until a snapshot covers them. A follower that needs them gets
    /// a snapshot instead.
    pub(crate) fn bound_log(&mut self, applied: LogIndex) {
        let most = self.config.keep_bytes;
        // Removes more than necessary, to avoid doing it for every entry.
        if self.log.memory() > most && self.log.shed(most - most / 8, applied) {
            self.forgot_log();
        }
    }

    fn forgot_log(&mut self) {
        let to = self.log.base();
        self.configurations.compact(to.index);
        self.recorder.emit(|| EventKind::LogCompacted { to });
    }
}
