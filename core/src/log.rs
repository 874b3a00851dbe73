//! The replicated log as one server holds it in memory: entries after a compaction point.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::types::{LogIndex, LogPosition, Term};

/// What one log entry asks of the state machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Payload {
    /// Appended by a new leader so that it can commit in its own term (§8).
    Noop,
    /// An encoded [`crate::kv::Command`]; consensus does not look inside.
    Command(#[serde(with = "crate::kv::readable")] Bytes),
}

/// One entry of the log (§5.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// Where it stands.
    pub index: LogIndex,
    /// The term of the leader that created it.
    pub term: Term,
    /// What it asks.
    pub payload: Payload,
}

/// What an entry costs beside its command, in bytes: its frame on the wire and on disk.
const ENTRY_OVERHEAD: usize = 24;

impl Entry {
    /// Its position.
    pub const fn position(&self) -> LogPosition {
        LogPosition { term: self.term, index: self.index }
    }

    /// About how many bytes it takes on the wire and on disk.
    pub fn size(&self) -> usize {
        ENTRY_OVERHEAD
            + match &self.payload {
                Payload::Noop => 0,
                Payload::Command(command) => command.len(),
            }
    }
}

/// The entries after [`Log::base`], in order and without gaps.
///
/// Indexes count from 1. Everything up to and including the base was compacted into a snapshot;
/// of it only the position is known.
#[derive(Clone, Debug, Default)]
pub struct Log {
    base: LogPosition,
    entries: Vec<Entry>,
    /// Sum of [`Entry::size`] over `entries`.
    bytes: usize,
}

impl Log {
    /// An empty log whose prefix up to `base` lives in a snapshot.
    pub const fn new(base: LogPosition) -> Self {
        Self { base, entries: Vec::new(), bytes: 0 }
    }

    /// The last position that was compacted away ([`LogPosition::ZERO`] when none was).
    pub const fn base(&self) -> LogPosition {
        self.base
    }

    /// The position of the last entry, or the base when there is none.
    pub fn last(&self) -> LogPosition {
        self.entries.last().map_or(self.base, Entry::position)
    }

    /// How many entries are held.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no entry is held.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// About how many bytes the held entries take.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The term of the entry at `index`; `None` when it was compacted away or is not there yet.
    pub fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.term)
    }

    /// The entry at `index`, when held.
    pub fn get(&self, index: LogIndex) -> Option<&Entry> {
        self.offset(index).and_then(|offset| self.entries.get(offset))
    }

    /// Whether the entry at `position.index` has `position.term`: the consistency check of §5.3.
    pub fn matches(&self, position: LogPosition) -> bool {
        self.term_at(position.index) == Some(position.term)
    }

    /// The held entries from `first` on, as many as fit into `max_bytes` but at least one.
    ///
    /// # Panics
    /// When `first` was compacted away: the caller must send a snapshot instead.
    pub fn batch(&self, first: LogIndex, max_bytes: usize) -> &[Entry] {
        let rest = self.from(first);
        let mut bytes = 0;
        let fitting = rest
            .iter()
            .take_while(|entry| {
                bytes += entry.size();
                bytes <= max_bytes
            })
            .count();
        &rest[..fitting.max(1).min(rest.len())]
    }

    /// The held entries from `first` on.
    ///
    /// # Panics
    /// When `first` was compacted away.
    pub fn from(&self, first: LogIndex) -> &[Entry] {
        assert!(first > self.base.index, "entries up to {} are compacted away", self.base.index);
        let offset = usize_of(first.0 - self.base.index.0 - 1);
        self.entries.get(offset..).unwrap_or(&[])
    }

    /// Adds an entry at the end.
    ///
    /// # Panics
    /// When it does not follow the last one.
    pub fn append(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last().index.next(), "entries are appended without gaps");
        self.bytes += entry.size();
        self.entries.push(entry);
    }

    /// Removes the entry at `from` and all that follow.
    ///
    /// # Panics
    /// When `from` was compacted away: what is in a snapshot is committed.
    pub fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.base.index, "a snapshot is never truncated");
        let keep = usize_of(from.0 - self.base.index.0 - 1);
        self.bytes -= self.entries.iter().skip(keep).map(Entry::size).sum::<usize>();
        self.entries.truncate(keep);
    }

    /// Forgets the entries up to and including `to`, whose effect a snapshot holds. Where the log
    /// does not hold `to` (a snapshot from the leader reaches further), nothing of it remains (§7).
    pub fn compact(&mut self, to: LogPosition) {
        if to.index <= self.base.index {
            return;
        }
        if self.matches(to) {
            let count = usize_of(to.index.0 - self.base.index.0);
            self.bytes -= self.entries.drain(..count).map(|entry| entry.size()).sum::<usize>();
        } else {
            self.entries.clear();
            self.bytes = 0;
        }
        self.base = to;
    }

    /// The last position at or before `limit.index` whose term is not above `limit.term`.
    ///
    /// Both sides of a failed consistency check use it to skip whole terms that cannot agree
    /// (§5.3, "the conflicting term"). Never goes before the base.
    pub fn last_possible_match(&self, limit: LogPosition) -> LogPosition {
        let held =
            usize_of(limit.index.0.saturating_sub(self.base.index.0)).min(self.entries.len());
        // Terms never fall along a log, so the entries with a fitting term form a prefix.
        let fitting = self.entries[..held].partition_point(|entry| entry.term <= limit.term);
        fitting.checked_sub(1).map_or(self.base, |last| self.entries[last].position())
    }

    fn offset(&self, index: LogIndex) -> Option<usize> {
        index.0.checked_sub(self.base.index.0 + 1).map(usize_of)
    }
}

/// A count of entries in memory always fits a `usize`.
fn usize_of(count: u64) -> usize {
    usize::try_from(count).expect("a log in memory has fewer entries than addresses")
}
