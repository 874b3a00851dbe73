//! Sessions: a client's request takes effect once, however often it is sent (§8; dissertation §6.3).
//!
//! A session remembers the answer to its latest request. It ends when it has been idle for its time
//! to live, by the time in the log, so that all replicas end it at the same entry. After that a
//! request of it is refused: nobody could tell whether it took effect before.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::command::{Answer, Applied, Command, Refusal};
use super::expiry::{Ending, MAX_TTL, MIN_TTL};
use super::store::KvStore;
use crate::rules::Rules;
use crate::types::{Micros, SessionId};
use crate::{codec, digest};

/// The most sessions that a store keeps.
pub const MAX_SESSIONS: usize = 10_000;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Session {
    /// How long it lasts after each request, in µs.
    pub ttl: Micros,
    /// When it ends, by the store's clock.
    pub ends_at: Micros,
    /// The number of its latest request; 0 before the first.
    pub sequence: u64,
    /// The answer to that.
    pub answer: Option<Applied>,
}

impl Ending for Session {
    fn ends_at(&self) -> Micros {
        self.ends_at
    }

    fn digest(&self, id: u64) -> u64 {
        let numbers = digest::of_numbers([self.ttl, self.ends_at, self.sequence]);
        let answer = digest::of_bytes(&codec::encode(&self.answer), numbers);
        digest::of_numbers([id, numbers, answer])
    }
}

impl KvStore {
    /// A session, unless it has ended.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(id.0)
    }

    /// All sessions.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.from(0).map(|(id, session)| (SessionId(id), session))
    }

    pub(super) fn open_session(&mut self, ttl: Micros) -> Answer {
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
            return Answer::Refused(Refusal::TimeToLive);
        }
        if self.sessions.len() >= MAX_SESSIONS {
            return Answer::Refused(Refusal::TooMany);
        }
        let id = self.next_id();
        let ends_at = self.clock.saturating_add(ttl);
        self.sessions.insert(id, Session { ttl, ends_at, sequence: 0, answer: None });
        Answer::Session(SessionId(id))
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
    ) -> Applied {
        let Some(session) = self.session(id).cloned() else {
            return self.refused(Refusal::NoSuchSession);
        };
        if sequence < session.sequence {
            return self.refused(Refusal::SupersededRequest);
        }
        let ends_at = self.clock.saturating_add(session.ttl);
        if let Some(answer) = &session.answer
            && sequence == session.sequence
            && rules.remembers_requests()
        {
            let answer = answer.clone();
            self.sessions.insert(id.0, Session { ends_at, ..session });
            return answer;
        }
        let applied = match Command::decode(command) {
            Ok(command) if may_be_in_session(&command) => self.apply_under(command, rules),
            Ok(_) => self.refused(Refusal::NotInSession),
            Err(_) => self.refused(Refusal::Malformed),
        };
        let answer = Some(applied.clone());
        self.sessions.insert(id.0, Session { ends_at, sequence, answer, ..session });
        applied
    }
}

pub(super) const fn may_be_in_session(command: &Command) -> bool {
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
        | Command::AdvanceClock { .. } => false,
    }
}
