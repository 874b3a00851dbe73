//! Requests that carry a name of their own instead of a session: each takes effect once, however
//! often it is sent, for as long as its answer is remembered.
//!
//! That is what an HTTP client's `Idempotency-Key` needs, which comes from anybody and without an
//! introduction. The answer goes when its time is over, by the time in the log, so that all replicas
//! forget it at the same entry. From then on the same name is that of another request.

use bytes::Bytes;

use super::command::{Answer, Applied, Command, Refusal};
use super::expiry::{MAX_TTL, MIN_TTL};
use super::session::{Session, may_be_in_session};
use super::store::KvStore;
use crate::codec;
use crate::rules::Rules;
use crate::types::Micros;

/// The most answers to named requests that a store remembers.
pub const MAX_NAMED: usize = 100_000;

/// A transaction's results are remembered up to this length, in bytes: a longer list is forgotten,
/// and a repeated request learns only whether the comparisons held.
pub const MAX_RESULTS_BYTES: usize = 4 << 10;

/// What is remembered of such a request stands beside the sessions in snapshots, with a number that
/// no session has.
const NAMED: u64 = 1 << 63;

impl KvStore {
    /// How many answers to named requests are remembered.
    pub fn named_requests(&self) -> usize {
        self.named.len()
    }

    pub(super) fn apply_once(
        &mut self,
        name: u64,
        fingerprint: u64,
        ttl: Micros,
        command: &Bytes,
        rules: Rules,
    ) -> Applied {
        let id = name | NAMED;
        if let Some(Session { sequence, answer: Some(answer), .. }) = self.named.get(id)
            && rules.remembers_requests()
        {
            let same = *sequence == fingerprint;
            return if same { answer.clone() } else { self.refused(Refusal::NameReused) };
        }
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
            return self.refused(Refusal::TimeToLive);
        }
        if self.named.len() >= MAX_NAMED {
            return self.refused(Refusal::TooMany);
        }
        let applied = match Command::decode(command) {
            Ok(command) if may_be_in_session(&command) => self.apply_under(command, rules),
            Ok(_) => self.refused(Refusal::NotInSession),
            Err(_) => self.refused(Refusal::Malformed),
        };
        let ends_at = self.clock.saturating_add(ttl);
        let answer = Some(memorable(&applied));
        self.named.insert(id, Session { ttl, ends_at, sequence: fingerprint, answer });
        applied
    }

    /// Puts a session, or what is remembered of a named request, in its place as it is.
    pub(super) fn restore_session(&mut self, id: u64, session: Session) {
        if id & NAMED == 0 {
            self.sessions.insert(id, session);
        } else {
            self.named.insert(id, session);
        }
    }
}

/// The answer as it is remembered: small, since there are many.
fn memorable(applied: &Applied) -> Applied {
    match &applied.answer {
        Answer::Transaction { succeeded, results }
            if codec::encode(results).len() > MAX_RESULTS_BYTES =>
        {
            let answer = Answer::Transaction { succeeded: *succeeded, results: Vec::new() };
            Applied { revision: applied.revision, answer }
        }
        Answer::Done { .. }
        | Answer::Removed { .. }
        | Answer::Compared { .. }
        | Answer::Transaction { .. }
        | Answer::Lease { .. }
        | Answer::LeaseRevoked { .. }
        | Answer::Session(_)
        | Answer::SessionClosed
        | Answer::Clock { .. }
        | Answer::Refused(_) => applied.clone(),
    }
}
