//! A leader replicates its log and decides what is committed (§5.3, §5.4.2).

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::gate::Needs;
use super::progress::{Mode, Progress, Sent, Transfer};
use super::read::Lease;
use super::role::{Leader, Role};
use super::{ChunkRequest, Node, RoleReason};
use crate::event::{CommitReason, EventKind};
use crate::log::{Entries, Entry, Payload};
use crate::message::{AppendResult, Body};
use crate::snapshot::Cursor;
use crate::types::{LogIndex, LogPosition, NodeId, Time};

/// Entries up to this size, in bytes, cost little more than a heartbeat.
const SMALL: usize = 1 << 10;

/// A follower may take this many times the promotion timeout to save a snapshot that it has
/// received.
const SAVING: u64 = 10;

impl Node {
    pub(super) fn new_leader(&self) -> Leader {
        let last = self.log.last().index;
        let progress = self.membership().peers_of(self.id);
        Leader {
            progress: progress.map(|peer| (peer, Progress::new(last, self.now))).collect(),
            round: 0,
            first_index: last.next(),
            reads: VecDeque::new(),
            lease: Lease::default(),
            change: None,
            reconfiguring: true,
            transfer: None,
        }
    }

    /// Appends the first entry of a term. Once it is committed, so are all entries before it
    /// (§5.4.2, §8).
    pub(super) fn append_noop(&mut self) {
        for peer in self.peers() {
            self.record_progress(peer);
        }
        self.append_own(vec![Payload::Noop]);
        self.begin_round();
        self.advance_commit_index();
    }

    /// Appends commands and sends them at once, while the local disk writes them (dissertation
    /// §10.2.1). Returns the position of the first. Returns `None` if this server does not lead,
    /// transfers leadership or has stopped.
    pub(crate) fn propose(&mut self, commands: Vec<Bytes>) -> Option<LogPosition> {
        let Role::Leader(leader) = &self.role else { return None };
        if leader.transfer.is_some() || self.halted {
            return None;
        }
        let first = LogPosition { term: self.current_term(), index: self.log.last().index.next() };
        self.append_own(commands.into_iter().map(Payload::Command).collect());
        for peer in self.peers() {
            self.send_entries(peer);
        }
        Some(first)
    }

    pub(super) fn append_own(&mut self, payloads: Vec<Payload>) {
        let (term, mut index) = (self.current_term(), self.log.last().index);
        let entries = payloads.into_iter().map(|payload| {
            index = index.next();
            Entry { index, term, payload }
        });
        let entries = entries.collect();
        self.append_entries(entries);
    }

    /// All servers that this leader sends to.
    pub(super) fn peers(&self) -> Vec<NodeId> {
        self.progress().map_or_else(Vec::new, |progress| progress.keys().copied().collect())
    }

    fn leading(&mut self) -> Option<&mut Leader> {
        match &mut self.role {
            Role::Leader(leader) => Some(leader),
            Role::Follower(_) | Role::Candidate(_) => None,
        }
    }

    pub(super) fn progress_of(&mut self, peer: NodeId) -> Option<&mut Progress> {
        self.leading()?.progress.get_mut(&peer)
    }

    /// What a leader knows about its followers; `None` on other servers.
    pub(crate) fn progress(&self) -> Option<&BTreeMap<NodeId, Progress>> {
        match &self.role {
            Role::Leader(leader) => Some(&leader.progress),
            Role::Follower(_) | Role::Candidate(_) => None,
        }
    }

    // Heartbeats

    /// Sends heartbeats, or steps down if this server should not lead any more.
    pub(super) fn heartbeat_timeout(&mut self) {
        if let Some(why) = self.reason_to_step_down() {
            // The followers may still hear from this server and would wait for their timeouts, so
            // the best follower campaigns at once. If the quorum is lost, a follower that still
            // answers could not win either.
            let (now, timeout) = (self.now, self.config.election_timeout_max);
            let silent = |it: &Progress| now.since(it.heard_at) >= timeout;
            let heir = self.best_heir_of(|it| why != RoleReason::QuorumLost || silent(it));
            if let Some(heir) = heir {
                self.send_timeout_now(heir);
            }
            self.become_follower(why);
            return;
        }
        self.give_up_transfer_in_time();
        self.give_up_reads_in_time();
        self.continue_change();
        for peer in self.peers() {
            self.follow_up(peer);
        }
        self.begin_round();
        self.set_heartbeat_timer();
    }

