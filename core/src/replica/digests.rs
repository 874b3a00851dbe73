//! What the state's digest was after some of the latest entries: by it servers find out whether they
//! hold the same state, though one is ahead of the other.

use std::collections::VecDeque;

use crate::kv::KvStore;
use crate::types::LogIndex;

/// So many are kept.
const KEPT: usize = 64;

/// The latest digests, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Digests {
    /// The digest after each entry whose index is a multiple of this is kept, so that all servers keep
    /// those of the same entries.
    every: u64,
    kept: VecDeque<(LogIndex, u64)>,
}

impl Digests {
    pub(super) const fn new(every: u64) -> Self {
        Self { every, kept: VecDeque::new() }
    }

    /// The state holds all entries up to this one.
    pub(super) fn applied(&mut self, index: LogIndex, store: &KvStore) {
        if !index.0.is_multiple_of(self.every) {
            return;
        }
        // Only with a rule broken may a state go back.
        while self.kept.pop_back_if(|(last, _)| *last >= index).is_some() {}
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((index, store.digest()));
    }

    /// Another state took the place of the one that these are of.
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
