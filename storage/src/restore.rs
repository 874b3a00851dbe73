//! Creates a data directory with a given state.
//!
//! **Invariant:** A marker file exists from before the first byte until after the last byte. While
//! it exists, no server starts in the directory: it would not notice missing data.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;

use raft_core::durable::{HardState, Write};
use raft_core::kv::Snapshot;
use raft_core::log::Entries;
use raft_core::types::{NodeId, WriteId};

use super::directory::{Directory, LOCK, RESTORE_MARKER, is_ours, lock};
use super::disk::{Disk, RealDisk};
use super::error::io_error;
use super::{Identity, Options, Storage, StorageError, StorageEvent, StorageId};

impl Storage {
    /// Checks that a directory is empty, does not exist, or contains an unfinished restore.
    pub fn is_free_for_restore(dir: &Path) -> Result<(), StorageError> {
        names(&RealDisk, dir).map(drop)
    }

    /// Creates the data directory of a server that starts with this state, at the snapshot's
    /// position, as a voter that has not voted.
    ///
    /// Blocks.
    pub fn restore(
        dir: &Path,
        identity: Identity,
        options: Options,
        snapshot: Snapshot,
    ) -> Result<(), StorageError> {
        let disk = RealDisk;
        let marker = dir.join(RESTORE_MARKER);
        names(&disk, dir)?;
        disk.create_dir_all(dir).map_err(io_error("create the directory", dir))?;
        let file = disk.create(&marker).map_err(io_error("create", &marker))?;
        file.sync().map_err(io_error("sync", &marker))?;
        let sync = || disk.sync_dir(dir).map_err(io_error("sync the directory", dir));
        sync()?;
        // Without the lock, this would remove the files of a concurrent restore.
        let guard = lock(&disk, dir, &identity)?;
        for name in names(&disk, dir)?.iter().filter(|name| !kept(name)) {
            let path = dir.join(name);
            disk.remove(&path).map_err(io_error("remove", &path))?;
        }
        drop(guard);
        fill(dir, identity, options, snapshot)?;
        // The names of all files are durable by now; otherwise this sync reports an error.
        sync()?;
        disk.remove(&marker).map_err(io_error("remove", &marker))?;
        sync()
    }

    /// Reads the cluster and the server that own a directory.
    pub fn owner(dir: &Path) -> Result<Identity, StorageError> {
        let nobody = Identity { cluster: String::new(), node: NodeId::ENVIRONMENT };
        let (disk, path, id) = (Arc::new(RealDisk), dir.to_owned(), StorageId::default());
        Directory { disk, path, identity: nobody, id }.owner()
    }

    /// Rejects a directory with an unfinished restore.
    pub(super) fn refuse_unfinished_restore(dir: &Path) -> Result<(), StorageError> {
        if dir.join(RESTORE_MARKER).exists() {
            return Err(StorageError::UnfinishedRestore { dir: dir.to_owned() });
        }
        Ok(())
    }
}

fn fill(
    dir: &Path,
    identity: Identity,
    options: Options,
    snapshot: Snapshot,
) -> Result<(), StorageError> {
    let (position, digest) = (snapshot.meta.last, snapshot.store.digest());
    let (events, reports) = mpsc::channel();
    let report = move |event| drop(events.send(event));
    let (_, storage) = Storage::open_on(Arc::new(RealDisk), dir, identity, options, report)?;
    storage.save_snapshot(snapshot);
    wait(&reports, |event| matches!(event, StorageEvent::SnapshotSaved { .. }))?;
    storage.peers().note_founding(digest)?;
    let id = WriteId(1);
    let hard_state = HardState { current_term: position.term, ..HardState::default() };
    storage.submit(Write {
        id,
        hard_state,
        truncate_from: None,
        compact_to: Some(position),
        entries: Entries::default(),
        commit_index: position.index,
    });
    wait(
        &reports,
        |event| matches!(event, StorageEvent::Persisted { id: done, .. } if *done == id),
    )?;
    storage.close()
}

fn wait(
    reports: &mpsc::Receiver<StorageEvent>,
    wanted: impl Fn(&StorageEvent) -> bool,
) -> Result<(), StorageError> {
    loop {
        let Ok(event) = reports.recv() else { return Err(StorageError::Closed) };
        if wanted(&event) {
            return Ok(());
        }
        match event {
            StorageEvent::SnapshotFailed { error, .. } | StorageEvent::Failed { error, .. } => {
                return Err(Arc::into_inner(error).unwrap_or(StorageError::Closed));
            }
            StorageEvent::Persisted { .. }
            | StorageEvent::SnapshotSaved { .. }
            | StorageEvent::DiskFull
            | StorageEvent::DiskIsShort
            | StorageEvent::DiskHasSpace => {}
        }
    }
}

/// Files that a restore keeps.
fn kept(name: &str) -> bool {
    [RESTORE_MARKER, LOCK].contains(&name)
}

/// Lists a directory that may be written; includes the files of an unfinished restore.
fn names(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, StorageError> {
    let mut names = match disk.list(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(io_error("list", dir)(error)),
    };
    names.retain(|name| name != "lost+found");
    let unfinished = names.iter().any(|name| name == RESTORE_MARKER);
    // Files of other programs beside an unfinished restore are not ours to remove.
    if let Some(found) = names.iter().find(|name| !unfinished || !is_ours(name)) {
        return Err(StorageError::NotEmpty { dir: dir.to_owned(), found: found.clone() });
    }
    Ok(names)
}
