//! The digests of the state after some of the latest entries. Servers compare them to detect
//! different states, even if one server is ahead of the other.

use std::collections::VecDeque;

use crate::kv::KvStore;
use crate::types::LogIndex;

/// The maximum number of kept digests.
const KEPT: usize = 64;

/// The latest digests, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Digests {
    /// Only digests after entries whose index is a multiple of this are kept. All servers therefore
    /// keep the digests of the same entries.
    every: u64,
    kept: VecDeque<(LogIndex, u64)>,
}

impl Digests {
    pub(super) const fn new(every: u64) -> Self {
        Self { every, kept: VecDeque::new() }
    }

    /// Records that the state includes all entries up to this one.
    pub(super) fn applied(&mut self, index: LogIndex, store: &KvStore) {
        if !index.0.is_multiple_of(self.every) {
            return;
        }
        // The state can go back only if a rule is broken.
        while self.kept.pop_back_if(|(last, _)| *last >= index).is_some() {}
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((index, store.digest()));
    }

    /// Forgets all digests after another state has replaced this one.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
    }

    pub(super) fn at(&self, index: LogIndex) -> Option<u64> {
        let found = self.kept.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        self.kept.get(found).map(|(_, digest)| *digest)
    }

    pub(super) fn newest(&self) -> Option<(LogIndex, u64)> {
        self.kept.back().copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LogIndex, u64)> {
        self.kept.iter().copied()
    }
}
