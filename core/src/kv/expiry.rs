//! Things that end unless somebody keeps them: in the order in which they end, with a running digest.
//!
//! The time in the log is told now and then, so what is granted between two tellings must not count
//! from the one before: it would end early. It counts from the second telling after it was granted.
//! The first one may have been on its way already when the leader applied the grant and answered; the
//! leader tells the time again only when it has applied the last telling (`replica/timekeeper.rs`).

use imbl::{OrdMap, OrdSet};

use crate::types::Micros;

/// An end from here on is no time yet: the rest is what the clock said when it was granted. Clocks
/// count microseconds that the cluster has had leaders, so none gets there.
const UNCOUNTED: Micros = 1 << 63;

/// What ends at some time of the store's clock.
pub(super) trait Ending {
    fn ends_at(&self) -> Micros;

    fn set_end(&mut self, ends_at: Micros);

    /// How long it lasts.
    fn ttl(&self) -> Micros;

    /// A hash of all that it holds.
    fn digest(&self, id: u64) -> u64;

    /// About how many bytes it takes in memory.
    fn memory(&self) -> u64;
}

/// The end of what is granted when the clock says `now`, until it is counted.
pub(super) const fn uncounted(now: Micros) -> Micros {
    UNCOUNTED | now
}

/// How long something lasts from `now` on, when it was granted for `ttl` and ends at `ends_at`.
pub(super) const fn remaining(ends_at: Micros, ttl: Micros, now: Micros) -> Micros {
    if ends_at >= UNCOUNTED { ttl } else { ends_at.saturating_sub(now) }
}

/// When something was granted or used last, by the store's clock.
pub(super) fn granted_at(item: &impl Ending) -> Micros {
    let ends_at = item.ends_at();
    if ends_at >= UNCOUNTED { ends_at - UNCOUNTED } else { ends_at.saturating_sub(item.ttl()) }
}

/// See the module. Cloning it is O(1).
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

    /// From `id` on, in the order of their numbers.
    pub(super) fn from(&self, id: u64) -> impl Iterator<Item = (u64, &T)> {
        self.items.range(id..).map(|(id, item)| (*id, item))
    }

    /// Sum of the hashes of all.
    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }

    /// About how many bytes all take in memory.
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

    /// The one that ends first.
    pub(super) fn first(&self) -> Option<(u64, &T)> {
        let (_, id) = self.order.get_min()?;
        Some((*id, self.items.get(id)?))
    }

    /// The one that was granted or used longest ago. Looks at all of them.
    pub(super) fn idlest(&self) -> Option<(u64, &T)> {
        self.from(0).min_by_key(|(_, item)| granted_at(*item))
    }

    /// Removes one that has ended by `now`.
    pub(super) fn pop_ended(&mut self, now: Micros) -> Option<u64> {
        let (ends_at, id) = *self.order.get_min()?;
        if ends_at > now {
            return None;
        }
        self.remove(id);
        Some(id)
    }

    /// Whether anything does not count yet.
    pub(super) fn has_uncounted(&self) -> bool {
        self.order.get_max().is_some_and(|(ends_at, _)| *ends_at >= UNCOUNTED)
    }

    /// What was granted before the clock said `before` counts from `now` on.
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
