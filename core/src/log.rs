//! The replicated log as one server holds it in memory: entries after a compaction point.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::membership::Membership;
use crate::types::{LogIndex, LogPosition, Term};

/// What one log entry asks of the state machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Payload {
    /// Appended by a new leader so that it can commit in its own term (§8).
    Noop,
    /// An encoded [`crate::kv::Command`]; consensus does not look inside.
    Command(#[serde(with = "crate::kv::readable")] Bytes),
    /// The cluster's members from here on (§6).
    Membership(Membership),
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
                Payload::Membership(membership) => 8 * membership.members().len(),
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

/// A count as a `usize`. What is too large for one, as only a peer that lies can name it in a
/// 32-bit program, is larger than any log.
fn usize_of(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A log as nobody would build it: every entry that was ever there, and where it begins.
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

        /// Looks at every position, from the last to the first.
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
                let to = LogPosition { term: log.term_at(index).expect("it is held"), index };
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
        }
    }

    proptest! {
        /// Guards the log's arithmetic of offsets against one that searches.
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
                let batch = log.batch(first, max_bytes);
                prop_assert_eq!(batch, &naive.entries[..batch.len()]);
                prop_assert_eq!(batch.is_empty(), naive.entries.is_empty());
                let size: usize = batch.iter().map(Entry::size).sum();
                prop_assert!(size <= max_bytes || batch.len() == 1);
                let next = naive.entries.get(batch.len()).map(Entry::size);
                prop_assert!(next.is_none_or(|next| size + next > max_bytes));
            }
        }
    }
}
