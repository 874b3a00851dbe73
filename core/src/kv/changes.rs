//! The latest changes of keys, for those who watch: kept by each server for itself, no part of the
//! replicated state.
//!
//! Whole revisions are kept and forgotten, and the latest one always is kept, however many keys it
//! changed: whoever watches has seen the one before it and needs all of it. A large revision counts
//! for a part of the bounds alone, so that those who are a little behind are not cut off by it.
//!
//! Memory stays bounded all the same. A revision is larger than its part only when it removed many
//! keys; these were in the state before, and to remove them again they must be set again, each of
//! which counts in full.

use bytes::Bytes;
use imbl::Vector;
use serde::{Deserialize, Serialize};

use super::store::Versioned;
use crate::limits::{CHANGE_OVERHEAD, MAX_CHANGES, MAX_CHANGES_BYTES, REVISION_SHARE};

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// The store's revision after it. The changes of one command share it.
    pub revision: u64,
    /// The key.
    #[serde(with = "crate::codec::text_or_bytes")]
    pub key: Bytes,
    /// What it is now; `None` when it was removed.
    pub value: Option<Versioned>,
}

/// The changes after a revision are not all kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the changes after revision {asked} are not kept any more; those after {kept} are. Read the \
     keys anew and watch from their revision on"
)]
pub struct Compacted {
    /// The revision that was asked for.
    pub asked: u64,
    /// The first revision after which all changes are kept.
    pub kept: u64,
}

/// See the module. Cloning it is O(1).
#[derive(Clone, Debug, Default)]
pub struct Changes {
    latest: Vector<Change>,
    /// What all revisions count for together.
    total: Cost,
    /// What the latest one takes.
    newest: Cost,
    /// All changes after this revision are kept.
    kept: u64,
}

/// How many changes, and their bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    changes: usize,
    bytes: usize,
}

impl Cost {
    fn add(&mut self, change: &Change) {
        let value = change.value.as_ref().map_or(0, |it| it.value.len());
        self.changes += 1;
        self.bytes += CHANGE_OVERHEAD + change.key.len() + value;
    }

    /// What a revision that takes this counts for.
    fn counted(self) -> Self {
        Self {
            changes: self.changes.min(MAX_CHANGES / REVISION_SHARE),
            bytes: self.bytes.min(MAX_CHANGES_BYTES / REVISION_SHARE),
        }
    }

    const fn plus(self, other: Self) -> Self {
        Self { changes: self.changes + other.changes, bytes: self.bytes + other.bytes }
    }

    const fn minus(self, other: Self) -> Self {
        Self { changes: self.changes - other.changes, bytes: self.bytes - other.bytes }
    }
}

impl Changes {
    /// None, in a store that is at this revision.
    pub(super) fn since(revision: u64) -> Self {
        Self { kept: revision, ..Self::default() }
    }

    /// The first revision after which all changes are kept.
    pub const fn kept(&self) -> u64 {
        self.kept
    }

    pub(super) fn push(&mut self, change: Change) {
        if self.latest.last().is_none_or(|last| last.revision != change.revision) {
            self.newest = Cost::default();
        }
        let before = self.newest.counted();
        self.newest.add(&change);
        self.total = self.total.minus(before).plus(self.newest.counted());
        self.latest.push_back(change);
        while self.total.changes > MAX_CHANGES || self.total.bytes > MAX_CHANGES_BYTES {
            self.forget_oldest();
        }
    }

    /// Forgets the oldest revision. It is not the latest: that one alone is within the bounds.
    fn forget_oldest(&mut self) {
        let Some(revision) = self.latest.front().map(|oldest| oldest.revision) else { return };
        let mut cost = Cost::default();
        while self.latest.front().is_some_and(|oldest| oldest.revision == revision) {
            if let Some(change) = self.latest.pop_front() {
                cost.add(&change);
            }
        }
        self.total = self.total.minus(cost.counted());
        self.kept = revision;
    }

    /// All changes after `revision`, oldest first.
    pub fn after(&self, revision: u64) -> Result<impl Iterator<Item = &Change>, Compacted> {
        if revision < self.kept {
            return Err(Compacted { asked: revision, kept: self.kept });
        }
        let (mut low, mut high) = (0, self.latest.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.latest[middle].revision <= revision {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(self.latest.iter().skip(low))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: u64, bytes: usize) -> Change {
        let value = Versioned {
            value: vec![0; bytes].into(),
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            lease: None,
        };
        Change { revision, key: Bytes::from_static(b"k"), value: Some(value) }
    }

    fn revisions(changes: &Changes, after: u64) -> Result<Vec<u64>, Compacted> {
        Ok(changes.after(after)?.map(|change| change.revision).collect())
    }

    /// Guards resuming: exactly what came after, or the clear word that it is gone.
    #[test]
    fn changes_after_a_revision_are_all_there_or_refused() {
        let mut changes = Changes::since(4);
        for revision in [5, 5, 6, 8] {
            changes.push(change(revision, 1));
        }
        assert_eq!(revisions(&changes, 4), Ok(vec![5, 5, 6, 8]));
        assert_eq!(revisions(&changes, 5), Ok(vec![6, 8]));
        assert_eq!(revisions(&changes, 7), Ok(vec![8]));
        assert_eq!(revisions(&changes, 9), Ok(vec![]));
        assert_eq!(revisions(&changes, 3), Err(Compacted { asked: 3, kept: 4 }));
    }

    /// Guards memory: neither many nor large changes are kept without end, and what is kept is never
    /// half a command.
    #[test]
    fn old_changes_are_forgotten() {
        let mut changes = Changes::default();
        for revision in 1..=MAX_CHANGES as u64 + 10 {
            changes.push(change(revision, 1));
        }
        assert_eq!(changes.kept(), 10);
        assert_eq!(revisions(&changes, 10).map(|it| it.len()), Ok(MAX_CHANGES));
        for revision in 20_000..20_100 {
            changes.push(change(revision, MAX_CHANGES_BYTES / 10));
        }
        // Nine of them and their overhead are just below the bound.
        assert_eq!(revisions(&changes, 20_090), Ok((20_091..20_100).collect()));
        assert_eq!(changes.kept(), 20_090);
        assert!(revisions(&changes, 20_089).is_err());
    }

    /// Guards those who are connected: a revision that is larger than all that is kept is there as a
    /// whole, those just before it too, and it goes again when others follow.
    #[test]
    fn a_revision_larger_than_the_bounds_is_kept_whole() {
        for (count, bytes) in [(13_000, 1), (30, 1 << 20)] {
            let mut changes = Changes::default();
            for revision in 1..=100 {
                changes.push(change(revision, 1));
            }
            for _ in 0..count {
                changes.push(change(101, bytes));
            }
            for revision in 102..=1_000 {
                changes.push(change(revision, 1));
            }
            assert_eq!(changes.kept(), 0);
            let seen = revisions(&changes, 99).expect("all are kept");
            assert_eq!(seen.len(), 1 + count + 899);
            for revision in 1_001..=MAX_CHANGES as u64 + 101 {
                changes.push(change(revision, 1));
            }
            assert_eq!(changes.kept(), 101, "as a whole");
            assert_eq!(revisions(&changes, 101).map(|it| it.len()), Ok(MAX_CHANGES));
        }
    }
}
