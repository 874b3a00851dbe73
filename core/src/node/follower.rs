//! A follower appends what its leader sends (§5.3).

use super::gate::Needs;
use super::role::Role;
use super::{Node, RoleReason};
use crate::event::{CommitReason, EventKind};
use crate::log::{Entries, Entry};
use crate::message::{AppendResult, Body};
use crate::types::{LogIndex, LogPosition, NodeId, Term};

impl Node {
    /// Answers a message of an earlier term, to tell its sender the newer term (§5.1). A deposed
    /// leader or candidate would otherwise never learn it.
    ///
    /// The answer contains no round. The sender of the message may lead again by now, and mistake a
    /// round of its earlier term for a current round (pitfall 8).
    pub(super) fn answer_stale(&mut self, from: NodeId, term: Term, body: &Body) {
        let reply = match body {
            Body::AppendEntries { prev_log, .. } => Body::AppendEntriesReply {
                round: 0,
                result: AppendResult::Rejected { prev_log: *prev_log, hint: self.log.base() },
            },
            Body::InstallSnapshot { chunk, .. } => Body::AppendEntriesReply {
                round: 0,
                result: AppendResult::Rejected { prev_log: chunk.meta.last, hint: self.log.base() },
            },
            Body::PreVote { next_term, .. } => {
                Body::PreVoteReply { next_term: *next_term, granted: false }
            }
            Body::RequestVote { .. } => Body::RequestVoteReply { granted: false },
            Body::ReadIndex { question } => {
                Body::ReadIndexReply { question: *question, read_index: None }
            }
            Body::PreVoteReply { .. }
            | Body::RequestVoteReply { .. }
            | Body::AppendEntriesReply { .. }
            | Body::InstallSnapshotReply { .. }
            | Body::TimeoutNow
            | Body::ReadIndexReply { .. }
            | Body::StateDigest { .. } => return,
        };
        if let Body::PreVote { .. } | Body::RequestVote { .. } = body {
            let (pre, why) =
                (matches!(body, Body::PreVote { .. }), crate::rules::VoteRefusal::StaleTerm);
            self.recorder.emit(|| EventKind::VoteRefused { candidate: from, term, pre, why });
        }
        self.send(from, reply, Needs::HardState);
    }

    /// Handles a message from the leader of this term: a candidate becomes a follower. A late
    /// message does not show that the leader is alive, so it resets no timer and makes no promise.
    pub(super) fn follow(&mut self, leader: NodeId, late: bool) {
        let term = self.current_term();
        let until = (!late).then(|| self.now.after(self.config.election_timeout_min));
        match &mut self.role {
            // Another server leads the same term: Election Safety is violated elsewhere.
            Role::Leader(_) => return,
            // A late message does not end a pre-vote.
            Role::Candidate(candidate) if candidate.pre && late => {
                self.promise.heard(leader, term, until);
                return;
            }
            Role::Candidate(_) => self.become_follower(RoleReason::LeaderHeard),
            Role::Follower(_) => {}
        }
        self.promise.heard(leader, term, until);
        let news = self.leader() != Some(leader);
        if let Role::Follower(follower) = &mut self.role {
            if news {
                follower.verified = LogIndex(0);
            }
            follower.leader = Some(leader);
        }
        if news {
            self.recorder.emit(|| EventKind::LeaderKnown { leader, term });
            self.leader_is_known(leader);
        }
        if !late {
            self.set_election_timer();
        }
        self.give_up_reads_in_time();
        self.repeat_question();
    }

    pub(super) fn on_append_entries(
        &mut self,
        from: NodeId,
        prev_log: LogPosition,
        entries: Entries,
        leader_commit: LogIndex,
        round: u64,
    ) {
        if self.is_leader() {
            return;
        }
        self.met_leader(leader_commit.max(prev_log.index));
        let heartbeat = entries.is_empty();
        let Some(verified) = self.store_entries(prev_log, entries) else {
            let hint = self.log.last_possible_match(prev_log);
            let result = AppendResult::Rejected { prev_log, hint };
            self.send(from, Body::AppendEntriesReply { round, result }, Needs::HardState);
            return;
        };
        let so_far = self.verified_up_to(verified);
        let commit = self.rules.follower_commit(leader_commit, so_far, self.log.last().index);
        self.commit_to(commit, || CommitReason::LeaderCommit);
        // The answer to a heartbeat never waits for the disk, because it reports only durable
        // entries. It reports all that earlier messages have verified, because earlier answers may
        // be lost.
        let (match_index, needs) = if heartbeat && self.rules.acknowledges_durable_only() {
            (so_far.min(self.gate.durable_index()), Needs::HardState)
        } else {
            (verified, Needs::Log)
        };
        let result = AppendResult::Accepted { match_index };
        self.send(from, Body::AppendEntriesReply { round, result }, needs);
    }

