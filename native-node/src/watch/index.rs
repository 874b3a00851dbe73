//! Which ranges of keys are watched, and by which watchers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Included, Unbounded};

use bytes::Bytes;
use raft_core::kv::KeyRange;

/// Finds the watchers of a key. Watchers of the same range share an entry.
///
/// Nearly all ranges are prefixes. Their watchers are found in a time that grows with the logarithm
/// of the number of prefixes, and with the number of matches. Other ranges are checked in turn; the
/// range of all client keys is such a range.
#[derive(Debug, Default)]
pub(super) struct Index {
    prefixes: BTreeMap<Bytes, BTreeSet<u64>>,
    /// By start and end.
    others: BTreeMap<(Bytes, Option<Bytes>), BTreeSet<u64>>,
}

impl Index {
    /// Registers a watcher for the keys of a range.
    pub(super) fn insert(&mut self, range: &KeyRange, watcher: u64) {
        if is_prefix(range) {
            self.prefixes.entry(range.start.clone()).or_default().insert(watcher);
        } else {
            let place = (range.start.clone(), range.end.clone());
            self.others.entry(place).or_default().insert(watcher);
        }
    }

    /// Unregisters the watcher.
    pub(super) fn remove(&mut self, range: &KeyRange, watcher: u64) {
        if is_prefix(range) {
            remove_from(&mut self.prefixes, &range.start, watcher);
        } else {
            remove_from(&mut self.others, &(range.start.clone(), range.end.clone()), watcher);
        }
    }

    /// The watchers of a key, in groups that watch the same range.
    pub(super) fn find(&self, key: &[u8], mut found: impl FnMut(&BTreeSet<u64>)) {
        // Start with the greatest prefix that is not above the key, then continue with their common
        // beginning. Each step skips all prefixes in between at once.
        let mut part = Some(key);
        while let Some(below) = part {
            let mut candidates = self.prefixes.range::<[u8], _>((Unbounded, Included(below)));
            let Some((prefix, watchers)) = candidates.next_back() else { break };
            let common = prefix.iter().zip(key).take_while(|(one, other)| one == other).count();
            part = if common == prefix.len() {
                found(watchers);
                common.checked_sub(1).map(|shorter| &key[..shorter])
            } else {
                Some(&key[..common])
            };
        }
        for ((start, end), watchers) in &self.others {
            if key >= &start[..] && end.as_ref().is_none_or(|end| key < &end[..]) {
                found(watchers);
            }
        }
    }
}

fn is_prefix(range: &KeyRange) -> bool {
    *range == KeyRange::prefix(range.start.clone())
}

fn remove_from<K: Ord>(places: &mut BTreeMap<K, BTreeSet<u64>>, place: &K, watcher: u64) {
    if let Some(watchers) = places.get_mut(place) {
        watchers.remove(&watcher);
        if watchers.is_empty() {
            places.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Bytes> {
        prop::collection::vec(prop::sample::select(vec![0_u8, 1, 0xff]), 0..4).prop_map(Bytes::from)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        prop_oneof![
            key().prop_map(KeyRange::prefix),
            (key(), prop::option::of(key())).prop_map(|(start, end)| KeyRange { start, end }),
        ]
    }

    proptest! {
        /// Guards that exactly the watchers of a key are found, each once, while others come and
        /// go.
        #[test]
        fn exactly_those_that_watch_a_key_are_found(
            ranges in prop::collection::vec(range(), 0..30),
            gone in prop::collection::btree_set(0_usize..30, 0..30),
            keys in prop::collection::vec(key(), 1..20),
        ) {
            let mut index = Index::default();
            for (number, range) in (0..).zip(&ranges) {
                index.insert(range, number);
            }
            for number in gone.iter().filter(|number| **number < ranges.len()) {
                index.remove(&ranges[*number], *number as u64);
            }
            for key in keys {
                let mut found: Vec<u64> = Vec::new();
                index.find(&key, |watchers| found.extend(watchers));
                found.sort_unstable();
                let wanted: Vec<u64> = (0..ranges.len())
                    .filter(|number| !gone.contains(number) && ranges[*number].contains(&key))
                    .map(|number| number as u64)
                    .collect();
                prop_assert_eq!(found, wanted, "{:?}", key);
            }
        }
    }
}
