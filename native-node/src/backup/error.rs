//! Errors of backup files.

use std::io;
use std::path::PathBuf;

/// A file cannot be used as a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The operating system returned an error.
    #[error("cannot {action} {}: {error}", .path.display())]
    Io {
        /// The attempted action, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// The file is not a backup.
    #[error("{} is not a backup: its first bytes are wrong. `glassraft backup FILE` makes a backup",
        .path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
    },
    /// This release does not know the file's format.
    #[error("{} has format {found}, but this program reads format {known}. Use the release that \
        made the file; a higher number is a newer release", .path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its format, as layout.encoding.
        found: String,
        /// The format of this release.
        known: String,
    },
    /// The file is cut off.
    #[error("{} is cut off after {bytes} bytes: its end is missing. Copy it again from its source, \
        or use another backup", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The length of the file, in bytes.
        bytes: u64,
    },
    /// The file is damaged.
    #[error("{} is damaged at byte {offset}: {what}. Do not trust any part of it: copy it again \
        from its source, or use another backup", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The position, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}