    /// Records that the log equals the leader's up to `index`. Returns how far all its messages
    /// have verified the log.
    fn verified_up_to(&mut self, index: LogIndex) -> LogIndex {
        let Role::Follower(follower) = &mut self.role else { return index };
        follower.verified = follower.verified.max(index);
        follower.verified
    }

    /// Steps 2 to 4 of AppendEntries in figure 2. Returns the last index up to which the log now
    /// equals the leader's, or `None` if it does not hold `prev_log`.
    fn store_entries(&mut self, prev_log: LogPosition, entries: Entries) -> Option<LogIndex> {
        // Compacted entries are committed, so they equal the leader's log.
        let known = prev_log.index < self.log.base().index;
        if !known && !self.rules.accept_entries(prev_log, self.log.term_at(prev_log.index)) {
            return None;
        }
        let verified = entries.last().map_or(prev_log.index, |entry| entry.index);
        let base = self.log.base().index;
        let known = if prev_log == self.log.last() {
            0
        } else {
            entries.iter().take_while(|entry| self.holds(entry, base)).count()
        };
        let new = entries.skip(known);
        let conflict = new.first().map(|first| first.index);
        let unconfirmed = self.rules.truncate_without_conflict().then(|| verified.max(base).next());
        if let Some(from) = conflict.or(unconfirmed).filter(|it| *it <= self.log.last().index) {
            self.truncate(from);
        }
        // If the check of `prev_log` is broken, there may be a gap, which nothing can fill.
        if new.first().is_some_and(|first| first.index == self.log.last().index.next()) {
            self.append_entries(new);
        }
        Some(verified.max(base))
    }

    /// Whether the log has exactly this entry: same index and term mean same content (§5.3, Log
    /// Matching).
    fn holds(&self, entry: &Entry, base: LogIndex) -> bool {
        entry.index <= base || self.log.matches(entry.position())
    }

    pub(super) fn append_entries(&mut self, entries: Entries) {
        self.log.extend(entries.clone());
        let last = self.log.last();
        self.recorder.emit(|| EventKind::EntriesAppended { last, entries: entries.clone() });
        self.adopt_configurations(&entries);
        self.settle_in();
        self.gate.append(entries);
    }

    fn truncate(&mut self, from: LogIndex) {
        self.rules.assert(from > self.commit_index, "a committed entry is never removed (§5.4)");
        self.log.truncate(from);
        self.gate.truncate(from);
        let last = self.log.last();
        self.recorder.emit(|| EventKind::LogTruncated { from, last });
        self.roll_back_configurations(from);
    }

    /// Moves the commit index forward, if `index` is ahead; never past the log.
    pub(crate) fn commit_to(&mut self, index: LogIndex, why: impl FnOnce() -> CommitReason) {
        let to = index.min(self.log.last().index);
        if to > self.commit_index {
            self.move_commit_index(to, why);
        }
    }

    /// The only place where the commit index changes. All that waits for it continues here.
    pub(super) fn move_commit_index(&mut self, to: LogIndex, why: impl FnOnce() -> CommitReason) {
        let from = std::mem::replace(&mut self.commit_index, to);
        self.recorder.emit(|| EventKind::CommitAdvanced { from, to, why: why() });
        self.note_committed_configurations(from, to);
        match &self.role {
            Role::Follower(_) => self.answer_follower_reads(),
            Role::Candidate(_) => {}
            Role::Leader(_) => {
                for peer in self.peers() {
                    self.tell_commit(peer);
                }
                self.answer_confirmed_reads();
                self.continue_change();
                self.continue_transfer();
            }
        }
    }
}
