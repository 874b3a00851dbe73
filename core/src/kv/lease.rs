//! Leases: when a lease ends, the store removes the keys attached to it.

use serde::{Deserialize, Serialize};

use super::command::{Answer, Refusal};
use super::expiry::{Ending, remaining, uncounted};
use super::store::KvStore;
use crate::digest;
use crate::limits::{EXPIRING_MEMORY, MAX_LEASES, MAX_TTL, MIN_TTL};
use crate::types::{LeaseId, Micros};

/// A lease, which ends unless clients keep it alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// The time to live in µs; it restarts each time the lease is kept alive.
    pub ttl: Micros,
    /// When the lease ends, by the store's clock. Before the lease counts, this is a number that no
    /// clock reaches; see [`Self::remaining`].
    pub ends_at: Micros,
}

impl Lease {
    /// The remaining time in µs at clock `now`.
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
    /// The lease with this ID, unless it has ended.
    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(id.0)
    }

    /// All leases.
    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.leases.from(0).map(|(id, lease)| (LeaseId(id), lease))
    }

    /// The keys attached to a lease.
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

    /// The end of an item that is granted now.
    pub(super) const fn end_after(&self, ttl: Micros) -> Micros {
        if self.semantics.limits().counts_from_after {
            uncounted(self.clock)
        } else {
            self.clock.saturating_add(ttl)
        }
    }

    /// Whether a lease does not count yet and waits for a clock entry.
    pub fn has_uncounted_lease(&self) -> bool {
        self.leases.has_uncounted()
    }

    /// Advances the clock and ends expired leases and sessions. The keys of all expired leases are
    /// removed in one revision.
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
