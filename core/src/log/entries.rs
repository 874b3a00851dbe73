//! A run of entries that is shared instead of copied.
//!
//! A leader passes the same entries to its log, its disk and every follower; a follower passes them
//! to its log and its disk. All of them share one block, so a clone only increments a reference
//! count.

use std::ops::{Deref, Range};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Entry;

/// Consecutive entries. Derefs to a slice; cloning is O(1).
#[derive(Clone, Default)]
pub struct Entries {
    /// `None` if there are no entries, as in heartbeats.
    block: Option<Arc<[Entry]>>,
    range: Range<usize>,
}

impl Entries {
    /// The entries at the positions `part`. The part keeps the whole block alive.
    ///
    /// # Panics
    /// If the range is out of bounds.
    #[must_use]
    pub fn part(&self, part: Range<usize>) -> Self {
        assert!(part.start <= part.end && part.end <= self.range.len(), "the range is within");
        let start = self.range.start;
        Self { block: self.block.clone(), range: start + part.start..start + part.end }
    }

    /// Whether there are no entries.
    pub const fn is_empty(&self) -> bool {
        self.range.start == self.range.end
    }

    /// All entries except the first `count`.
    #[must_use]
    pub fn skip(self, count: usize) -> Self {
        if count == 0 { self } else { self.part(count..self.len()) }
    }
}

impl Deref for Entries {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        self.block.as_ref().map_or(&[], |block| &block[self.range.clone()])
    }
}

impl From<Vec<Entry>> for Entries {
    fn from(entries: Vec<Entry>) -> Self {
        entries.into_iter().collect()
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let block: Arc<[Entry]> = entries.into_iter().collect();
        Self { range: 0..block.len(), block: Some(block).filter(|block| !block.is_empty()) }
    }
}

impl<'a> IntoIterator for &'a Entries {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Entries {}

impl std::hash::Hash for Entries {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}
