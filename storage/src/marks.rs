//! Small files with facts about the whole data directory.
//!
//! Each server that founds a cluster writes `founded` after its first snapshot. Founding servers
//! exchange the digest in it before the first message: all must begin with the same state.
//!
//! A server writes `differs` when it stops because a majority has another state
//! ([`raft_core::replica::Halt::StateDiffers`]). Such a directory is not opened again. Otherwise
//! the server would answer reads from a wrong state until the next comparison finds the difference.

use super::directory::{DIFFERS, Directory, FOUNDED};
use super::error::io_error;
use super::{Storage, StorageError};

/// The maximum number of bytes that are read from such a file.
const MAX_BYTES: usize = 4 << 10;

impl Directory {
    /// The digest of the founding state. An unreadable file is reported and counts as missing,
    /// because it only guards against a mistake at the founding.
    pub(super) fn founded(&self) -> Result<Option<u64>, StorageError> {
        let Some(text) = self.text(FOUNDED)? else { return Ok(None) };
        let digest = u64::from_str_radix(text.trim(), 16).ok();
        if digest.is_none() {
            let file = self.path.join(FOUNDED);
            tracing::warn!(file = %file.display(), "cannot read the founding state of this server");
        }
        Ok(digest)
    }

    pub(super) fn note_founding(&self, digest: u64) -> Result<(), StorageError> {
        self.put(FOUNDED, format!("{digest:016x}\n").as_bytes())
    }

    /// Rejects a directory whose state was found to be wrong.
    pub(super) fn refuse_wrong_state(&self) -> Result<(), StorageError> {
        match self.text(DIFFERS)? {
            None => Ok(()),
            Some(why) => {
                let (path, why) = (self.path.join(DIFFERS), why.trim().to_owned());
                Err(StorageError::StateDiffers { path, why })
            }
        }
    }

    /// Reads a small file; `None` if it does not exist.
    fn text(&self, name: &str) -> Result<Option<String>, StorageError> {
        let path = self.path.join(name);
        let Some(file) = self.open(&path)? else { return Ok(None) };
        let mut bytes = vec![0; MAX_BYTES];
        let read = file.read_at(0, &mut bytes).map_err(io_error("read", &path))?;
        bytes.truncate(read);
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

impl Storage {
    /// Records that the state in this directory is wrong, and why. The directory is not opened
    /// again. Blocks.
    pub fn note_difference(&self, why: &str) -> Result<(), StorageError> {
        self.peers().directory().put(DIFFERS, format!("{why}\n").as_bytes())
    }
}
