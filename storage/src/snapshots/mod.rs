//! Snapshots on disk: streamed to a file, loaded at the start, the newest two or more kept.
//!
//! **Invariant:** An unreadable snapshot is never removed. It gets another name if nothing is lost
//! without it; otherwise the server does not start.

mod file;

#[cfg(any(test, feature = "fuzz"))]
pub(super) use file::fuzz;

use std::io;
use std::time::{Duration, Instant};

use raft_core::kv::Snapshot;
use raft_core::types::{LogIndex, LogPosition};

use super::directory::Directory;
use super::error::{io_error, is_full};
use super::{Options, StorageError};

/// The snapshots of a directory.
pub(super) struct SnapshotStore {
    directory: Directory,
    chunk_bytes: usize,
    /// How many snapshots are kept.
    keep: usize,
    /// Oldest first; all of them are believed to be intact.
    kept: Vec<Kept>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    position: LogPosition,
    bytes: u64,
}

/// The result of loading snapshots at the start.
pub(super) struct Loaded {
    /// The newest intact snapshot.
    pub(super) snapshot: Option<Snapshot>,
    /// Newer snapshots that are damaged, newest first.
    pub(super) damaged: Vec<(LogPosition, StorageError)>,
}

/// The cost of saving a snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Saved {
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// Why a snapshot was not saved.
pub(super) enum SaveError {
    /// The disk is full, or the storage is being closed; a retry is possible.
    Skipped(StorageError),
    /// The disk failed.
    Failed(StorageError),
}

impl SnapshotStore {
    /// Loads the newest intact snapshot at one of the `positions` (oldest first).
    pub(super) fn open(
        directory: Directory,
        options: &Options,
        positions: &[LogPosition],
    ) -> Result<(Self, Loaded), StorageError> {
        let mut loaded = Loaded { snapshot: None, damaged: Vec::new() };
        let mut kept = Vec::new();
        for position in positions.iter().rev() {
            let path = directory.snapshot(*position);
            // The file was listed a moment ago. Treat a file that was removed since like an earlier
            // removal.
            let Some(open) = directory.open(&path)? else { continue };
            if loaded.snapshot.is_none() {
                match file::read(&directory, &path, *position) {
                    Ok(snapshot) => loaded.snapshot = Some(snapshot),
                    Err(error @ StorageError::Damaged { .. }) => {
                        loaded.damaged.push((*position, error));
                        continue;
                    }
                    Err(error) => return Err(error),
                }
            }
            let bytes = open.size().map_err(io_error("read the size of", &path))?;
            kept.insert(0, Kept { position: *position, bytes });
        }
        let (chunk_bytes, keep) = (options.snapshot_chunk_bytes, options.snapshots_kept.max(2));
        Ok((Self { directory, chunk_bytes, keep, kept }, loaded))
    }

    /// Renames damaged snapshots, if nothing is lost without them.
    pub(super) fn set_aside(
        &self,
        damaged: &[(LogPosition, StorageError)],
    ) -> Result<(), StorageError> {
        for (position, error) in damaged {
            let aside = self.directory.set_aside(&self.directory.snapshot(*position))?;
            tracing::warn!(
                %error,
                kept_as = %aside.display(),
                "continuing with an older snapshot and the log"
            );
        }
        Ok(())
    }

    /// Removes the leftovers of a crash: an unfinished snapshot, and more snapshots than are kept.
    pub(super) fn clean_up(&mut self, unfinished: bool) -> Result<(), StorageError> {
        if unfinished {
            self.directory.remove(&self.directory.snapshot_in_the_making())?;
        }
        self.prune(self.keep)
    }

