//! Things that end unless somebody keeps them: in the order in which they end, with a running digest.

use imbl::{OrdMap, OrdSet};

use crate::types::{MILLISECOND, Micros, SECOND};

/// The shortest time to live of a lease or session, in µs.
pub const MIN_TTL: Micros = MILLISECOND;

/// The longest, in µs: a year.
pub const MAX_TTL: Micros = 365 * 24 * 3600 * SECOND;

/// What ends at some time of the store's clock.
pub(super) trait Ending {
    fn ends_at(&self) -> Micros;

    /// A hash of all that it holds.
    fn digest(&self, id: u64) -> u64;
}

/// See the module. Cloning it is O(1).
#[derive(Clone, Debug)]
pub(super) struct Expiring<T> {
    items: OrdMap<u64, T>,
    order: OrdSet<(Micros, u64)>,
    digest: u64,
}

impl<T> Default for Expiring<T> {
    fn default() -> Self {
        Self { items: OrdMap::new(), order: OrdSet::new(), digest: 0 }
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

    pub(super) fn insert(&mut self, id: u64, item: T) {
        self.remove(id);
        self.order.insert((item.ends_at(), id));
        self.digest = self.digest.wrapping_add(item.digest(id));
        self.items.insert(id, item);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let item = self.items.remove(&id)?;
        self.order.remove(&(item.ends_at(), id));
        self.digest = self.digest.wrapping_sub(item.digest(id));
        Some(item)
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
}
