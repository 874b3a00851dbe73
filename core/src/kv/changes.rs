//! The latest changes of keys, for those who watch: kept by each server for itself, no part of the
//! replicated state.

use bytes::Bytes;
use imbl::Vector;
use serde::{Deserialize, Serialize};

use super::store::Versioned;

/// The most changes that are kept.
const MAX_CHANGES: usize = 10_000;

/// They take about so many bytes at most, unless a single one is larger.
const MAX_BYTES: usize = 16 << 20;

/// What a change costs beside its key and value, in bytes.
const OVERHEAD: usize = 64;

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
    bytes: usize,
    /// All changes after this revision are kept.
    kept: u64,
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
        self.bytes += size(&change);
        self.latest.push_back(change);
        while self.latest.len() > MAX_CHANGES || (self.bytes > MAX_BYTES && self.latest.len() > 1) {
            let Some(oldest) = self.latest.pop_front() else { break };
            self.bytes -= size(&oldest);
            self.kept = oldest.revision;
        }
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

fn size(change: &Change) -> usize {
    OVERHEAD + change.key.len() + change.value.as_ref().map_or(0, |it| it.value.len())
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
        changes.push(change(20_000, MAX_BYTES));
        assert_eq!(revisions(&changes, 19_999), Ok(vec![20_000]));
        assert!(revisions(&changes, 9_000).is_err());
    }
}
