//! What the state's digest was after some of the latest entries: by it servers find out whether they
//! hold the same state, though one is ahead of the other.

use std::collections::VecDeque;

use crate::kv::KvStore;
use crate::types::LogIndex;

/// The digest after each entry whose index is a multiple of this is kept, so that all servers keep
/// those of the same entries.
const EVERY: u64 = 256;

/// So many are kept.
const KEPT: usize = 64;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Digests(VecDeque<(LogIndex, u64)>);

impl Digests {
    /// The state holds all entries up to this one.
    pub(super) fn applied(&mut self, index: LogIndex, store: &KvStore) {
        if !index.0.is_multiple_of(EVERY) {
            return;
        }
        // Only with a rule broken may a state go back.
        while self.0.pop_back_if(|(last, _)| *last >= index).is_some() {}
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back((index, store.digest()));
    }

    pub(super) fn at(&self, index: LogIndex) -> Option<u64> {
        let found = self.0.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        self.0.get(found).map(|(_, digest)| *digest)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LogIndex, u64)> {
        self.0.iter().copied()
    }
}
