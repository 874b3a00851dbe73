//! Requests that carry a name of their own instead of a session: each takes effect once, however
//! often it is sent, for as long as its answer is remembered.
//!
//! That is what an HTTP client's `Idempotency-Key` needs, which comes from anybody and without an
//! introduction. The answer goes when its time is over, by the time in the log, so that all replicas
//! forget it at the same entry. From then on the same name is that of another request.
//!
//! Answers take about [`MAX_NAMED_BYTES`] at most. Where another one does not fit, the oldest go first, but
//! none before [`MIN_REMEMBERED`]: a client that tries again within that time is always safe. Where
//! that makes no room the request is refused before anything happens.

use bytes::Bytes;

use super::command::{Answer, Applied, Refusal, UnknownCommand};
use super::expiry::granted_at;
use super::session::{Session, memorable};
use super::store::KvStore;
#[cfg(doc)]
use crate::limits::MAX_NAMED_BYTES;
use crate::limits::{MAX_REMEMBERED_BYTES, MAX_TTL, MIN_REMEMBERED, MIN_TTL, Semantics};
use crate::rules::Rules;
use crate::types::Micros;

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
    ) -> Result<Applied, UnknownCommand> {
        let id = name | NAMED;
        if let Some(Session { sequence, answer: Some(answer), .. }) = self.named.get(id)
            && rules.remembers_requests()
        {
            let same = *sequence == fingerprint;
            return Ok(if same { answer.clone() } else { self.refused(Refusal::NameReused) });
        }
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
            return Ok(self.refused(Refusal::TimeToLive));
        }
        if !self.has_room_for_name() {
            return Ok(self.refused(Refusal::TooMany));
        }
        let applied = self.apply_inner(command, rules)?;
        let grace = self.semantics.limits().named_grace;
        let ends_at = self.clock.saturating_add(ttl).saturating_add(grace);
        let answer = Some(match (&applied.answer, self.semantics) {
            // The first release keeps this one whole, however long.
            (Answer::Compared { .. }, Semantics::FIRST) => applied.clone(),
            _ => memorable(&applied, MAX_REMEMBERED_BYTES),
        });
        self.named.insert(id, Session { ttl, ends_at, sequence: fingerprint, answer });
        Ok(applied)
    }

    /// Whether another answer can be remembered, perhaps in the place of the oldest ones.
    fn has_room_for_name(&mut self) -> bool {
        let limits = self.semantics.limits();
        while self.named.len() >= limits.named || self.named.memory() >= limits.named_bytes {
            // All are remembered for the same time, so the first to end is the oldest.
            let oldest = self.named.first().map(|(id, answer)| (id, granted_at(answer)));
            let Some((id, granted)) = oldest else { return true };
            if !limits.makes_room || self.clock.saturating_sub(granted) < MIN_REMEMBERED {
                return false;
            }
            self.named.remove(id);
        }
        true
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
