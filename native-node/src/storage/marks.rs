//! Small files that say something of the whole data directory.
//!
//! `founded` is written by each server that founds a cluster, after its first snapshot. Founders tell
//! the digest in it to each other before the first message: all must begin with the same state.
//!
//! `differs` is written when a server stops since a majority has another state
//! ([`raft_core::replica::Halt::StateDiffers`]). Such a directory is not opened any more: until the
//! comparison finds the difference again, the server would answer reads from a wrong state.

use super::directory::{DIFFERS, Directory, FOUNDED};
use super::error::io_error;
use super::{Storage, StorageError};

/// What is read of such a file at most, in bytes.
const MAX_BYTES: usize = 4 << 10;

impl Directory {
    /// The digest of the founding state. A file that cannot be read counts as none, which is reported:
    /// it guards against a mistake at the founding alone.
    pub(super) fn founded(&self) -> Result<Option<u64>, StorageError> {
        let Some(text) = self.text(FOUNDED)? else { return Ok(None) };
        let digest = u64::from_str_radix(text.trim(), 16).ok();
        if digest.is_none() {
            let file = self.path.join(FOUNDED);
            tracing::warn!(file = %file.display(), "cannot tell with which state this server began");
        }
        Ok(digest)
    }

    pub(super) fn note_founding(&self, digest: u64) -> Result<(), StorageError> {
        self.put(FOUNDED, format!("{digest:016x}\n").as_bytes())
    }

    /// Refuses a directory whose state was found to be wrong.
    pub(super) fn refuse_wrong_state(&self) -> Result<(), StorageError> {
        match self.text(DIFFERS)? {
            None => Ok(()),
            Some(why) => {
                let (path, why) = (self.path.join(DIFFERS), why.trim().to_owned());
                Err(StorageError::StateDiffers { path, why })
            }
        }
    }

    /// The contents of a small file; `None` when it is not there.
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
    /// Notes that the state in this directory is wrong, in words: it is not opened any more. Blocks.
    pub fn note_difference(&self, why: &str) -> Result<(), StorageError> {
        self.peers().directory().put(DIFFERS, format!("{why}\n").as_bytes())
    }
}
