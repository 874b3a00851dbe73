//! Errors of a data directory, with messages that name a remedy.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raft_core::types::{LogIndex, NodeId};

use super::StorageId;

/// The remedy if a server's own data is unreliable: other servers still have the data.
const HELP_DAMAGE: &str = "Do not delete anything by hand. A server that forgot its vote must not \
    run under its old identity. The rest of the cluster still holds the data. Remove this server \
    (`glassraft member remove ID`). Start it with an empty directory and without --new-cluster. \
    Then add it again (`glassraft member add ID=PEER/CLIENT`). If no majority of the servers \
    has its data, continue with the remaining data (`glassraft recover`). Or make a new cluster \
    from a backup (`glassraft restore`)";

/// Why the storage cannot be opened or has failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A system call failed.
    #[error("cannot {action} {}: {source}. Check the disk. Replace a faulty disk before you start \
        the server again", .path.display())]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The operating system denied access.
    #[error("cannot {action} {}: {source}. The directory and all its files must belong to the user \
        that runs the server. The file system must be writable. See `ls -ld` and `chown`", 
        .path.display())]
    NotAllowed {
        /// The operation, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The disk is full.
    #[error("the disk that holds {} is full: {needed} bytes are needed and {free} are free. Free \
        some space; a running server then continues without a restart. --segment-bytes and \
        --keep-free-bytes set how much it needs", .path.display())]
    DiskFull {
        /// The file or directory.
        path: PathBuf,
        /// The needed space, in bytes.
        needed: u64,
        /// The free space, in bytes.
        free: u64,
    },
    /// Another process uses the directory.
    #[error("the data directory {} is in use by {holder}. Stop that process first, or \
        give this server its own directory", .dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// How the other process describes itself.
        holder: String,
    },
    /// A restore was interrupted.
    #[error("the directory {} holds an unfinished restore. Run `glassraft restore` again \
        with the same arguments, and then start the server", .dir.display())]
    UnfinishedRestore {
        /// The directory.
        dir: PathBuf,
    },
    /// A majority of the cluster has another state.
    #[error("{why}. The server found this in its last run, so it does not start with this state. \
        Only if you know that this state is right, remove {}", .path.display())]
    StateDiffers {
        /// The file with the finding.
        path: PathBuf,
        /// The finding.
        why: String,
    },
    /// A restore needs an empty directory.
    #[error("the directory {} is not empty (it contains {found}). Restore a backup \
        into an empty or a new directory", .dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// A file in the directory.
        found: String,
    },
    /// The directory contains files of other programs.
    #[error("the directory {} is not empty and holds no data of this program (it contains \
        {found}). Give the server an empty directory, or its own directory", 
        .dir.display())]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// A file in the directory.
        found: String,
    },
    /// The file belongs to another cluster.
    #[error("{} belongs to cluster {found:?}, but this server is of cluster {expected:?}. Start \
        it with the name of that cluster or with another data directory", .path.display())]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// The cluster in the file.
        found: String,
        /// The cluster of this server.
        expected: String,
    },
    /// The file belongs to another server.
    #[error("{} belongs to server {found}, but this is server {expected}. Servers must not \
        share a data directory or copies of it. Start this server with its own directory",
        .path.display())]
    OtherNode {
        /// The file.
        path: PathBuf,
        /// The server in the file.
        found: NodeId,
        /// This server.
        expected: NodeId,
    },
    /// The file belongs to another directory of the same server.
    #[error("{} belongs to data directory {found}, not {expected}: files of two directories of \
        this server are mixed. Put each file back into its directory. {HELP_DAMAGE}",
        .path.display())]
    OtherDirectory {
        /// The file.
        path: PathBuf,
        /// The directory in the file.
        found: StorageId,
        /// The directory that contains the file.
        expected: StorageId,
    },
    /// The path is not a directory.
    #[error("{} is a file, but a data directory is needed: give another path with --data", 
        .dir.display())]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// The file has a format that this program does not know.
    #[error("{} has format {found}, but this program reads format {known}. Start the version of \
        the program that wrote it (a higher number is newer)", .path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// The file's format, as layout.encoding.
        found: String,
        /// The format of this program.
        known: String,
    },
    /// The contents of the file are damaged.
    #[error("{} is damaged at byte {offset}: {what}. {HELP_DAMAGE}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The position, in bytes from the start of the file.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// A necessary file is missing.
    #[error("{} is missing although {because}. Put it back if you have it. {HELP_DAMAGE}", 
        .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// How the storage knows that the file must exist.
        because: String,
    },
    /// Entries between the snapshot and the log are missing.
    #[error("the log in {} starts after entry {log_base}, but {snapshot}: the entries between them \
        are missing. {HELP_DAMAGE}", .dir.display())]
    Gap {
        /// The directory.
        dir: PathBuf,
        /// The last entry before the log.
        log_base: LogIndex,
        /// A description of the newest intact snapshot.
        snapshot: String,
    },
    /// The storage was closed before the write was durable.
    #[error("the storage was closed before this write was durable")]
    Closed,
    /// The disk does not respond.
    #[error("the disk that holds {} has not answered for {} s. Check the disk and its \
        connection. Unconfirmed writes may be lost; confirmed writes are not",
        .dir.display(), .since.as_secs())]
    Hangs {
        /// The directory.
        dir: PathBuf,
        /// How long the disk has not responded.
        since: Duration,
    },
    /// A thread of the storage panicked.
    #[error(
        "the storage stopped because of a bug: {what}. Please report it with the log. Restart \
        the server to continue from the durable state"
    )]
    Bug {
        /// A description.
        what: &'static str,
    },
}

/// Converts an error of the operating system, and adds the operation and the path.
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

/// Whether an error of the operating system means that there is no space.
pub(super) fn is_full(error: &io::Error) -> bool {
    // A limit on the size of files (`ulimit -f`) also leaves no space.
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
