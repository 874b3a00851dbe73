//! The data directory: file names, the lock, and checks of the owner.
//!
//! | name | what |
//! | --- | --- |
//! | `peers` | the other servers and their data directories ([`super::KnownPeers`]) |
//! | `founded` | the digest of the state that the cluster was founded with ([`super::marks`]) |
//! | `differs` | why the state must not be served ([`super::marks`]) |
//! | `peers.tmp`, `founded.tmp`, `differs.tmp` | the same, unfinished |
//! | `restore.tmp` | exists while a backup is being restored ([`super::restore`]) |
//! | `lock` | locked while a server uses the directory; names the process |
//! | `00000000000000000001.log` | a segment of the log, by its sequence number |
//! | `<index>-<term>.snapshot` | the state after that entry |
//! | `<index>-<term>.snapshot.damaged` | an unreadable snapshot, kept for analysis |
//! | `spare-<n>.tmp` | space reserved for a future segment |
//! | `snapshot.tmp` | an unfinished snapshot; after a crash it is removed at the next start |
//!
//! Other programs may remove files (cleanup tools remove `*.tmp`). The storage ignores that a file
//! to be removed is missing, and recreates missing spares.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::types::LogPosition;

use super::disk::{Disk, DiskFile, Lock, LockGuard};
use super::error::io_error;
use super::{Identity, StorageError, StorageId};

pub(super) const LOCK: &str = "lock";
pub(super) const PEERS: &str = "peers";
pub(super) const FOUNDED: &str = "founded";
pub(super) const DIFFERS: &str = "differs";
/// The name of the marker file.
pub(super) const RESTORE_MARKER: &str = "restore.tmp";
const IN_THE_MAKING: &str = ".tmp";
const SEGMENT: &str = ".log";
const SNAPSHOT: &str = ".snapshot";
const SNAPSHOT_IN_THE_MAKING: &str = "snapshot.tmp";
const DAMAGED: &str = ".damaged";

/// A directory on a disk and its owner; all parts of the storage use it.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    /// The id of the directory, once it is known.
    pub(super) id: StorageId,
}

/// The files of a directory.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Sequence numbers of segments, ascending.
    pub(super) segments: Vec<u64>,
    /// Positions of snapshots, oldest first.
    pub(super) snapshots: Vec<LogPosition>,
    /// Numbers of spare segments.
    pub(super) spares: Vec<u64>,
    /// Whether a crash left an unfinished snapshot.
    pub(super) unfinished_snapshot: bool,
    /// The name of a foreign file, if there is any.
    foreign: Option<String>,
}

impl Directory {
    /// Creates the directory if needed, locks it, and rejects it if it is not ours.
    pub(super) fn enter(&self) -> Result<(Contents, LockGuard), StorageError> {
        self.disk.create_dir_all(&self.path).map_err(|error| {
            let is_file = [io::ErrorKind::AlreadyExists, io::ErrorKind::NotADirectory];
            if is_file.contains(&error.kind()) {
                return StorageError::NotADirectory { dir: self.path.clone() };
            }
            io_error("create the directory", &self.path)(error)
        })?;
        // Check before the lock, too: it must not create a file in somebody else's directory.
        self.list()?.refuse_foreign(&self.path)?;
        let lock = lock(&*self.disk, &self.path, &self.identity)?;
        let contents = self.list()?;
        if let (Some(snapshot), []) = (contents.snapshots.last(), &*contents.segments) {
            return Err(StorageError::Missing {
                path: self.segment(1),
                because: format!("there is a snapshot of entry {snapshot}"),
            });
        }
        Ok((contents, lock))
    }

    /// The path of the file with the other servers.
    pub(super) fn peers(&self) -> PathBuf {
        self.path.join(PEERS)
    }

    pub(super) fn list(&self) -> Result<Contents, StorageError> {
        let names = self.disk.list(&self.path).map_err(io_error("list", &self.path))?;
        let mut contents = Contents::default();
        for name in names {
            if let Some(sequence) = segment_of(&name) {
                contents.segments.push(sequence);
            } else if let Some(position) = snapshot_of(&name) {
                contents.snapshots.push(position);
            } else if let Some(number) = spare_of(&name) {
                contents.spares.push(number);
            } else if name == SNAPSHOT_IN_THE_MAKING {
                contents.unfinished_snapshot = true;
            } else if !is_ours(&name) && name != "lost+found" {
                contents.foreign = Some(name);
            }
        }
        contents.segments.sort_unstable();
        contents.snapshots.sort_unstable_by_key(|position| position.index);
        Ok(contents)
    }

    /// The path of a segment.
    pub(super) fn segment(&self, sequence: u64) -> PathBuf {
        self.path.join(format!("{sequence:020}{SEGMENT}"))
    }

    /// The path of a snapshot.
    pub(super) fn snapshot(&self, position: LogPosition) -> PathBuf {
        let (index, term) = (position.index.0, position.term.0);
        self.path.join(format!("{index:020}-{term:020}{SNAPSHOT}"))
    }

    /// The path of an unfinished snapshot.
    pub(super) fn snapshot_in_the_making(&self) -> PathBuf {
        self.path.join(SNAPSHOT_IN_THE_MAKING)
    }

