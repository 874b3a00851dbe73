//! Refuses messages that no correct peer sends, before any part of them is believed, even their
//! term.
//!
//! A peer is known to be a server of the cluster, but may be faulty. Its messages must not stop
//! this server, exhaust the numbers of terms or indexes, or contradict committed entries.

use super::Node;
use super::role::Role;
use crate::event::MessageRefusal;
use crate::limits::MAX_CURSOR_BYTES;
use crate::log::{Entry, Payload};
use crate::message::{AppendResult, Body, Message, SnapshotChunk, SnapshotProgress};
use crate::snapshot::{Cursor, SnapshotMeta};
use crate::types::{LogIndex, LogPosition, NodeId, Term};

/// Messages that were refused since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refused {
    pub(crate) count: u64,
    pub(crate) latest: Option<(NodeId, MessageRefusal)>,
}

impl Node {
    /// Why a message is refused; `None` if it is accepted.
    pub(super) fn refusal(&self, message: &Message) -> Option<MessageRefusal> {
        let Message { from, to, term, .. } = *message;
        if to != self.id || from == self.id || from == NodeId::ENVIRONMENT {
            return Some(MessageRefusal::WrongAddress);
        }
        let known = self.current_term();
        let terms = [Some(term), next_term(&message.body)].into_iter().flatten();
        if terms.into_iter().any(|term| !self.rules.believes_term(term, known)) {
            return Some(MessageRefusal::ImpossibleNumber);
        }
        if !self.rules.believes_index(highest_index(&message.body)) {
            return Some(MessageRefusal::ImpossibleNumber);
        }
        if !is_well_formed(&message.body, term) {
            return Some(MessageRefusal::Malformed);
        }
        // If a rule is broken on purpose, correct servers contradict each other, and that must stay
        // visible.
        if term < known || !self.rules.all_in_force() {
            return None;
        }
        self.contradiction(message)
    }

    /// How a message of this term or a later one contradicts what this server knows.
    fn contradiction(&self, message: &Message) -> Option<MessageRefusal> {
        let Message { from, term, body, .. } = message;
        let this_term = *term == self.current_term();
        let other_leads = this_term && self.leader_of_term().is_some_and(|leader| leader != *from);
        match body {
            Body::AppendEntries { .. } | Body::InstallSnapshot { .. } if other_leads => {
                Some(MessageRefusal::SecondLeader)
            }
            Body::TimeoutNow | Body::ReadIndexReply { read_index: Some(_), .. } if other_leads => {
                Some(MessageRefusal::NotTheLeader)
            }
            Body::AppendEntries { prev_log, entries, .. } => {
                let known = |entry: &&Entry| entry.index <= self.commit_index;
                let mut positions = entries.iter().take_while(known).map(Entry::position);
                let agree = self.agrees(*prev_log) && positions.all(|it| self.agrees(it));
                (!agree).then_some(MessageRefusal::ContradictsCommitted)
            }
            Body::InstallSnapshot { chunk, .. } => {
                (!self.agrees(chunk.meta.last)).then_some(MessageRefusal::ContradictsCommitted)
            }
            Body::AppendEntriesReply { round, result } if this_term => {
                let index = match result {
                    AppendResult::Accepted { match_index } => *match_index,
                    AppendResult::Rejected { hint, .. } => hint.index,
                };
                self.invented(*round, index)
            }
            Body::InstallSnapshotReply { round, result, .. } if this_term => {
                let index = match result {
                    SnapshotProgress::Installed { match_index } => *match_index,
                    SnapshotProgress::Wants(_) => LogIndex(0),
                };
                self.invented(*round, index)
            }
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::RequestVote { .. }
            | Body::RequestVoteReply { .. }
            | Body::AppendEntriesReply { .. }
            | Body::InstallSnapshotReply { .. }
            | Body::TimeoutNow
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            // The replica judges a digest that differs.
            | Body::StateDigest { .. } => None,
        }
    }

    /// The leader of the current term, if this server has ever heard it.
    pub(super) fn leader_of_term(&self) -> Option<NodeId> {
        match &self.role {
            Role::Leader(_) => Some(self.id),
            Role::Follower(_) | Role::Candidate(_) => self.promise.leader_of(self.current_term()),
        }
    }

    /// Whether a leader's log may hold this position. A leader holds all committed entries (§5.4),
    /// and terms never decrease along a log.
    fn agrees(&self, position: LogPosition) -> bool {
        let committed = self.commit_index;
        let (base, index) = (self.log.base(), position.index);
        if index < base.index {
            return position.term <= base.term;
        }
        if index <= committed {
            return self.log.matches(position);
        }
        self.log.term_at(committed).is_none_or(|term| position.term >= term)
    }

