//! The in-memory log of one server: the entries after a compaction point.
//!
//! **Invariant:** After a failed consistency check both sides skip whole terms
//! ([`Log::last_possible_match`]). The repair of a divergent log takes at most one round trip per
//! term, however long the log is.

mod entries;

use std::collections::VecDeque;

use bytes::Bytes;
pub use entries::Entries;
use serde::{Deserialize, Serialize};

use crate::membership::Membership;
use crate::types::{LogIndex, LogPosition, Term};

/// The content of a log entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Payload {
    /// Appended by a new leader to commit an entry of its own term (§8).
    Noop,
    /// An encoded [`crate::kv::Command`]; consensus does not decode it.
    Command(#[serde(with = "crate::kv::readable")] Bytes),
    /// The cluster's members from this entry on (§6).
    Membership(Box<Membership>),
}

/// An entry of the log (§5.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The index of the entry.
    pub index: LogIndex,
    /// The term of the leader that created it.
    pub term: Term,
    /// The content of the entry.
    pub payload: Payload,
}

/// The size of an entry without its command, in bytes: its framing on the wire and on disk.
const ENTRY_OVERHEAD: usize = 24;

impl Entry {
    /// The position of the entry.
    pub const fn position(&self) -> LogPosition {
        LogPosition { term: self.term, index: self.index }
    }

    /// The approximate size of the entry on the wire and on disk, in bytes.
    pub fn size(&self) -> usize {
        ENTRY_OVERHEAD
            + match &self.payload {
                Payload::Noop => 0,
                Payload::Command(command) => command.len(),
                Payload::Membership(membership) => 8 * membership.members().len(),
            }
    }
}

/// The memory of an entry beyond [`Entry::size`], in bytes: its slot in a block, and the allocation
/// overhead.
const MEMORY_OVERHEAD: usize = 104;

/// The maximum number of entries in a recovered block, and of additional entries in a batch for a
/// slow follower. A part of a block keeps the whole block in memory.
const BLOCK: usize = 1024;

/// The maximum size of a recovered block in bytes, unless a single entry is larger.
const BLOCK_BYTES: usize = 1 << 20;

/// The entries after [`Log::base`], in order and without gaps.
///
/// Indexes start at 1. A snapshot holds everything up to and including the base; the log knows only
/// the position of the base.
#[derive(Clone, Debug, Default)]
pub struct Log {
    base: LogPosition,
    /// Non-empty blocks, in order.
    blocks: VecDeque<Entries>,
    last: LogPosition,
    /// Sum of [`Entry::size`] over all entries.
    bytes: usize,
}

impl Log {
    /// An empty log; a snapshot holds everything up to `base`.
    pub const fn new(base: LogPosition) -> Self {
        Self { base, blocks: VecDeque::new(), last: base, bytes: 0 }
    }

    /// The last compacted position ([`LogPosition::ZERO`] if there is none).
    pub const fn base(&self) -> LogPosition {
        self.base
    }

    /// The position of the last entry, or the base if the log is empty.
    pub const fn last(&self) -> LogPosition {
        self.last
    }

    /// The number of entries in the log.
    pub fn len(&self) -> usize {
        usize_of(self.last.index.0 - self.base.index.0)
    }

    /// Whether the log has no entries.
    pub fn is_empty(&self) -> bool {
        self.last.index == self.base.index
    }

    /// The sum of [`Entry::size`] over all entries, in bytes.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The approximate memory of the entries, in bytes.
    pub fn memory(&self) -> usize {
        self.bytes + self.len() * MEMORY_OVERHEAD
    }