    /// Makes a snapshot durable and removes superseded snapshots. Calls `go_on` repeatedly with the
    /// number of bytes written; false aborts. On a `full` disk only the newest stays. If there is
    /// no space, older snapshots are removed to make space.
    pub(super) fn save(
        &mut self,
        snapshot: &Snapshot,
        full: bool,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Saved, SaveError> {
        let started = Instant::now();
        self.forget_removed().map_err(SaveError::Failed)?;
        let (position, unfinished) = (snapshot.meta.last, self.directory.snapshot_in_the_making());
        let bytes = loop {
            match file::write(&self.directory, &unfinished, snapshot, self.chunk_bytes, go_on) {
                Ok(bytes) => break bytes,
                Err(error) => {
                    let error = self.give_up(error)?;
                    let made_room = is_full_disk(&error) && self.keep_only_newest();
                    if !made_room {
                        return Err(SaveError::Skipped(error));
                    }
                }
            }
        };
        let path = self.directory.snapshot(position);
        match self.directory.disk.rename(&unfinished, &path) {
            Ok(()) => self.directory.sync().map_err(SaveError::Failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SaveError::Skipped(io_error("rename", &unfinished)(error)));
            }
            Err(error) => return Err(SaveError::Failed(io_error("rename", &unfinished)(error))),
        }
        self.kept.retain(|kept| kept.position != position);
        self.kept.push(Kept { position, bytes });
        self.kept.sort_unstable_by_key(|kept| kept.position.index);
        if full {
            self.keep_only_newest();
        }
        self.prune(self.keep).map_err(SaveError::Failed)?;
        Ok(Saved { bytes, took: started.elapsed() })
    }

    /// Forgets snapshots that somebody has removed: the log must then reach back further.
    fn forget_removed(&mut self) -> Result<(), StorageError> {
        let mut kept = Vec::new();
        for known in std::mem::take(&mut self.kept) {
            let path = self.directory.snapshot(known.position);
            if self.directory.open(&path)?.is_some() {
                kept.push(known);
            } else {
                tracing::warn!(file = %path.display(), "this snapshot file was removed");
            }
        }
        self.kept = kept;
        Ok(())
    }

    /// Removes all snapshots except the newest to free space, if the newest is readable. Returns
    /// whether it freed space.
    fn keep_only_newest(&mut self) -> bool {
        let [_, .., newest] = &*self.kept else { return false };
        let path = self.directory.snapshot(newest.position);
        let readable = file::check(&self.directory, &path, newest.position);
        if let Err(error) = readable.and_then(|()| self.prune(1)) {
            tracing::error!(%error, "cannot remove the snapshots before the newest");
            return false;
        }
        tracing::warn!("the disk is full: only the newest snapshot is kept");
        true
    }

    /// Removes a snapshot that will not be finished. An error other than a full disk or closing is
    /// a failure of the storage.
    fn give_up(&self, error: StorageError) -> Result<StorageError, SaveError> {
        if !is_full_disk(&error) && !matches!(error, StorageError::Closed) {
            return Err(SaveError::Failed(error));
        }
        match self.directory.remove(&self.directory.snapshot_in_the_making()) {
            Ok(_) => Ok(error),
            Err(error) => Err(SaveError::Failed(error)),
        }
    }

    /// Removes the oldest snapshots until `keep` are left.
    fn prune(&mut self, keep: usize) -> Result<(), StorageError> {
        while self.kept.len() > keep {
            let oldest = self.kept.remove(0);
            self.directory.remove(&self.directory.snapshot(oldest.position))?;
        }
        Ok(())
    }

    /// The last entry that the second newest snapshot covers; 0 if there is only one. The log must
    /// reach back to it.
    pub(super) fn fallback(&self) -> LogIndex {
        match &*self.kept {
            [.., older, _newest] => older.position.index,
            _ => LogIndex(0),
        }
    }

    /// The last entry that the newest snapshot covers; 0 if there is no snapshot.
    pub(super) fn newest(&self) -> LogIndex {
        self.kept.last().map_or(LogIndex(0), |newest| newest.position.index)
    }

    /// The number of snapshots and their total size, in bytes.
    pub(super) fn usage(&self) -> (u64, u64) {
        (self.kept.len() as u64, self.kept.iter().map(|kept| kept.bytes).sum())
    }

    /// The approximate size of the next snapshot, in bytes.
    pub(super) fn room_for_next(&self) -> u64 {
        self.kept.last().map_or(0, |newest| newest.bytes + newest.bytes / 4)
    }
}

fn is_full_disk(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { source, .. } if is_full(source))
}