    /// Refuses a follower's answer about a round that has not begun, or entries that this leader
    /// lacks.
    fn invented(&self, round: u64, index: LogIndex) -> Option<MessageRefusal> {
        let Role::Leader(leader) = &self.role else { return None };
        let invented = round > leader.round || index > self.log.last().index;
        invented.then_some(MessageRefusal::Unasked)
    }
}

/// The term that a message contains beside its own.
const fn next_term(body: &Body) -> Option<Term> {
    match body {
        Body::PreVote { next_term, .. } | Body::PreVoteReply { next_term, .. } => Some(*next_term),
        Body::RequestVote { .. }
        | Body::RequestVoteReply { .. }
        | Body::AppendEntries { .. }
        | Body::AppendEntriesReply { .. }
        | Body::InstallSnapshot { .. }
        | Body::InstallSnapshotReply { .. }
        | Body::TimeoutNow
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. }
        | Body::StateDigest { .. } => None,
    }
}

/// The highest log index in a message. [`follow`] checks that entries are consecutive.
fn highest_index(body: &Body) -> LogIndex {
    match body {
        Body::PreVote { last_log, .. } | Body::RequestVote { last_log, .. } => last_log.index,
        Body::AppendEntries { prev_log, leader_commit, entries, .. } => {
            let last = entries.last().map_or(prev_log.index, |entry| entry.index);
            last.max(prev_log.index).max(*leader_commit)
        }
        Body::AppendEntriesReply { result, .. } => match result {
            AppendResult::Accepted { match_index } => *match_index,
            AppendResult::Rejected { prev_log, hint } => prev_log.index.max(hint.index),
        },
        Body::InstallSnapshot { chunk, .. } => chunk.meta.last.index,
        Body::InstallSnapshotReply { last, result, .. } => match result {
            SnapshotProgress::Installed { match_index } => last.index.max(*match_index),
            SnapshotProgress::Wants(_) => last.index,
        },
        Body::ReadIndexReply { read_index, .. } => read_index.unwrap_or_default(),
        Body::StateDigest { index, .. } => *index,
        Body::PreVoteReply { .. }
        | Body::RequestVoteReply { .. }
        | Body::TimeoutNow
        | Body::ReadIndex { .. } => LogIndex(0),
    }
}

/// Whether a message of `term` is valid by itself.
fn is_well_formed(body: &Body, term: Term) -> bool {
    match body {
        Body::AppendEntries { prev_log, entries, .. } => {
            term > Term(0) && follow(*prev_log, entries, term)
        }
        Body::InstallSnapshot { chunk, .. } => {
            let SnapshotChunk { meta: SnapshotMeta { last, membership }, cursor, next, .. } =
                &**chunk;
            let there = is_position(*last) && last.index > LogIndex(0) && last.term <= term;
            // An empty cursor is the beginning, so it never comes next.
            let goes_on = next.as_ref().is_none_or(|next| next != cursor && !next.0.is_empty());
            let is_short = is_cursor(cursor) && next.as_ref().is_none_or(is_cursor);
            there && !membership.voters.is_empty() && goes_on && is_short
        }
        Body::InstallSnapshotReply { result: SnapshotProgress::Wants(cursor), .. } => {
            is_cursor(cursor)
        }
        Body::AppendEntriesReply { result: AppendResult::Rejected { hint, .. }, .. } => {
            hint.term <= term
        }
        Body::PreVote { .. }
        | Body::PreVoteReply { .. }
        | Body::RequestVote { .. }
        | Body::RequestVoteReply { .. }
        | Body::AppendEntriesReply { .. }
        | Body::InstallSnapshotReply { .. }
        | Body::TimeoutNow
        | Body::ReadIndex { .. }
        | Body::ReadIndexReply { .. }
        | Body::StateDigest { .. } => true,
    }
}

/// Whether the cursor may name a place in a state. A longer cursor would only waste memory.
fn is_cursor(cursor: &Cursor) -> bool {
    cursor.0.len() <= MAX_CURSOR_BYTES
}

/// Whether the entries follow `prev_log` and each other, with terms that never decrease and never
/// exceed the leader's.
fn follow(prev_log: LogPosition, entries: &[Entry], term: Term) -> bool {
    let mut previous = prev_log;
    let in_order = entries.iter().all(|entry| {
        let follows = entry.index == previous.index.next() && entry.term >= previous.term;
        previous = entry.position();
        let has_voters = match &entry.payload {
            Payload::Membership(membership) => !membership.voters.is_empty(),
            Payload::Noop | Payload::Command(_) => true,
        };
        follows && entry.term > Term(0) && has_voters
    });
    is_position(prev_log) && in_order && previous.term <= term
}

/// Whether a log can have this position: only index 0 has term 0.
fn is_position(position: LogPosition) -> bool {
    (position.index == LogIndex(0)) == (position.term == Term(0))
}