    /// The term of the entry at `index`; `None` if the entry is compacted or does not exist yet.
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        // Most calls ask for the last entry.
        if index == self.last.index {
            return Some(self.last.term);
        }
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.term)
    }

    /// The entry at `index`, if the log has it.
    pub fn get(&self, index: LogIndex) -> Option<&Entry> {
        let (block, place) = self.find(index)?;
        self.blocks[block].get(place)
    }

    /// Whether the entry at `position.index` has `position.term`: the consistency check of §5.3.
    pub fn matches(&self, position: LogPosition) -> bool {
        self.term_at(position.index) == Some(position.term)
    }

    /// The entries from `first` on that fit into `max_bytes`, but at least one, and the sum of
    /// their sizes.
    ///
    /// # Panics
    /// If `first` is compacted: the caller must send a snapshot instead.
    pub fn batch(&self, first: LogIndex, max_bytes: usize) -> (Entries, usize) {
        assert!(first > self.base.index, "entries up to {} are compacted", self.base.index);
        let Some((block, place)) = self.find(first) else { return (Entries::default(), 0) };
        let rest = &self.blocks[block][place..];
        let mut bytes = 0;
        let mut fits = |entry: &&Entry| {
            let fits = bytes + entry.size() <= max_bytes;
            if fits {
                bytes += entry.size();
            }
            fits
        };
        let count = rest.iter().take_while(&mut fits).count();
        if count == 0 {
            return (self.blocks[block].part(place..place + 1), rest[0].size());
        }
        if count == rest.len() && block + 1 < self.blocks.len() {
            // A follower that lags gets as much at once as the limit allows.
            let more: Vec<Entry> =
                self.from(first).skip(count).take_while(fits).take(BLOCK).cloned().collect();
            if !more.is_empty() {
                return (rest.iter().cloned().chain(more).collect(), bytes);
            }
        }
        (self.blocks[block].part(place..place + count), bytes)
    }

    /// The entries from `first` on.
    ///
    /// # Panics
    /// If `first` is compacted.
    pub fn from(&self, first: LogIndex) -> impl Iterator<Item = &Entry> {
        assert!(first > self.base.index, "entries up to {} are compacted", self.base.index);
        let (block, place) = self.find(first).unwrap_or((self.blocks.len(), 0));
        self.blocks.iter().skip(block).flatten().skip(place)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.blocks.iter().flatten()
    }

    /// Appends an entry.
    ///
    /// # Panics
    /// If the entry does not directly follow the last entry.
    pub fn append(&mut self, entry: Entry) {
        self.extend(Entries::from(vec![entry]));
    }

    /// Appends entries.
    ///
    /// # Panics
    /// If the entries do not directly follow the last entry or each other.
    pub fn extend(&mut self, entries: Entries) {
        for entry in &entries {
            assert_eq!(entry.index, self.last.index.next(), "entries are appended without gaps");
            self.last = entry.position();
            self.bytes += entry.size();
        }
        if !entries.is_empty() {
            self.blocks.push_back(entries);
        }
    }

    /// Appends entries that were recovered from disk, in blocks that can be dropped separately.
    ///
    /// # Panics
    /// If the entries do not directly follow the last entry or each other.
    pub fn recover(&mut self, entries: Vec<Entry>) {
        let mut entries = entries.into_iter().peekable();
        while let Some(first) = entries.next() {
            let mut bytes = first.size();
            let mut block = vec![first];
            while block.len() < BLOCK
                && let Some(next) = entries.next_if(|it| bytes + it.size() <= BLOCK_BYTES)
            {
                bytes += next.size();
                block.push(next);
            }
            self.extend(block.into());
        }
    }

    /// Removes the entry at `from` and all later entries.
    ///
    /// # Panics
    /// If `from` is compacted: the entries in a snapshot are committed.
    pub fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.base.index, "the entries of a snapshot are never truncated");
        let Some((block, place)) = self.find(from) else { return };
        self.bytes -= self.from(from).map(Entry::size).sum::<usize>();
        self.blocks.truncate(block + 1);
        self.cut(block, 0..place);
        self.last = self.blocks.back().and_then(|it| it.last()).map_or(self.base, Entry::position);
    }

    /// Removes the entries up to and including `to`, which a snapshot holds. If the log does not
    /// contain `to` (a leader's snapshot reaches further), it removes all entries (§7).
    pub fn compact(&mut self, to: LogPosition) {
        if to.index <= self.base.index {
            return;
        }
        if !self.matches(to) {
            *self = Self::new(to);
            return;
        }
        let gone = usize_of(to.index.0 - self.base.index.0);
        self.bytes -= self.iter().take(gone).map(Entry::size).sum::<usize>();
        if let Some((block, place)) = self.find(to.index.next()) {
            self.blocks.drain(..block);
            let length = self.blocks[0].len();
            self.cut(0, place..length);
        } else {
            self.blocks.clear();
        }
        self.base = to;
    }

    /// Removes whole blocks of entries from the front, but no entry after `last`, until the rest
    /// takes at most `max_memory` bytes. Returns whether it removed any.
    pub fn shed(&mut self, max_memory: usize, last: LogIndex) -> bool {
        let before = self.base;
        while self.memory() > max_memory
            && let Some(end) = self.blocks.front().and_then(|block| block.last())
            && end.index <= last
        {
            self.compact(end.position());
        }
        self.base > before
    }

    /// Shortens a block to `part`, or removes the block if the part is empty.
    fn cut(&mut self, block: usize, part: std::ops::Range<usize>) {
        if part.is_empty() {
            self.blocks.remove(block);
        } else {
            self.blocks[block] = self.blocks[block].part(part);
        }
    }

    /// The last position at or before `limit.index` whose term is not above `limit.term`.
    ///
    /// After a failed consistency check both sides use it to skip whole terms that cannot match
    /// (§5.3, "the conflicting term"). The result is never before the base.
    pub fn last_possible_match(&self, limit: LogPosition) -> LogPosition {
        // Terms never decrease along a log, so the fitting entries form a prefix.
        let fits = |entry: &Entry| entry.index <= limit.index && entry.term <= limit.term;
        let blocks = self.blocks.partition_point(|block| fits(&block[0]));
        let Some(block) = blocks.checked_sub(1).map(|block| &self.blocks[block]) else {
            return self.base;
        };
        block[block.partition_point(fits) - 1].position()
    }

    /// The block of the entry at `index`, and its offset in the block.
    fn find(&self, index: LogIndex) -> Option<(usize, usize)> {
        if index > self.last.index || index <= self.base.index {
            return None;
        }
        // Nearly all lookups are near the end; the others use a binary search.
        let begins = |block: &Entries| block[0].index <= index;
        let near = self.blocks.iter().rev().take(4).position(begins);
        let block = match near {
            Some(back) => self.blocks.len() - 1 - back,
            None => self.blocks.partition_point(begins).checked_sub(1)?,
        };
        Some((block, usize_of(index.0 - self.blocks[block][0].index.0)))
    }
}