    fn reason_to_step_down(&self) -> Option<RoleReason> {
        let timeout = self.config.election_timeout_max;
        let Role::Leader(leader) = &self.role else { return None };
        let heard = self.rules.majority_value(self.membership(), |voter| {
            if voter == self.id {
                return self.now;
            }
            leader.progress.get(&voter).map_or(Time(0), |progress| progress.heard_at)
        });
        if self.rules.lost_quorum(heard, self.now, timeout) {
            return Some(RoleReason::QuorumLost);
        }
        let stalled = self.rules.disk_stalled(self.gate.idle_since(), self.now, timeout);
        // Without another voter, nobody could take over.
        let has_others = self.membership().all_voters().any(|voter| voter != self.id);
        (stalled && has_others).then_some(RoleReason::DiskStalled)
    }

    /// If nothing was acknowledged for a heartbeat interval, asks the follower what has arrived, to
    /// send the rest again. Ends a snapshot transfer that makes no progress.
    fn follow_up(&mut self, peer: NodeId) {
        let (now, patience) = (self.now, self.config.heartbeat_interval);
        let give_up = self.config.promotion_timeout;
        let away = self.config.election_timeout_max;
        let Some(progress) = self.progress_of(peer) else { return };
        let asks = progress.is_to_be_asked(now, patience);
        let here = now.since(progress.heard_at) < away;
        let moved_at = progress.moved_at;
        // A live follower that has the whole snapshot is saving it, and answers only when it is
        // done.
        let stuck = |is_whole| {
            now.since(moved_at) >= if is_whole && here { SAVING * give_up } else { give_up }
        };
        if asks {
            progress.owes_since = now;
        }
        match &mut progress.mode {
            Mode::Snapshot(transfer) if transfer.last.is_some() && stuck(transfer.is_whole) => {
                *transfer = Transfer::default();
            }
            Mode::Snapshot(transfer) if transfer.last.is_none() => {
                if here {
                    self.request_chunk(peer);
                }
            }
            Mode::Snapshot(_) if asks => self.ask_for_cursor(peer),
            // A small probe is sent again: it asks the same and more.
            Mode::Probe { in_flight } if in_flight.is_some_and(|sent| sent.bytes <= SMALL) => {
                *in_flight = None;
                self.send_entries(peer);
            }
            Mode::Probe { .. } | Mode::Replicate(_) if asks => self.ask_in_line(peer),
            Mode::Probe { .. } | Mode::Replicate(_) | Mode::Snapshot(_) | Mode::Lost => {}
        }
    }

    /// Asks whether all sent entries have arrived, by an empty AppendEntries after the last of
    /// them. The question queues behind the entries, so it fails only if entries were lost.
    pub(super) fn ask_in_line(&mut self, peer: NodeId) {
        let base = self.log.base().index;
        let Some(progress) = self.progress_of(peer) else { return };
        let prev = progress.sent_up_to();
        if prev < base {
            // The entries are compacted, so the follower needs a snapshot.
            self.set_mode(peer, Mode::Probe { in_flight: None });
            self.send_entries(peer);
        } else {
            self.send_append(peer, prev, Entries::default(), Body::NO_ROUND);
        }
    }

    /// Sends every follower a heartbeat, or entries that replace it. The answers confirm the leader
    /// for earlier reads (§8).
    pub(super) fn begin_round(&mut self) {
        let (now, leases) = (self.now, self.config.lease_reads);
        if let Some(leader) = self.leading() {
            leader.round += 1;
            if leases {
                leader.lease.round_began(leader.round, now);
            }
        }
        // If the leader alone is a majority, no answer renews the lease.
        self.renew_lease();
        for peer in self.peers() {
            let before = self.in_flight_bytes(peer);
            let sent = self.send_entries(peer);
            // Entries that are large or queue behind others may arrive after the follower's
            // timeout.
            if !sent || before > 0 || self.in_flight_bytes(peer) > SMALL {
                self.send_heartbeat(peer);
            }
        }
    }

    fn in_flight_bytes(&mut self, peer: NodeId) -> usize {
        self.progress_of(peer).map_or(0, |progress| progress.in_flight_bytes())
    }

    // Sending

    /// Sends all entries that a follower still needs and that the window allows. Returns whether
    /// anything was sent.
    pub(super) fn send_entries(&mut self, peer: NodeId) -> bool {
        let mut sent = false;
        while self.send_batch(peer) {
            sent = true;
        }
        sent
    }

