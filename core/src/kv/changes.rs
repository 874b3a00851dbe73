//! The latest changes of keys, for those who watch: kept by each server for itself, no part of the
//! replicated state.

use bytes::Bytes;
use imbl::Vector;
use serde::{Deserialize, Serialize};

use super::store::Versioned;

/// The most changes that are kept.
const MAX_CHANGES: usize = 65_536;

/// They take about so many bytes at most, unless a single one is larger.
const MAX_BYTES: usize = 16 << 20;

/// What a change costs beside its key and value, in bytes.
const OVERHEAD: usize = 128;

/// Changes that somebody has yet to read are kept beyond these bounds, up to so many times as much.
const UNREAD_FACTOR: usize = 4;

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
    /// The digest of all pairs before it ([`super::KvStore::pairs_digest`]).
    pub before: u64,
}

impl Change {
    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        OVERHEAD + self.key.len() + self.value.as_ref().map_or(0, |it| it.value.len())
    }
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

/// The latest changes, oldest first. Cloning it is O(1).
#[derive(Clone, Debug)]
pub struct Changes {
    latest: Vector<Change>,
    bytes: usize,
    /// All changes after this revision are kept.
    kept: u64,
    /// Somebody has yet to read the changes after this revision; `u64::MAX` when nobody reads.
    unread_after: u64,
}

impl Default for Changes {
    fn default() -> Self {
        Self { latest: Vector::new(), bytes: 0, kept: 0, unread_after: u64::MAX }
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
        self.bytes += change.size();
        self.latest.push_back(change);
        self.forget();
    }

    /// Says up to which revision whoever reads the changes has read them.
    pub(super) fn set_unread_after(&mut self, revision: u64) {
        self.unread_after = revision;
        self.forget();
    }

    /// Drops the oldest changes that exceed the bounds. The latest revision stays whole, however
    /// large it is: whoever watches has yet to see it.
    fn forget(&mut self) {
        while let (Some(oldest), Some(latest)) = (self.latest.front(), self.latest.back()) {
            let unread = oldest.revision > self.unread_after;
            let factor = if unread { UNREAD_FACTOR } else { 1 };
            let exceeds =
                self.latest.len() > factor * MAX_CHANGES || self.bytes > factor * MAX_BYTES;
            if !exceeds || oldest.revision == latest.revision {
                break;
            }
            self.bytes -= oldest.size();
            self.kept = oldest.revision;
            self.latest.pop_front();
        }
    }

    /// All changes after `revision`, oldest first.
    pub fn after(&self, revision: u64) -> Result<impl Iterator<Item = &Change>, Compacted> {
        if revision < self.kept {
            return Err(Compacted { asked: revision, kept: self.kept });
        }
        Ok(self.latest.iter().skip(self.place_after(revision)))
    }

    /// The digest of all pairs as they were after `revision`, which must be one of those whose
    /// successors are kept; `now` is the digest after the latest change.
    pub fn digest_after(&self, revision: u64, now: u64) -> Result<u64, Compacted> {
        if revision < self.kept {
            return Err(Compacted { asked: revision, kept: self.kept });
        }
        Ok(self.latest.get(self.place_after(revision)).map_or(now, |change| change.before))
    }

    /// A revision such that half of what may be kept lies after it at most. Whoever has read up to it
    /// has time before what comes next is forgotten.
    pub fn halfway(&self) -> u64 {
        if self.latest.len() <= MAX_CHANGES / 2 && self.bytes <= MAX_BYTES / 2 {
            return self.kept;
        }
        let middle = self.latest.get(self.latest.len() / 2);
        middle.map_or(self.kept, |change| change.revision.saturating_sub(1).max(self.kept))
    }

    /// Where the changes after a revision begin.
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
        changes.push(change(200_000, MAX_BYTES));
        assert_eq!(revisions(&changes, 199_999), Ok(vec![200_000]));
        assert!(revisions(&changes, 9_000).is_err());
    }

    /// Guards whoever watches: a revision that is larger than all that is kept can be read once, and
    /// what nobody has read yet is kept longer, within bounds.
    #[test]
    fn a_revision_is_kept_until_it_can_be_read() {
        let mut changes = Changes::default();
        changes.push(change(1, 1));
        for _ in 0..MAX_CHANGES + 10 {
            changes.push(change(2, 1));
        }
        assert_eq!(revisions(&changes, 1).map(|it| it.len()), Ok(MAX_CHANGES + 10));
        changes.set_unread_after(1);
        for revision in 3..=MAX_CHANGES as u64 {
            changes.push(change(revision, 1));
        }
        assert_eq!(changes.kept(), 1, "nothing is lost that is unread");
        changes.set_unread_after(2);
        assert_eq!(changes.kept(), 2);
        for revision in 200_000..200_000 + (UNREAD_FACTOR * MAX_CHANGES) as u64 + 10 {
            changes.push(change(revision, 1));
        }
        assert!(changes.kept() > 2, "who never reads does not hold everything");
        assert_eq!(changes.latest.len(), UNREAD_FACTOR * MAX_CHANGES);
        changes.set_unread_after(u64::MAX);
        assert_eq!(changes.latest.len(), MAX_CHANGES);
    }

    /// Guards resuming in another history: the digest that belongs to each revision is known.
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
