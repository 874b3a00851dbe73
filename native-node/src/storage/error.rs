//! What can go wrong with a data directory, in words that say what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raft_core::types::{LogIndex, NodeId};

use super::StorageId;

/// What helps a server whose own data cannot be trusted any more: its peers still hold it.
const HELP_DAMAGE: &str = "Do not delete anything by hand: a server that forgot its vote must not \
    take part under its old identity. The rest of the cluster still holds the data: take this \
    server out (`native-node member remove ID`), start it with an empty directory and without \
    --new-cluster, and let it in again (`native-node member add ID=PEER/CLIENT`). If no majority \
    of the servers has its data any more, go on with what is left (`native-node recover`) or make a \
    new cluster of a backup (`native-node restore`)";

/// Why storage cannot be opened or went out of service.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}. Check the disk; one that fails must be replaced before \
        the server starts again", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The operating system does not allow it.
    #[error("cannot {action} {}: {source}. The directory and all in it must belong to the user \
        that runs the server, on a file system that can be written: see `ls -ld` and `chown`", 
        .path.display())]
    NotAllowed {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No space is left where it is needed.
    #[error("the disk that holds {} is full: {needed} bytes are needed and {free} are free. Make \
        room; a server that runs goes on by itself as soon as there is some. --segment-bytes and \
        --keep-free-bytes say how much is asked for", .path.display())]
    DiskFull {
        /// The file or directory.
        path: PathBuf,
        /// How much is needed, in bytes.
        needed: u64,
        /// How much there is, in bytes.
        free: u64,
    },
    /// Another process uses the directory.
    #[error("the data directory {} is in use by {holder}. Stop that one first, or give this \
        server a directory of its own", .dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// What the holder said of itself.
        holder: String,
    },
    /// A restore ended before it was complete.
    #[error("the directory {} holds a restore that was not finished. Run `native-node restore` \
        again with the same arguments, and start the server then", .dir.display())]
    UnfinishedRestore {
        /// The directory.
        dir: PathBuf,
    },
    /// A majority of the cluster had another state.
    #[error("{why}. That was found when the server ran last, so it does not start with this state. \
        Only if you know that this state is the right one, remove {}", .path.display())]
    StateDiffers {
        /// The file that says so.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// A restore needs an empty directory.
    #[error("the directory {} is not empty (it contains {found}). A backup is restored into an \
        empty directory, or one that is not there yet", .dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// One of the names in it.
        found: String,
    },
    /// The directory holds something else.
    #[error("the directory {} is not empty and holds no data of this program (it contains \
        {found}). Give the server an empty directory, or one that it has used before", 
        .dir.display())]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// One of the names in it.
        found: String,
    },
    /// The file belongs to another cluster.
    #[error("{} belongs to cluster {found:?}, but this server is of cluster {expected:?}. Start \
        it with the cluster's own name or with another data directory", .path.display())]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// The cluster that wrote it.
        found: String,
        /// The cluster that wanted to read it.
        expected: String,
    },
    /// The file belongs to another server.
    #[error("{} belongs to server {found}, but this is server {expected}. Two servers must never \
        share a data directory or a copy of one: start this one with its own", .path.display())]
    OtherNode {
        /// The file.
        path: PathBuf,
        /// The server that wrote it.
        found: NodeId,
        /// The server that wanted to read it.
        expected: NodeId,
    },
    /// The file was written in another directory.
    #[error("{} was written in data directory {found}, but it lies in data directory {expected}: \
        files of two directories of this server are mixed. Put each back where it was. \
        {HELP_DAMAGE}", .path.display())]
    OtherDirectory {
        /// The file.
        path: PathBuf,
        /// The directory in which it was written.
        found: StorageId,
        /// The directory in which it lies.
        expected: StorageId,
    },
    /// The path leads to something else than a directory.
    #[error("{} is a file, and a data directory is needed there: give another path with --data", 
        .dir.display())]
    NotADirectory {
        /// What was named as the directory.
        dir: PathBuf,
    },
    /// The file's format is not known here.
    #[error("{} has format {found}, and this program reads format {known}. Start the version of \
        the program that wrote it (a higher number is a newer one)", .path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its format, as layout.encoding.
        found: String,
        /// Ours.
        known: String,
    },
    /// Bytes are not what was written.
    #[error("{} is damaged at byte {offset}: {what}. {HELP_DAMAGE}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A file that must be there is not.
    #[error("{} is missing although {because}. Put it back if you have it. {HELP_DAMAGE}", 
        .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// How that is known.
        because: String,
    },
    /// Snapshot and log do not meet.
    #[error("the log in {} starts after entry {log_base}, but {snapshot}: the entries between are \
        missing. {HELP_DAMAGE}", .dir.display())]
    Gap {
        /// The directory.
        dir: PathBuf,
        /// The last entry that the log no longer holds.
        log_base: LogIndex,
        /// What is there of snapshots, in words.
        snapshot: String,
    },
    /// The server was stopped while this was waiting.
    #[error("the storage was closed before this was written; it is not durable")]
    Closed,
    /// The disk does not answer.
    #[error("the disk that holds {} has not answered for {} s. Check the disk, and what it hangs on; \
        what was not confirmed by then may be lost, nothing else is", .dir.display(), .since.as_secs())]
    Hangs {
        /// The directory.
        dir: PathBuf,
        /// For how long.
        since: Duration,
    },
    /// A thread of the storage ended by a bug.
    #[error(
        "the storage stopped because of a bug: {what}. Please report it with the log; restart \
        the server to go on from what is durable"
    )]
    Bug {
        /// What is known of it.
        what: &'static str,
    },
}

/// Turns an error of the system into ours, naming what was tried on what.
pub(super) fn io_error(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> StorageError {
    let path = path.to_owned();
    let not_allowed = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
    move |source| {
        if not_allowed.contains(&source.kind()) {
            return StorageError::NotAllowed { action, path, source };
        }
        StorageError::Io { action, path, source }
    }
}

/// Whether an error of the system says that there is no space left.
pub(super) fn is_full(error: &io::Error) -> bool {
    // Under a limit on the size of files (`ulimit -f`) there is no space for one either.
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