    /// The path of a spare segment.
    pub(super) fn spare(&self, number: u64) -> PathBuf {
        self.path.join(format!("spare-{number}.tmp"))
    }

    /// Writes a small file, durably and atomically.
    pub(super) fn put(&self, name: &str, contents: &[u8]) -> Result<(), StorageError> {
        let path = self.path.join(name);
        let unfinished = self.path.join(format!("{name}{IN_THE_MAKING}"));
        let file = self.disk.create(&unfinished).map_err(io_error("create", &unfinished))?;
        file.write_at(0, contents).map_err(io_error("write", &unfinished))?;
        file.sync().map_err(io_error("sync", &unfinished))?;
        self.rename(&unfinished, &path)
    }

    /// Renames a file, durably.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError> {
        self.disk.rename(from, to).map_err(io_error("rename", from))?;
        self.sync()
    }

    /// Removes a file, durably. Removals stay in order, even after a power failure. Returns whether
    /// the file existed.
    pub(super) fn remove(&self, path: &Path) -> Result<bool, StorageError> {
        match self.disk.remove(path) {
            Ok(()) => self.sync().map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(io_error("remove", path)(error)),
        }
    }

    /// Renames an unreadable file, durably. The storage never removes it.
    pub(super) fn set_aside(&self, path: &Path) -> Result<PathBuf, StorageError> {
        let mut name = path.as_os_str().to_owned();
        name.push(DAMAGED);
        let aside = PathBuf::from(name);
        self.rename(path, &aside)?;
        Ok(aside)
    }

    /// Opens a file for reading and writing; `None` if it does not exist.
    pub(super) fn open(&self, path: &Path) -> Result<Option<Box<dyn DiskFile>>, StorageError> {
        match self.disk.open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error("open", path)(error)),
        }
    }

    /// Makes the names of the files durable.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        let synced = self.disk.sync_dir(&self.path);
        synced.map_err(|error| self.or_gone("sync the directory", error))
    }

    /// The free space on the disk, in bytes.
    pub(super) fn free_bytes(&self) -> Result<u64, StorageError> {
        let free = self.disk.free_bytes(&self.path);
        free.map_err(|error| self.or_gone("read the free space of", error))
    }

    /// Converts an error of an operation on the directory, which may have been removed.
    pub(super) fn or_gone(&self, action: &'static str, error: io::Error) -> StorageError {
        if error.kind() == io::ErrorKind::NotFound {
            let because = "this server uses it".to_owned();
            return StorageError::Missing { path: self.path.clone(), because };
        }
        io_error(action, &self.path)(error)
    }
}

impl Contents {
    /// Whether the directory is new.
    pub(super) fn is_fresh(&self) -> bool {
        self.segments.is_empty()
    }

    fn refuse_foreign(&self, dir: &Path) -> Result<(), StorageError> {
        match &self.foreign {
            Some(found) if self.segments.is_empty() && self.snapshots.is_empty() => {
                Err(StorageError::NotOurs { dir: dir.to_owned(), found: found.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Locks a directory against other servers and restores.
pub(super) fn lock(
    disk: &dyn Disk,
    dir: &Path,
    identity: &Identity,
) -> Result<LockGuard, StorageError> {
    let holder = format!(
        "process {} (server {} of cluster {:?})",
        std::process::id(),
        identity.node,
        identity.cluster
    );
    let path = dir.join(LOCK);
    match disk.lock(&path, &holder).map_err(io_error("lock", &path))? {
        Lock::Taken(guard) => Ok(guard),
        Lock::HeldBy(holder) => {
            let unknown = "an unknown process".to_owned();
            let holder = if holder.is_empty() { unknown } else { holder };
            Err(StorageError::Locked { dir: dir.to_owned(), holder })
        }
    }
}

/// Whether a server uses this file name.
pub(super) fn is_ours(name: &str) -> bool {
    let small = [PEERS, FOUNDED, DIFFERS];
    [LOCK, RESTORE_MARKER, SNAPSHOT_IN_THE_MAKING].contains(&name)
        || small.contains(&name.strip_suffix(IN_THE_MAKING).unwrap_or(name))
        || spare_of(name).is_some()
        || segment_of(name).is_some()
        || snapshot_of(name.strip_suffix(DAMAGED).unwrap_or(name)).is_some()
        || name == format!("{PEERS}{DAMAGED}")
}

fn spare_of(name: &str) -> Option<u64> {
    name.strip_prefix("spare-")?.strip_suffix(".tmp")?.parse().ok()
}

fn segment_of(name: &str) -> Option<u64> {
    number(name.strip_suffix(SEGMENT)?)
}

fn snapshot_of(name: &str) -> Option<LogPosition> {
    let (index, term) = name.strip_suffix(SNAPSHOT)?.split_once('-')?;
    Some(LogPosition::new(number(term)?, number(index)?))
}

/// Parses a number of exactly twenty digits, as in the names above.
fn number(digits: &str) -> Option<u64> {
    let exact = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    if exact { digits.parse().ok() } else { None }
}
