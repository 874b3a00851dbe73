//! Snapshots on disk: written in a stream, read back at the start, the newest two kept.

mod file;

#[cfg(any(test, feature = "fuzz"))]
pub(super) use file::fuzz;

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
    /// How many are kept.
    keep: usize,
    /// Oldest first, all of them intact as far as is known.
    kept: Vec<Kept>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    position: LogPosition,
    bytes: u64,
}

/// What was found at the start.
pub(super) struct Loaded {
    /// The newest intact snapshot.
    pub(super) snapshot: Option<Snapshot>,
    /// Newer ones that are damaged, newest first.
    pub(super) damaged: Vec<(LogPosition, StorageError)>,
}

/// What saving one took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Saved {
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// Why one was not saved.
pub(super) enum SaveError {
    /// There is no room, or the storage is being closed: it may be tried again.
    Skipped(StorageError),
    /// The disk failed.
    Failed(StorageError),
}

impl SnapshotStore {
    /// Loads the newest intact one of the snapshots at `positions` (oldest first).
    pub(super) fn open(
        directory: Directory,
        options: &Options,
        positions: &[LogPosition],
    ) -> Result<(Self, Loaded), StorageError> {
        let mut loaded = Loaded { snapshot: None, damaged: Vec::new() };
        let mut kept = Vec::new();
        for position in positions.iter().rev() {
            let path = directory.snapshot(*position);
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
            let open = directory.disk.open(&path).map_err(io_error("open", &path))?;
            let bytes = open.size().map_err(io_error("ask for the size of", &path))?;
            kept.insert(0, Kept { position: *position, bytes });
        }
        let (chunk_bytes, keep) = (options.snapshot_chunk_bytes, options.snapshots_kept.max(2));
        Ok((Self { directory, chunk_bytes, keep, kept }, loaded))
    }

    /// Removes damaged snapshots once it is known that nothing is lost without them.
    pub(super) fn remove_damaged(&self, positions: &[LogPosition]) -> Result<(), StorageError> {
        positions.iter().try_for_each(|at| self.directory.remove(&self.directory.snapshot(*at)))
    }

    /// Removes what a crash left: a snapshot in the making, and more than are kept.
    pub(super) fn clean_up(&mut self, unfinished: bool) -> Result<(), StorageError> {
        if unfinished {
            self.directory.remove(&self.directory.snapshot_in_the_making())?;
        }
        self.prune()
    }

    /// Makes a snapshot durable and removes those that it supersedes. `go_on` is asked again and
    /// again, with the bytes of keys and values that are written.
    pub(super) fn save(
        &mut self,
        snapshot: &Snapshot,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Saved, SaveError> {
        let started = Instant::now();
        let (position, unfinished) = (snapshot.meta.last, self.directory.snapshot_in_the_making());
        let bytes = file::write(&self.directory, &unfinished, snapshot, self.chunk_bytes, go_on)
            .map_err(|error| self.give_up(error))?;
        self.directory
            .rename(&unfinished, &self.directory.snapshot(position))
            .map_err(SaveError::Failed)?;
        self.kept.retain(|kept| kept.position != position);
        self.kept.push(Kept { position, bytes });
        self.kept.sort_unstable_by_key(|kept| kept.position.index);
        self.prune().map_err(SaveError::Failed)?;
        Ok(Saved { bytes, took: started.elapsed() })
    }

    /// Gives back the space of a snapshot that will not be finished.
    fn give_up(&self, error: StorageError) -> SaveError {
        let full = matches!(&error, StorageError::Io { source, .. } if is_full(source));
        if !full && !matches!(error, StorageError::Closed) {
            return SaveError::Failed(error);
        }
        match self.directory.remove_if_there(&self.directory.snapshot_in_the_making()) {
            Ok(()) => SaveError::Skipped(error),
            Err(error) => SaveError::Failed(error),
        }
    }

    fn prune(&mut self) -> Result<(), StorageError> {
        while self.kept.len() > self.keep {
            let oldest = self.kept.remove(0);
            self.directory.remove(&self.directory.snapshot(oldest.position))?;
        }
        Ok(())
    }

    /// The last entry that the snapshot before the newest covers; 0 while there is but one, since
    /// what precedes it is the empty state. The log must reach back to it.
    pub(super) fn fallback(&self) -> LogIndex {
        match &*self.kept {
            [.., older, _newest] => older.position.index,
            _ => LogIndex(0),
        }
    }

    /// The last entry that the newest snapshot covers, 0 when there is none.
    pub(super) fn newest(&self) -> LogIndex {
        self.kept.last().map_or(LogIndex(0), |newest| newest.position.index)
    }

    /// How many there are, and their length in bytes.
    pub(super) fn usage(&self) -> (u64, u64) {
        (self.kept.len() as u64, self.kept.iter().map(|kept| kept.bytes).sum())
    }

    /// About how much room another one needs, in bytes.
    pub(super) fn room_for_next(&self) -> u64 {
        self.kept.last().map_or(0, |newest| newest.bytes + newest.bytes / 4)
    }
}
