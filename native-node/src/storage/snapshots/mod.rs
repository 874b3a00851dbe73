//! Snapshots on disk: written in a stream, read back at the start, the newest two kept.
//!
//! One that cannot be read is never removed: it gets another name once it is known that nothing is
//! lost without it, and stops the start where that is not known.

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
            // It was listed a moment ago: whoever removed it since has removed it before, too.
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
            let bytes = open.size().map_err(io_error("ask for the size of", &path))?;
            kept.insert(0, Kept { position: *position, bytes });
        }
        let (chunk_bytes, keep) = (options.snapshot_chunk_bytes, options.snapshots_kept.max(2));
        Ok((Self { directory, chunk_bytes, keep, kept }, loaded))
    }

    /// Gives damaged snapshots other names, once it is known that nothing is lost without them.
    pub(super) fn set_aside(
        &self,
        damaged: &[(LogPosition, StorageError)],
    ) -> Result<(), StorageError> {
        for (position, error) in damaged {
            let aside = self.directory.set_aside(&self.directory.snapshot(*position))?;
            tracing::warn!(
                %error,
                kept_as = %aside.display(),
                "going on from the snapshot before it and the log"
            );
        }
        Ok(())
    }

    /// Removes what a crash left: a snapshot in the making, and more than are kept.
    pub(super) fn clean_up(&mut self, unfinished: bool) -> Result<(), StorageError> {
        if unfinished {
            self.directory.remove(&self.directory.snapshot_in_the_making())?;
        }
        self.prune(self.keep)
    }

    /// Makes a snapshot durable and removes those that it supersedes. `go_on` is asked again and
    /// again, with the bytes of keys and values that are written. On a `full` disk only one stays, and
    /// the ones before it give way where that makes the room.
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

    /// What somebody has removed makes up for nothing any more: the log must reach back further.
    fn forget_removed(&mut self) -> Result<(), StorageError> {
        let mut kept = Vec::new();
        for known in std::mem::take(&mut self.kept) {
            let path = self.directory.snapshot(known.position);
            if self.directory.open(&path)?.is_some() {
                kept.push(known);
            } else {
                tracing::warn!(file = %path.display(), "this snapshot was removed by somebody");
            }
        }
        self.kept = kept;
        Ok(())
    }

    /// Removes all but the newest for the room that they take, if the newest can be read. Whether
    /// that made any.
    fn keep_only_newest(&mut self) -> bool {
        let [_, .., newest] = &*self.kept else { return false };
        let path = self.directory.snapshot(newest.position);
        let readable = file::check(&self.directory, &path, newest.position);
        if let Err(error) = readable.and_then(|()| self.prune(1)) {
            tracing::error!(%error, "the snapshots before the newest must stay");
            return false;
        }
        tracing::warn!("the disk is full: only the newest snapshot is kept");
        true
    }

    /// Gives back the space of a snapshot that will not be finished. An error ends the storage.
    fn give_up(&self, error: StorageError) -> Result<StorageError, SaveError> {
        if !is_full_disk(&error) && !matches!(error, StorageError::Closed) {
            return Err(SaveError::Failed(error));
        }
        match self.directory.remove(&self.directory.snapshot_in_the_making()) {
            Ok(_) => Ok(error),
            Err(error) => Err(SaveError::Failed(error)),
        }
    }

    /// Removes the oldest, but for so many.
    fn prune(&mut self, keep: usize) -> Result<(), StorageError> {
        while self.kept.len() > keep {
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

fn is_full_disk(error: &StorageError) -> bool {
    matches!(error, StorageError::Io { source, .. } if is_full(source))
}
