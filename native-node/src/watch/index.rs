//! Which ranges of keys are watched, and by whom.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use interavl::IntervalTree;
use raft_core::kv::KeyRange;

/// Where a range begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Edge {
    /// Right before a key.
    Before(Bytes),
    /// Right after a key.
    After(Bytes),
    /// After all keys.
    End,
}

impl Ord for Edge {
    fn cmp(&self, other: &Self) -> Ordering {
        let place = |edge: &Self| match edge {
            Self::Before(_) => 0,
            Self::After(_) => 1,
            Self::End => 2,
        };
        match (self, other) {
            (Self::Before(a) | Self::After(a), Self::Before(b) | Self::After(b)) => {
                a.cmp(b).then(place(self).cmp(&place(other)))
            }
            (Self::End, _) | (_, Self::End) => place(self).cmp(&place(other)),
        }
    }
}

impl PartialOrd for Edge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Finds the watchers of a key in a time that grows with the logarithm of the number of ranges, and
/// with the number of those found. Watchers of the same range share a place.
#[derive(Debug, Default)]
pub(super) struct Index {
    ranges: IntervalTree<Edge, BTreeSet<u64>>,
}

impl Index {
    /// A watcher wants to hear of the keys of a range. An empty range concerns nobody.
    pub(super) fn insert(&mut self, range: &KeyRange, watcher: u64) {
        let Some(edges) = edges(range) else { return };
        if let Some(watchers) = self.ranges.get_mut(&edges) {
            watchers.insert(watcher);
        } else {
            self.ranges.insert(edges, BTreeSet::from([watcher]));
        }
    }

    /// It does not want to any more.
    pub(super) fn remove(&mut self, range: &KeyRange, watcher: u64) {
        let Some(edges) = edges(range) else { return };
        let Some(watchers) = self.ranges.get_mut(&edges) else { return };
        watchers.remove(&watcher);
        if watchers.is_empty() {
            self.ranges.remove(&edges);
        }
    }

    /// Who watches a key, in groups of those that watch the same range.
    pub(super) fn find(&self, key: &Bytes, mut found: impl FnMut(&BTreeSet<u64>)) {
        let place = Edge::Before(key.clone())..Edge::After(key.clone());
        for (_, watchers) in self.ranges.iter_overlaps(&place) {
            found(watchers);
        }
    }
}

fn edges(range: &KeyRange) -> Option<Range<Edge>> {
    let start = Edge::Before(range.start.clone());
    let end = range.end.clone().map_or(Edge::End, Edge::Before);
    (start < end).then_some(start..end)
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
        /// Guards watchers: whoever watches a key is found once, and nobody else, while others come
        /// and go.
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
