//! Leases: keys that are tied to one go when it ends.

use serde::{Deserialize, Serialize};

use super::command::{Answer, Refusal};
use super::expiry::{Ending, MAX_TTL, MIN_TTL};
use super::store::KvStore;
use crate::digest;
use crate::types::{LeaseId, Micros};

/// The most leases that a store keeps.
pub const MAX_LEASES: usize = 100_000;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lease {
    /// How long it lasts after each time that it is kept alive, in µs.
    pub ttl: Micros,
    /// When it ends, by the store's clock.
    pub ends_at: Micros,
}

impl Ending for Lease {
    fn ends_at(&self) -> Micros {
        self.ends_at
    }

    fn digest(&self, id: u64) -> u64 {
        digest::of_numbers([id, self.ttl, self.ends_at])
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
        self.leases.insert(id, Lease { ttl, ends_at: self.clock.saturating_add(ttl) });
        Answer::Lease { id: LeaseId(id), ttl }
    }

    pub(super) fn keep_lease_alive(&mut self, id: LeaseId) -> Answer {
        let Some(&Lease { ttl, .. }) = self.lease(id) else {
            return Answer::Refused(Refusal::NoSuchLease);
        };
        self.leases.insert(id.0, Lease { ttl, ends_at: self.clock.saturating_add(ttl) });
        Answer::Lease { id, ttl }
    }

    pub(super) fn revoke_lease(&mut self, id: LeaseId) -> Answer {
        if self.leases.remove(id.0).is_none() {
            return Answer::Refused(Refusal::NoSuchLease);
        }
        let keys = self.lease_keys(id).cloned().collect();
        Answer::LeaseRevoked { keys: self.remove_all(keys) }
    }

    /// The time moves on: leases and sessions end, and with the leases their keys, all at one
    /// revision.
    pub(super) fn advance_clock(&mut self, to: Micros) -> Answer {
        self.clock = self.clock.max(to);
        while self.sessions.pop_ended(self.clock).is_some() {}
        while self.named.pop_ended(self.clock).is_some() {}
        let mut keys = Vec::new();
        while let Some(id) = self.leases.pop_ended(self.clock) {
            keys.extend(self.lease_keys(LeaseId(id)).cloned());
        }
        Answer::Clock { keys: self.remove_all(keys) }
    }
}
