//! Snapshots and the followers that need them (§7).
//!
//! The node decides what may replace what; cutting the state into chunks and building it from them
//! is the replica's part, since only that knows the state.

use bytes::Bytes;

use super::Node;
use super::gate::Needs;
use super::progress::Mode;
use super::role::Role;
use crate::event::{CommitReason, EventKind, SnapshotRefusal};
use crate::log::Log;
use crate::membership::Membership;
use crate::message::{Body, Cursor, SnapshotChunk, SnapshotMeta, SnapshotProgress};
use crate::types::{LogIndex, LogPosition, NodeId};

/// A chunk that a follower needs.
#[derive(Clone, Debug)]
pub(crate) struct ChunkRequest {
    pub(crate) to: NodeId,
    /// The snapshot that the transfer began with; `None` when any will do.
    pub(crate) last: Option<LogPosition>,
    pub(crate) cursor: Cursor,
}

/// A chunk that came from the leader.
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
                // It lacks the chunk that was sent: so says an answer to a question asked later.
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

    /// Whether a follower is being sent the snapshot up to `last`.
    pub(crate) fn sends_snapshot(&self, to: NodeId, last: LogPosition) -> bool {
        let progress = self.progress().and_then(|progress| progress.get(&to));
        progress.is_some_and(
            |it| matches!(&it.mode, Mode::Snapshot(transfer) if transfer.last == Some(last)),
        )
    }

    /// The snapshot that a follower was receiving is gone here: start over with another.
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
        // What is committed equals the leader's log (Leader Completeness).
        let match_index = self.commit_index.min(self.gate.durable_index());
        let result = SnapshotProgress::Installed { match_index };
        self.send(from, Body::InstallSnapshotReply { last, round, result }, Needs::Log);
    }

    /// The leader's snapshot is durable here: the log gives way to it, unless the server has got
    /// further meanwhile. Whether it was taken over.
    pub(crate) fn install_snapshot(&mut self, meta: &SnapshotMeta, from: NodeId) -> bool {
        if !self.rules.accept_snapshot(meta.last.index, self.commit_index) {
            self.ignore_snapshot(meta.last, SnapshotRefusal::NotNewer);
            return false;
        }
        if self.is_leader() && !self.log.matches(meta.last) {
            // It came before this server was elected. A leader holds all that is committed, and only
            // ever appends to its log (§5.3): a peer sent what is neither.
            self.ignore_snapshot(meta.last, SnapshotRefusal::Damaged);
            return false;
        }
        // Entries after a matching position stay; a log that conflicts goes (§7, steps 6 and 7).
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

    /// The log on disk did not fit the snapshot that was recovered: the disk learns that it is gone.
    pub(crate) fn replace_recovered_log(&mut self) {
        let base = self.log.base();
        self.gate.compact(base);
        self.recorder.emit(|| EventKind::LogCompacted { to: base });
    }

    /// The members at an index that is applied, for a snapshot of that state.
    pub(crate) fn membership_at(&self, index: LogIndex) -> Membership {
        self.configurations.at(index).clone()
    }

    /// A snapshot of the own state is durable: the log before it goes, but for a tail that spares
    /// followers that are a little behind a transfer of the whole state. What follows a snapshot that
    /// is on its way stays too: whoever gets it goes on from there, and would else need another one.
    pub(crate) fn compact_log(&mut self, snapshot: LogPosition) {
        let base = self.log.base();
        let index = LogIndex(snapshot.index.0.saturating_sub(self.config.keep_entries));
        let index = self.oldest_on_its_way().map_or(index, |oldest| oldest.min(index));
        let to = if base.index >= snapshot.index {
            // Memory holds less than that already, and the disk more.
            snapshot
        } else {
            let index = index.max(base.index);
            // Only with a rule broken does the log end before a snapshot of the own state.
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

    /// The last entry in the oldest snapshot that a follower is being sent, one that gives signs of
    /// life.
    fn oldest_on_its_way(&self) -> Option<LogIndex> {
        let (now, away) = (self.now, self.config.election_timeout_max);
        let sent = self.progress()?.values().filter_map(|progress| match &progress.mode {
            Mode::Snapshot(transfer) if now.since(progress.heard_at) < away => transfer.last,
            Mode::Snapshot(_) | Mode::Probe { .. } | Mode::Replicate(_) | Mode::Lost => None,
        });
        sent.map(|last| last.index).min()
    }

    /// Keeps the log in memory within [`crate::config::Config::keep_bytes`]. What goes is applied,
    /// and on the disk until a snapshot covers it; a follower that needs it gets a snapshot of the
    /// state instead.
    pub(crate) fn bound_log(&mut self, applied: LogIndex) {
        let most = self.config.keep_bytes;
        // Somewhat more than it must be, so that it does not happen with each entry.
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
