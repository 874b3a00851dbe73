//! Items that expire unless clients keep them alive, in the order of their expiry, with a running
//! digest.
//!
//! The log advances the clock only at times. An item granted between two clock entries would expire
//! early if it counted from the earlier one. Instead it counts from the second clock entry after
//! the grant. The first entry may already be in flight when the leader applies the grant and
//! answers. The leader proposes the next clock entry only after it has applied the last one
//! (`replica/timekeeper.rs`).

use imbl::{OrdMap, OrdSet};

use crate::types::Micros;

/// An end at or above this marks an item that does not count yet; the lower bits are the clock at
/// the grant. Clocks count the microseconds during which the cluster had leaders, so none reaches
/// this value.
const UNCOUNTED: Micros = 1 << 63;

/// An item that expires by the store's clock.
pub(super) trait Ending {
    fn ends_at(&self) -> Micros;

    fn set_end(&mut self, ends_at: Micros);

    /// The time to live.
    fn ttl(&self) -> Micros;

    /// A hash of the whole content.
    fn digest(&self, id: u64) -> u64;

    /// The approximate memory in bytes.
    fn memory(&self) -> u64;
}

/// The end of an item that is granted at clock `now`, until it counts.
pub(super) const fn uncounted(now: Micros) -> Micros {
    UNCOUNTED | now
}

/// The remaining time at clock `now` of an item that was granted for `ttl` and ends at `ends_at`.
pub(super) const fn remaining(ends_at: Micros, ttl: Micros, now: Micros) -> Micros {
    if ends_at >= UNCOUNTED { ttl } else { ends_at.saturating_sub(now) }
}

/// When an item was last granted or used, by the store's clock.
pub(super) fn granted_at(item: &impl Ending) -> Micros {
    let ends_at = item.ends_at();
    if ends_at >= UNCOUNTED { ends_at - UNCOUNTED } else { ends_at.saturating_sub(item.ttl()) }
}

/// A table of expiring items. Cloning is O(1).
#[derive(Clone, Debug)]
pub(super) struct Expiring<T> {
    items: OrdMap<u64, T>,
    order: OrdSet<(Micros, u64)>,
    digest: u64,
    memory: u64,
}

impl<T> Default for Expiring<T> {
    fn default() -> Self {
        Self { items: OrdMap::new(), order: OrdSet::new(), digest: 0, memory: 0 }
    }
}

impl<T: Ending + Clone> Expiring<T> {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn get(&self, id: u64) -> Option<&T> {
        self.items.get(&id)
    }

    /// The items from `id` on, in the order of their IDs.
    pub(super) fn from(&self, id: u64) -> impl Iterator<Item = (u64, &T)> {
        self.items.range(id..).map(|(id, item)| (*id, item))
    }

    /// The sum of the hashes of all items.
    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }

    /// The approximate memory of all items in bytes.
    pub(super) const fn memory(&self) -> u64 {
        self.memory
    }

    pub(super) fn insert(&mut self, id: u64, item: T) {
        self.remove(id);
        self.order.insert((item.ends_at(), id));
        self.digest = self.digest.wrapping_add(item.digest(id));
        self.memory += item.memory();
        self.items.insert(id, item);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let item = self.items.remove(&id)?;
        self.order.remove(&(item.ends_at(), id));
        self.digest = self.digest.wrapping_sub(item.digest(id));
        self.memory -= item.memory();
        Some(item)
    }

    /// The item that expires first.
    pub(super) fn first(&self) -> Option<(u64, &T)> {
        let (_, id) = self.order.get_min()?;
        Some((*id, self.items.get(id)?))
    }

    /// The item that was granted or used longest ago. It scans all items.
    pub(super) fn idlest(&self) -> Option<(u64, &T)> {
        self.from(0).min_by_key(|(_, item)| granted_at(*item))
    }

    /// Removes an item that has expired by `now`.
    pub(super) fn pop_ended(&mut self, now: Micros) -> Option<u64> {
        let (ends_at, id) = *self.order.get_min()?;
        if ends_at > now {
            return None;
        }
        self.remove(id);
        Some(id)
    }

    /// Whether any item does not count yet.
    pub(super) fn has_uncounted(&self) -> bool {
        self.order.get_max().is_some_and(|(ends_at, _)| *ends_at >= UNCOUNTED)
    }

    /// Items that were granted before the clock reached `before` count from `now` on.
    pub(super) fn count(&mut self, before: Micros, now: Micros) {
        let due: Vec<u64> =
            self.order.range((UNCOUNTED, 0)..(uncounted(before), 0)).map(|(_, id)| *id).collect();
        for id in due {
            let Some(mut item) = self.remove(id) else { continue };
            item.set_end(now.saturating_add(item.ttl()));
            self.insert(id, item);
        }
    }
}