    fn send_batch(&mut self, peer: NodeId) -> bool {
        let (now, last, base) = (self.now, self.log.last().index, self.log.base().index);
        let (messages, bytes) = (self.config.max_in_flight, self.config.max_in_flight_bytes);
        let Some(progress) = self.progress_of(peer) else { return false };
        let next = progress.next_index;
        if next > last {
            return false;
        }
        let Some(room) = progress.room(messages, bytes) else { return false };
        let alone = progress.in_flight_bytes() == 0;
        if next <= base {
            self.set_mode(peer, Mode::Snapshot(Transfer::default()));
            self.request_chunk(peer);
            return false;
        }
        let (entries, bytes) = self.log.batch(next, room.min(self.config.max_batch_bytes));
        if bytes > room && !alone {
            return false;
        }
        let sent = Sent { last: entries.last().expect("a batch is never empty").index, bytes };
        let round = self.round();
        self.send_append(peer, next.previous(), entries, round);
        if let Some(progress) = self.progress_of(peer) {
            progress.sent(sent, now);
        }
        true
    }

    /// Sends an AppendEntries without entries. It may overtake entries in flight and must not fail
    /// before they arrive, so it checks what the follower is known to hold. If that entry is
    /// compacted, it checks nothing.
    pub(super) fn send_heartbeat(&mut self, peer: NodeId) {
        let base = self.log.base().index;
        let Some(progress) = self.progress_of(peer) else { return };
        let known = progress.match_index;
        let prev = match progress.mode {
            Mode::Replicate(_) if known >= base => known,
            Mode::Replicate(_) => LogIndex(0),
            Mode::Probe { .. } | Mode::Snapshot(_) | Mode::Lost => {
                progress.next_index.previous().max(base)
            }
        };
        let round = self.round();
        self.send_append(peer, prev, Entries::default(), round);
    }

    /// The latest heartbeat round that this leader began.
    fn round(&self) -> u64 {
        match &self.role {
            Role::Leader(leader) => leader.round,
            Role::Follower(_) | Role::Candidate(_) => Body::NO_ROUND,
        }
    }

    fn send_append(&mut self, peer: NodeId, prev: LogIndex, entries: Entries, round: u64) {
        let prev_log = if prev == LogIndex(0) {
            LogPosition::ZERO
        } else {
            let term = self.log.term_at(prev).expect("a leader sends from its own log");
            LogPosition { term, index: prev }
        };
        let leader_commit = self.commit_index;
        let Some(leader) = self.leading() else { return };
        if let Some(progress) = leader.progress.get_mut(&peer) {
            progress.told_commit = leader_commit;
        }
        let body = Body::AppendEntries { prev_log, entries, leader_commit, round };
        self.send(peer, body, Needs::HardState);
    }

    // Answers

    pub(super) fn on_append_reply(&mut self, from: NodeId, round: u64, result: &AppendResult) {
        if !self.heard_from(from, round) {
            return;
        }
        match result {
            AppendResult::Accepted { match_index } => self.on_match(from, *match_index),
            AppendResult::Rejected { prev_log, hint } => {
                let candidate = self.log.last_possible_match(*hint).index;
                let lacks_what_it_had = self.lacks_what_it_had(from, hint.index);
                if lacks_what_it_had && self.has_lost_log(from, round) {
                    self.recorder.emit(|| EventKind::PeerLostLog { peer: from });
                    self.set_mode(from, Mode::Lost);
                    return;
                }
                let stands = !lacks_what_it_had
                    && self
                        .progress_of(from)
                        .is_some_and(|progress| progress.rejected(prev_log.index, candidate));
                if stands {
                    self.record_progress(from);
                    self.send_entries(from);
                }
            }
        }
        self.answer_confirmed_reads();
    }

    /// Whether an answer says that a follower lacks entries that it acknowledged as durable. Either
    /// the answer is late, or the follower's disk was wiped or rolled back.
    fn lacks_what_it_had(&mut self, peer: NodeId, hint: LogIndex) -> bool {
        self.progress_of(peer).is_some_and(|progress| hint < progress.match_index)
    }

    /// Whether that answer proves the loss: it must answer a round that began after the
    /// acknowledgement. If it does, the follower does not count toward commits until it is removed
    /// and rejoins.
    fn has_lost_log(&mut self, peer: NodeId, round: u64) -> bool {
        self.progress_of(peer).is_some_and(|progress| round > progress.matched_round)
    }

