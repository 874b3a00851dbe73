//! Leases: keys that are tied to one go when it ends.

use serde::{Deserialize, Serialize};

use super::command::{Answer, Refusal};
use super::expiry::{Ending, remaining, uncounted};
use super::store::KvStore;
use crate::digest;
use crate::limits::{EXPIRING_MEMORY, MAX_LEASES, MAX_TTL, MIN_TTL};
use crate::types::{LeaseId, Micros};

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// How long it lasts after each time that it is kept alive, in µs.
    pub ttl: Micros,
    /// When it ends, by the store's clock; a number that no clock reaches until it counts, see
    /// [`Self::remaining`].
    pub ends_at: Micros,
}

impl Lease {
    /// How long it lasts yet, in µs, when the store's clock says `now`.
    pub const fn remaining(&self, now: Micros) -> Micros {
        remaining(self.ends_at, self.ttl, now)
    }
}

impl Ending for Lease {
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
        digest::of_numbers([id, self.ttl, self.ends_at])
    }

    fn memory(&self) -> u64 {
        EXPIRING_MEMORY
    }
}

impl KvStore {
    /// A lease, unless it has ended.
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(id.0)
    }

    /// All leases.
    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.leases.from(0).map(|(id, lease)| (LeaseId(id), lease))
    }

    /// The keys that go with a lease.
    pub fn lease_keys(&self, id: LeaseId) -> impl Iterator<Item = &bytes::Bytes> {
        let first = (id, bytes::Bytes::new());
        self.tied.range(first..).take_while(move |(own, _)| *own == id).map(|(_, key)| key)
    }

    pub(super) fn grant_lease(&mut self, ttl: Micros) -> Answer {
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
            return Answer::Refused(Refusal::TimeToLive);
        }
        if self.leases.len() >= MAX_LEASES {
            return Answer::Refused(Refusal::TooMany);
        }
        let id = self.next_id();
        self.leases.insert(id, Lease { ttl, ends_at: self.end_after(ttl) });
        Answer::Lease { id: LeaseId(id), ttl }
    }

    pub(super) fn keep_lease_alive(&mut self, id: LeaseId) -> Answer {
        let Some(&Lease { ttl, .. }) = self.lease(id) else {
            return Answer::Refused(Refusal::NoSuchLease);
        };
        self.leases.insert(id.0, Lease { ttl, ends_at: self.end_after(ttl) });
        Answer::Lease { id, ttl }
    }

    pub(super) fn revoke_lease(&mut self, id: LeaseId) -> Answer {
        if self.leases.remove(id.0).is_none() {
            return Answer::Refused(Refusal::NoSuchLease);
        }
        let keys = self.lease_keys(id).cloned().collect();
        Answer::LeaseRevoked { keys: self.remove_all(keys) }
    }

    /// When what is granted now ends.
    pub(super) const fn end_after(&self, ttl: Micros) -> Micros {
        if self.semantics.limits().counts_from_after {
            uncounted(self.clock)
        } else {
            self.clock.saturating_add(ttl)
        }
    }

    /// Whether a lease waits for the time to be told before it counts.
    pub fn has_uncounted_lease(&self) -> bool {
        self.leases.has_uncounted()
    }

    /// The time moves on: leases and sessions end, and with the leases their keys, all at one
    /// revision.
    pub(super) fn advance_clock(&mut self, to: Micros) -> Answer {
        if to > self.clock {
            let before = std::mem::replace(&mut self.clock, to);
            self.leases.count(before, to);
            self.sessions.count(before, to);
        }
        while self.sessions.pop_ended(self.clock).is_some() {}
        while self.named.pop_ended(self.clock).is_some() {}
        let mut keys = Vec::new();
        while let Some(id) = self.leases.pop_ended(self.clock) {
            keys.extend(self.lease_keys(LeaseId(id)).cloned());
        }
        Answer::Clock { keys: self.remove_all(keys) }
    }
}
