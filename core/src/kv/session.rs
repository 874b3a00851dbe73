//! Sessions: each request of a client takes effect once, however often it is sent (§8; dissertation
//! §6.3).
//!
//! A session remembers the answer to its latest request. It ends after it was idle for its time to
//! live, by the replicated clock, so all replicas end it at the same entry. Later requests of the
//! session are rejected, because it is unknown whether they took effect before.
//!
//! For the same reason a session may be ended early without harm: its client learns that it is
//! gone, and nothing is executed twice. At the maximum number of sessions, a new session replaces
//! the session that was idle longest.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::command::{Answer, Applied, Command, Refusal, UnknownCommand};
use super::expiry::{Ending, granted_at, remaining};
use super::store::{KvStore, Pair};
use super::transaction::OperationResult;
use crate::limits::{EXPIRING_MEMORY, MAX_SESSIONS, MIN_IDLE, MIN_TTL};
use crate::rules::Rules;
use crate::types::{Micros, SessionId};
use crate::{codec, digest};

/// A client session.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Session {
    /// The time to live in µs; it restarts with each request.
    pub ttl: Micros,
    /// When the session ends, by the store's clock. Before the time to live counts, this is a
    /// number that no clock reaches; see [`Self::remaining`].
    pub ends_at: Micros,
    /// The number of the latest request; 0 before the first.
    pub sequence: u64,
    /// The answer to the latest request.
    pub answer: Option<Applied>,
}

impl Session {
    /// The remaining time in µs at clock `now`, if the session is not used.
    pub const fn remaining(&self, now: Micros) -> Micros {
        remaining(self.ends_at, self.ttl, now)
    }
}

impl Ending for Session {
    fn ends_at(&self) -> Micros {
        self.ends_at
    }

    fn set_end(&mut self, ends_at: Micros) {
        self.ends_at = ends_at;
    }

    fn ttl(&self) -> Micros {
        self.ttl
    }

    fn digest(&self, id: u64) -> u64 {
        let numbers = digest::of_numbers([self.ttl, self.ends_at, self.sequence]);
        let answer = digest::of_bytes(&codec::encode(&self.answer), numbers);
        digest::of_numbers([id, numbers, answer])
    }

    fn memory(&self) -> u64 {
        EXPIRING_MEMORY + self.answer.as_ref().map_or(0, |it| it.answer.bytes() as u64)
    }
}

impl KvStore {
    /// The session with this ID, unless it has ended.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(id.0)
    }

    /// All sessions.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions_from(SessionId(0))
    }

    /// The number of sessions.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// The sessions from this ID on.
    pub fn sessions_from(&self, first: SessionId) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.from(first.0).map(|(id, session)| (SessionId(id), session))
    }

    pub(super) fn open_session(&mut self, ttl: Micros) -> Answer {
        if !(MIN_TTL..=self.semantics.limits().session_ttl).contains(&ttl) {
            return Answer::Refused(Refusal::TimeToLive);
        }
        if self.sessions.len() >= MAX_SESSIONS && !self.end_idle_session() {
            return Answer::Refused(Refusal::TooMany);
        }
        let id = self.next_id();
        let ends_at = self.end_after(ttl);
        self.sessions.insert(id, Session { ttl, ends_at, sequence: 0, answer: None });
        Answer::Session(SessionId(id))
    }

    /// Ends the session that was idle longest, if it was idle for [`MIN_IDLE`]. Returns whether one
    /// ended.
    fn end_idle_session(&mut self) -> bool {
        if !self.semantics.limits().makes_room {
            return false;
        }
        let idlest = self.sessions.idlest().map(|(id, session)| (id, granted_at(session)));
        let clock = self.clock;
        let ended = idlest.filter(|(_, used)| clock.saturating_sub(*used) >= MIN_IDLE);
        ended.is_some_and(|(id, _)| self.sessions.remove(id).is_some())
    }

    pub(super) fn close_session(&mut self, id: SessionId) -> Answer {
        match self.sessions.remove(id.0) {
            Some(_) => Answer::SessionClosed,
            None => Answer::Refused(Refusal::NoSuchSession),
        }
    }

    pub(super) fn apply_in_session(
        &mut self,
        id: SessionId,
        sequence: u64,
        command: &Bytes,
        rules: Rules,
    ) -> Result<Applied, UnknownCommand> {
        let Some(session) = self.session(id).cloned() else {
            return Ok(self.refused(Refusal::NoSuchSession));
        };
        if sequence < session.sequence {
            return Ok(self.refused(Refusal::SupersededRequest));
        }
        let ends_at = self.end_after(session.ttl);
        if let Some(answer) = &session.answer
            && sequence == session.sequence
            && rules.remembers_requests()
        {
            let answer = answer.clone();
            self.sessions.insert(id.0, Session { ends_at, ..session });
            return Ok(answer);
        }
        let applied = self.apply_inner(command, rules)?;
        let answer = Some(memorable(&applied, self.semantics.limits().answer_bytes));
        self.sessions.insert(id.0, Session { ends_at, sequence, answer, ..session });
        Ok(applied)
    }

    /// Applies the inner command of another command.
    pub(super) fn apply_inner(
        &mut self,
        command: &Bytes,
        rules: Rules,
    ) -> Result<Applied, UnknownCommand> {
        let command = Command::decode(command)?;
        if may_be_in_session(&command) {
            self.apply_under(command, rules)
        } else {
            Ok(self.refused(Refusal::NotInSession))
        }
    }

    /// Shortens answers that are longer than a part of a snapshot can be. An earlier release kept
    /// them; a state with such an answer can be loaded, but neither sent nor saved.
    pub fn forget_large_answers(&mut self) {
        let limit = crate::limits::MAX_ANSWER_BYTES;
        let answer = |session: &Session| {
            let answer = session.answer.as_ref()?;
            let short = memorable(answer, limit);
            (short != *answer).then_some(short)
        };
        let large: Vec<(u64, Session)> = self
            .sessions
            .from(0)
            .filter_map(|(id, it)| Some((id, Session { answer: Some(answer(it)?), ..it.clone() })))
            .collect();
        for (id, session) in large {
            self.sessions.insert(id, session);
        }
    }
}

