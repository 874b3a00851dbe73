//! Why a file is no backup that can be used.

use std::io;
use std::path::PathBuf;

/// See the module.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The operating system refused.
    #[error("cannot {action} {}: {error}", .path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is something else.
    #[error("{} is no backup: it does not start like one. `native-node backup FILE` makes one", 
        .path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
    },
    /// The file's format is not known here.
    #[error("{} has format {found}, and this program reads format {known}. Use the release of the \
        program that made it (a higher number is a newer one)", .path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its format, as layout.encoding.
        found: String,
        /// Ours.
        known: String,
    },
    /// The file ends before its end.
    #[error("{} is cut off after {bytes} bytes: its end is missing. Copy it again from where it \
        was made, or use another backup", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How long it is, in bytes.
        bytes: u64,
    },
    /// Bytes are not what was written.
    #[error("{} is damaged at byte {offset}: {what}. Nothing of it can be trusted: copy it again \
        from where it was made, or use another backup", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}
