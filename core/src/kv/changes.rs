//! The latest changes of keys, for watchers. Each server keeps its own; they are not part of the
//! replicated state.
//!
//! Whole revisions are kept and dropped. The latest revision is always kept, however many keys it
//! changed. A watcher that has seen the previous revision needs all of it. A large revision counts
//! only partly toward the bounds; otherwise it would cut off watchers that are a little behind.
//!
//! Memory is still bounded. A revision exceeds its share only if it removed many keys, which were
//! in the state before. To remove them again, clients must set them again, and each of these
//! changes counts in full.

use bytes::Bytes;
use imbl::Vector;
use serde::{Deserialize, Serialize};

use super::store::Versioned;
use crate::limits::{
    CHANGE_OVERHEAD, MAX_CHANGES, MAX_CHANGES_BYTES, REVISION_SHARE, UNREAD_FACTOR,
};

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Change {
    /// The store's revision after the change. All changes of one command share it.
    pub revision: u64,
    /// The changed key.
    #[serde(with = "crate::codec::text_or_bytes")]
    pub key: Bytes,
    /// The new value; `None` if the key was removed.
    pub value: Option<Versioned>,
    /// The digest of all pairs before the change ([`super::KvStore::pairs_digest`]).
    pub before: u64,
}

impl Change {
    /// The approximate size of the change in bytes.
    pub fn size(&self) -> usize {
        let value = self.value.as_ref().map_or(0, |it| it.value.len());
        CHANGE_OVERHEAD + self.key.len() + value
    }
}

/// Some changes after a revision are no longer kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the changes after revision {asked} are no longer kept; those after revision {kept} are. Read \
     the keys again and watch from their revision on"
)]
pub struct Compacted {
    /// The requested revision.
    pub asked: u64,
    /// The first revision after which all changes are kept.
    pub kept: u64,
}

/// The latest changes of a store. Cloning is O(1).
#[derive(Clone, Debug)]
pub struct Changes {
    latest: Vector<Change>,
    /// The cost of all revisions that counts toward the bounds.
    total: Cost,
    /// The full cost of the latest revision.
    newest: Cost,
    /// All changes after this revision are kept.
    kept: u64,
    /// Watchers have yet to read the changes after this revision; `u64::MAX` without watchers.
    unread_after: u64,
}

impl Default for Changes {
    fn default() -> Self {
        let (latest, total, newest, kept) = Default::default();
        Self { latest, total, newest, kept, unread_after: u64::MAX }
    }
}

/// A number of changes, and their size in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    changes: usize,
    bytes: usize,
}

impl Cost {
    fn add(&mut self, change: &Change) {
        self.changes += 1;
        self.bytes += change.size();
    }

    /// The part of a revision's cost that counts toward the bounds.
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
    /// No changes, for a store at this revision.
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
        self.forget();
    }

    /// Sets the revision up to which watchers have read the changes.
    pub(super) fn set_unread_after(&mut self, revision: u64) {
        self.unread_after = revision;
        self.forget();
    }

    fn forget(&mut self) {
        while let Some(oldest) = self.latest.front() {
            let factor = if oldest.revision > self.unread_after { UNREAD_FACTOR } else { 1 };
            let Cost { changes, bytes } = self.total;
            if changes <= factor * MAX_CHANGES && bytes <= factor * MAX_CHANGES_BYTES {
                break;
            }
            self.forget_oldest();
        }
    }

    /// Drops the oldest revision. It is not the latest, which alone is within the bounds.
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
        Ok(self.latest.iter().skip(self.place_after(revision)))
    }

    /// The digest of all pairs after `revision`; `now` is the digest after the latest change.
    pub fn digest_after(&self, revision: u64, now: u64) -> Result<u64, Compacted> {
        if revision < self.kept {
            return Err(Compacted { asked: revision, kept: self.kept });
        }
        Ok(self.latest.get(self.place_after(revision)).map_or(now, |change| change.before))
    }

    /// A revision whose later changes stay available for a while. A watcher that knows everything
    /// up to it can resume from there.
    pub fn safe(&self) -> u64 {
        let Cost { changes, bytes } = self.total;
        if changes <= MAX_CHANGES / 2 && bytes <= MAX_CHANGES_BYTES / 2 {
            return self.kept;
        }
        let quarter = self.latest.get(self.latest.len() / 4);
        quarter.map_or(self.kept, |change| change.revision.saturating_sub(1).max(self.kept))
    }

    /// The offset of the first change after a revision.
    fn place_after(&self, revision: u64) -> usize {
        let (mut low, mut high) = (0, self.latest.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.latest[middle].revision <= revision {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
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
        Change { revision, key: Bytes::from_static(b"k"), value: Some(value), before: revision }
    }

    fn revisions(changes: &Changes, after: u64) -> Result<Vec<u64>, Compacted> {
        Ok(changes.after(after)?.map(|change| change.revision).collect())
    }

    /// Guards that resuming returns exactly the later changes, or an error if some are gone.
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

    /// Guards that neither many nor large changes are kept without bound, and that commands are
    /// kept whole.
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
        // Nine changes and their overhead are just below the bound.
        assert_eq!(revisions(&changes, 20_090), Ok((20_091..20_100).collect()));
        assert_eq!(changes.kept(), 20_090);
        assert!(revisions(&changes, 20_089).is_err());
    }

    /// Guards connected watchers: a revision larger than the bounds is kept whole, together with
    /// those just before it. Later revisions push it out.
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

    /// Guards that unread changes are kept longer, within bounds.
    #[test]
    fn what_is_unread_is_kept_longer() {
        let mut changes = Changes::default();
        changes.set_unread_after(5);
        for revision in 1..=2 * MAX_CHANGES as u64 {
            changes.push(change(revision, 1));
        }
        assert_eq!(changes.kept(), 5, "no unread change is lost");
        changes.set_unread_after(7);
        assert_eq!(changes.kept(), 7);
        for revision in 0..UNREAD_FACTOR * MAX_CHANGES {
            changes.push(change(100_000 + revision as u64, 1));
        }
        assert_eq!(changes.latest.len(), UNREAD_FACTOR * MAX_CHANGES, "it has an end");
        changes.set_unread_after(u64::MAX);
        assert_eq!(changes.latest.len(), MAX_CHANGES);
    }

    /// Guards that the digest at each revision is known, to detect a resume in another history.
    #[test]
    fn each_revision_has_its_digest() {
        let mut changes = Changes::since(4);
        assert_eq!(changes.digest_after(4, 77), Ok(77));
        for revision in [5, 5, 8] {
            changes.push(change(revision, 1));
        }
        let after = |revision| changes.digest_after(revision, 77);
        assert_eq!((after(4), after(5), after(7), after(8)), (Ok(5), Ok(8), Ok(8), Ok(77)));
        assert_eq!(after(3), Err(Compacted { asked: 3, kept: 4 }));
    }
}