impl Answer {
    /// The size of the keys and values in the answer, in bytes.
    fn bytes(&self) -> usize {
        match self {
            Self::Transaction { results, .. } => results.iter().map(|it| 16 + it.bytes()).sum(),
            Self::Compared { found, .. } => found.as_ref().map_or(0, |pair| pair.bytes()),
            Self::Done { .. }
            | Self::Removed { .. }
            | Self::Lease { .. }
            | Self::LeaseRevoked { .. }
            | Self::Session(_)
            | Self::SessionClosed
            | Self::Clock { .. }
            | Self::Semantics { .. }
            | Self::Refused(_) => 0,
        }
    }
}

/// The answer as it is remembered. If it takes more than `limit` bytes, only the result of the
/// comparisons is remembered, as in a transaction without results.
pub(super) fn memorable(applied: &Applied, limit: usize) -> Applied {
    let forgotten = match &applied.answer {
        // The length of the contents may already exceed the limit, which avoids the encoding.
        Answer::Transaction { succeeded, results }
            if contents(results) > limit || codec::encode(results).len() > limit =>
        {
            *succeeded
        }
        Answer::Compared { succeeded, found: Some(pair) } if pair.bytes() > limit => *succeeded,
        Answer::Done { .. }
        | Answer::Removed { .. }
        | Answer::Compared { .. }
        | Answer::Transaction { .. }
        | Answer::Lease { .. }
        | Answer::LeaseRevoked { .. }
        | Answer::Session(_)
        | Answer::SessionClosed
        | Answer::Clock { .. }
        | Answer::Semantics { .. }
        | Answer::Refused(_) => return applied.clone(),
    };
    let answer = Answer::Transaction { succeeded: forgotten, results: Vec::new() };
    Applied { revision: applied.revision, answer }
}

/// The total length of the keys and values.
fn contents(results: &[OperationResult]) -> usize {
    let length = |pair: &Pair| pair.key.len() + pair.value.value.len();
    let of_result = |result: &OperationResult| match result {
        OperationResult::Found(pair) => pair.as_ref().map_or(0, length),
        OperationResult::Pairs(pairs) => pairs.iter().map(length).sum(),
        OperationResult::Done { .. } | OperationResult::Removed { .. } => 0,
    };
    results.iter().map(of_result).sum()
}

const fn may_be_in_session(command: &Command) -> bool {
    match command {
        Command::Put { .. }
        | Command::Delete { .. }
        | Command::DeleteRange(_)
        | Command::CompareAndSet { .. }
        | Command::Transaction(_)
        | Command::GrantLease { .. }
        | Command::KeepLeaseAlive(_)
        | Command::RevokeLease(_) => true,
        Command::OpenSession { .. }
        | Command::CloseSession(_)
        | Command::InSession { .. }
        | Command::Once { .. }
        | Command::AdvanceClock { .. }
        | Command::RaiseSemantics { .. } => false,
    }
}