/// Converts a count to a `usize`. On 32-bit targets only a lying peer can name a count that does
/// not fit; `usize::MAX` is larger than any log.
fn usize_of(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A simple reference log: all entries after `base` in one list.
    #[derive(Debug, Default)]
    struct Naive {
        base: LogPosition,
        entries: Vec<Entry>,
    }

    impl Naive {
        fn last(&self) -> LogPosition {
            self.entries.last().map_or(self.base, Entry::position)
        }

        fn term_at(&self, index: LogIndex) -> Option<Term> {
            let found = self.entries.iter().find(|entry| entry.index == index);
            found.map(|it| it.term).or((index == self.base.index).then_some(self.base.term))
        }

        /// Checks every entry, from the last to the first.
        fn last_possible_match(&self, limit: LogPosition) -> LogPosition {
            let fits = |it: &&Entry| it.index <= limit.index && it.term <= limit.term;
            self.entries.iter().rev().find(fits).map_or(self.base, Entry::position)
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Append { term_grows: bool, bytes: usize },
        Truncate { back: u64 },
        Compact { back: u64 },
        Replace { ahead: u64 },
        Shed { max_memory: usize, back: u64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let append = || {
            (any::<bool>(), 0_usize..40)
                .prop_map(|(term_grows, bytes)| Step::Append { term_grows, bytes })
        };
        prop::collection::vec(
            prop_oneof![
                append(),
                append(),
                append(),
                (0_u64..6).prop_map(|back| Step::Truncate { back }),
                (0_u64..6).prop_map(|back| Step::Compact { back }),
                (1_u64..4).prop_map(|ahead| Step::Replace { ahead }),
                (0_usize..3000, 0_u64..6)
                    .prop_map(|(max_memory, back)| Step::Shed { max_memory, back }),
            ],
            0..60,
        )
    }

    fn apply(log: &mut Log, naive: &mut Naive, term: &mut u64, step: &Step) {
        let (base, last) = (log.base(), log.last());
        match step {
            Step::Append { term_grows, bytes } => {
                *term += u64::from(*term_grows);
                let payload = Payload::Command(vec![0; *bytes].into());
                let entry = Entry { index: last.index.next(), term: Term(*term), payload };
                naive.entries.push(entry.clone());
                log.append(entry);
            }
            Step::Truncate { back } => {
                let from = LogIndex(last.index.0.saturating_sub(*back)).max(base.index.next());
                naive.entries.retain(|entry| entry.index < from);
                log.truncate(from);
            }
            Step::Compact { back } => {
                let index = LogIndex(last.index.0.saturating_sub(*back)).max(base.index);
                let to = LogPosition { term: log.term_at(index).expect("the log holds it"), index };
                naive.entries.retain(|entry| entry.index > to.index);
                naive.base = to;
                log.compact(to);
            }
            Step::Replace { ahead } => {
                *term += 1;
                let to = LogPosition::new(*term, last.index.0 + ahead);
                *naive = Naive { base: to, entries: Vec::new() };
                log.compact(to);
            }
            Step::Shed { max_memory, back } => {
                let index = LogIndex(last.index.0.saturating_sub(*back));
                log.shed(*max_memory, index);
                assert!(log.base().index <= index.max(base.index), "not too much is removed");
                let next = naive.entries.iter().find(|entry| entry.index > log.base().index);
                let may_go = next.is_some_and(|entry| entry.index <= index);
                assert!(log.memory() <= *max_memory || !may_go, "enough is removed");
                naive.base = log.base();
                naive.entries.retain(|entry| entry.index > log.base().index);
            }
        }
    }

    proptest! {
        /// Guards the offset arithmetic of the log against a simple reference log that searches.
        #[test]
        fn the_log_agrees_with_a_naive_one(steps in steps(), max_bytes in 1_usize..300) {
            let (mut log, mut naive, mut term) = (Log::default(), Naive::default(), 1);
            for step in &steps {
                apply(&mut log, &mut naive, &mut term, step);
                prop_assert_eq!(log.base(), naive.base);
                prop_assert_eq!(log.last(), naive.last());
                prop_assert_eq!(log.bytes(), naive.entries.iter().map(Entry::size).sum::<usize>());
                for index in (0..log.last().index.0 + 3).map(LogIndex) {
                    if index >= naive.base.index {
                        prop_assert_eq!(log.term_at(index), naive.term_at(index));
                    }
                    for limit in 0..=term {
                        let limit = LogPosition { term: Term(limit), index };
                        let expected = naive.last_possible_match(limit);
                        prop_assert_eq!(log.last_possible_match(limit), expected);
                    }
                }
                let first = log.base().index.next();
                let (batch, bytes) = log.batch(first, max_bytes);
                prop_assert_eq!(bytes, batch.iter().map(Entry::size).sum::<usize>());
                prop_assert!(bytes <= max_bytes || batch.len() == 1);
                prop_assert_eq!(&batch[..], &naive.entries[..batch.len()]);
                prop_assert!(log.iter().eq(&naive.entries));
                prop_assert_eq!(batch.is_empty(), naive.entries.is_empty());
                let size: usize = batch.iter().map(Entry::size).sum();
                prop_assert!(size <= max_bytes || batch.len() == 1);
                let next = naive.entries.get(batch.len()).map(Entry::size);
                prop_assert!(next.is_none_or(|next| size + next > max_bytes));
            }
        }
    }
}
