//! Requests that carry their own name instead of a session. Each takes effect once, however often
//! it is sent, as long as its answer is remembered.
//!
//! The `Idempotency-Key` of HTTP clients needs this: any client may send it, without opening a
//! session. The answer expires by the replicated clock, so all replicas forget it at the same
//! entry. After that the same name means a new request.
//!
//! Answers take about [`MAX_NAMED_BYTES`] at most. If another answer does not fit, the oldest
//! answers are dropped, but none before [`MIN_REMEMBERED`]. A client that retries within that time
//! is always safe. If that makes no room, the request is rejected before it changes anything.

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

/// Marks the numbers of named requests. Snapshots store them together with the sessions, which have
/// no such numbers.
const NAMED: u64 = 1 << 63;

impl KvStore {
    /// The number of remembered answers to named requests.
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
            // The first release keeps the full answer, whatever its length.
            (Answer::Compared { .. }, Semantics::FIRST) => applied.clone(),
            _ => memorable(&applied, MAX_REMEMBERED_BYTES),
        });
        self.named.insert(id, Session { ttl, ends_at, sequence: fingerprint, answer });
        Ok(applied)
    }

    /// Drops the oldest answers if another one needs their room. Returns whether there is room.
    fn has_room_for_name(&mut self) -> bool {
        let limits = self.semantics.limits();
        while self.named.len() >= limits.named || self.named.memory() >= limits.named_bytes {
            // All answers are remembered for the same time, so the first to expire is the oldest.
            let oldest = self.named.first().map(|(id, answer)| (id, granted_at(answer)));
            let Some((id, granted)) = oldest else { return true };
            if !limits.makes_room || self.clock.saturating_sub(granted) < MIN_REMEMBERED {
                return false;
            }
            self.named.remove(id);
        }
        true
    }

    /// Inserts a session, or the answer to a named request, unchanged.
    pub(super) fn restore_session(&mut self, id: u64, session: Session) {
        if id & NAMED == 0 {
            self.sessions.insert(id, session);
        } else {
            self.named.insert(id, session);
        }
    }
}