    /// Records that a follower answered in this term. Returns whether this server leads.
    pub(super) fn heard_from(&mut self, from: NodeId, round: u64) -> bool {
        let now = self.now;
        let Some(leader) = self.leading() else { return false };
        // A follower cannot have seen a round that never began.
        let round = round.min(leader.round);
        let Some(progress) = leader.progress.get_mut(&from) else { return false };
        progress.heard_at = now;
        progress.answered = true;
        progress.acked_round = progress.acked_round.max(round);
        true
    }

    /// Records that a follower's log durably equals this log up to `index`.
    pub(super) fn on_match(&mut self, from: NodeId, index: LogIndex) {
        // A follower cannot match more than this log: peers are not trusted to be right.
        let index = index.min(self.log.last().index);
        let (now, round, base) = (self.now, self.round(), self.log.base().index);
        let progress = self.progress_of(from);
        let news = progress.is_some_and(|progress| progress.matched(index, base, round, now));
        if news {
            self.record_progress(from);
            self.advance_commit_index();
            self.continue_change();
            self.continue_transfer();
        }
        self.send_entries(from);
        self.tell_commit(from);
    }

    /// Sends an idle follower the new commit index at once. A busy follower learns it from the next
    /// entries.
    pub(super) fn tell_commit(&mut self, peer: NodeId) {
        let commit = self.commit_index;
        let Some(progress) = self.progress_of(peer) else { return };
        if progress.is_idle() && progress.told_commit < commit {
            self.send_heartbeat(peer);
        }
    }

    /// Commits what a majority holds durably, if the rules allow it (§5.3, §5.4.2).
    pub(super) fn advance_commit_index(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let own = if self.rules.acknowledges_durable_only() {
            self.gate.durable_index()
        } else {
            self.log.last().index
        };
        let index_of = |voter: NodeId| {
            if voter == self.id {
                return own;
            }
            leader.progress.get(&voter).map_or(LogIndex(0), |peer| peer.match_index)
        };
        let membership = self.membership();
        let majority = self.rules.majority_value(membership, index_of);
        if majority <= self.commit_index
            || !self.rules.may_commit(self.log.term_at(majority), self.current_term())
        {
            return;
        }
        let proof = || membership.all_voters().map(|voter| (voter, index_of(voter)));
        let proof: Vec<(NodeId, LogIndex)> =
            if self.recorder.listening() { proof().collect() } else { Vec::new() };
        self.commit_to(majority, || CommitReason::Majority(proof));
    }

    // Snapshots; the replica builds their chunks

    pub(super) fn request_chunk(&mut self, peer: NodeId) {
        let (now, round) = (self.now, self.round());
        let Some(progress) = self.progress_of(peer) else { return };
        if let Mode::Snapshot(transfer) = &mut progress.mode {
            transfer.round = round;
            let (last, cursor) = (transfer.last, transfer.cursor.clone());
            if last.is_none() {
                progress.moved_at = now;
            }
            progress.owes_since = now;
            self.chunk_requests.push(ChunkRequest { to: peer, last, cursor });
        }
    }

    /// Asks which chunk a follower wants. The question queues behind the chunk that was sent.
    fn ask_for_cursor(&mut self, peer: NodeId) {
        if let Some(transfer) = self.transfer_to(peer) {
            let (last, cursor) = (transfer.last, Cursor::NOWHERE);
            self.chunk_requests.push(ChunkRequest { to: peer, last, cursor });
        }
    }

    pub(super) fn transfer_to(&mut self, peer: NodeId) -> Option<&mut Transfer> {
        match &mut self.progress_of(peer)?.mode {
            Mode::Snapshot(transfer) => Some(transfer),
            Mode::Probe { .. } | Mode::Replicate(_) | Mode::Lost => None,
        }
    }

    pub(super) fn set_mode(&mut self, peer: NodeId, mode: Mode) {
        if let Some(progress) = self.progress_of(peer) {
            if matches!(mode, Mode::Lost) {
                progress.match_index = LogIndex(0);
            }
            progress.mode = mode;
        }
        self.record_progress(peer);
    }

    pub(super) fn record_progress(&mut self, peer: NodeId) {
        let Role::Leader(leader) = &self.role else { return };
        if let Some(known) = leader.progress.get(&peer) {
            self.recorder.emit(|| EventKind::ProgressChanged { peer, progress: known.state() });
        }
    }
}
