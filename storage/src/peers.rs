//! The other servers, each with the data directory that it last used.
//!
//! A server that lost its disk must not use its old identity. Without `--new-cluster` an empty
//! directory makes it a stranger, which prevents this ([`raft_core::durable`]). This module
//! protects against a user who repeats that flag after the disk was lost. The server then believes
//! that it founds its cluster, but it uses another directory than before, so other servers reject
//! its connections.
//!
//! Each server keeps this record in a file. It does not need to be complete: a server that never
//! connected to the lost server cannot notice the change. So the rule remains that the flag is for
//! the first start only. Adding a server again is recorded in the replicated address book
//! (`addresses` in the crate `native-node`); its earlier directory does not count then.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use raft_core::types::NodeId;
use serde::{Deserialize, Serialize};

use super::directory::{Directory, PEERS};
use super::error::{io_error, is_full};
use super::{StorageError, StorageId};

/// The maximum number of recorded servers; far more than any cluster has.
const MAX_MET: usize = 1024;

/// The maximum size of the file, in bytes; far more than any cluster needs.
const MAX_BYTES: u64 = 1 << 20;

/// The other servers and their data directories, as far as this server knows.
#[derive(Debug)]
pub struct KnownPeers {
    directory: Directory,
    met: Mutex<BTreeMap<NodeId, Met>>,
    /// The digest of the state with which this server founded its cluster, if it did.
    founded: OnceLock<u64>,
}

/// The record of another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Met {
    /// The server's data directory.
    storage: StorageId,
    /// When the server was last added: a revision of the address book.
    let_in: u64,
}

impl KnownPeers {
    /// Loads the file. A damaged file is reported, renamed, and treated as empty: it only guards
    /// against a mistake.
    pub(super) fn load(directory: Directory) -> Result<Self, StorageError> {
        let path = directory.peers();
        let met = match read(&directory)? {
            Ok(met) => met,
            Err(why) => {
                let kept_as = directory.set_aside(&path)?;
                tracing::warn!(
                    file = %path.display(),
                    kept_as = %kept_as.display(),
                    "cannot read which servers this server has met: {why}"
                );
                BTreeMap::new()
            }
        };
        let founded = directory.founded()?.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { directory, met: Mutex::new(met), founded })
    }

    /// The directory of the file.
    pub(super) const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The id of this server's data directory.
    pub const fn own(&self) -> StorageId {
        self.directory.id
    }

    /// The digest of the state with which this server founded its cluster. `None` if it joined
    /// later, or if the first release founded it.
    pub fn founded(&self) -> Option<u64> {
        self.founded.get().copied()
    }

    /// Records, durably, the state with which this server founds its cluster. Blocks.
    pub fn note_founding(&self, digest: u64) -> Result<(), StorageError> {
        self.directory.note_founding(digest)?;
        self.founded.get_or_init(|| digest);
        Ok(())
    }

    /// Whether a server may connect with this data directory. `let_in` tells when it was last
    /// added, as far as either side knows. A new directory is recorded durably, which blocks.
    pub fn meet(
        &self,
        peer: NodeId,
        storage: StorageId,
        let_in: u64,
    ) -> Result<bool, StorageError> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        match met.get(&peer) {
            Some(known) if known.storage == storage => return Ok(true),
            Some(known) if known.let_in >= let_in => return Ok(false),
            Some(_) | None => {}
        }
        let mut known = met.clone();
        while known.len() >= MAX_MET {
            known.pop_first();
        }
        known.insert(peer, Met { storage, let_in });
        match self.save(&known) {
            Ok(()) => {}
            // The cluster must work even on a full disk. The record stays in memory while this
            // server runs, and is saved with the next record.
            Err(StorageError::Io { source, .. }) if is_full(&source) => {
                tracing::warn!(%peer, "the disk is full: the data about this peer is not saved");
            }
            Err(error) => return Err(error),
        }
        *met = known;
        Ok(true)
    }

    /// Whether a server is known with this data directory, so [`Self::meet`] would not block. Does
    /// not wait: while another record is being saved, perhaps on a faulty disk, returns false.
    pub fn knows(&self, peer: NodeId, storage: StorageId) -> bool {
        let met = self.met.try_lock().ok();
        met.is_some_and(|met| met.get(&peer).is_some_and(|known| known.storage == storage))
    }

    fn save(&self, met: &BTreeMap<NodeId, Met>) -> Result<(), StorageError> {
        let text = serde_json::to_vec(met).expect("numbers have a JSON form");
        self.directory.put(PEERS, &text)
    }
}

/// The inner error describes what is wrong with the contents.
fn read(directory: &Directory) -> Result<Result<BTreeMap<NodeId, Met>, String>, StorageError> {
    let path = directory.peers();
    let Some(file) = directory.open(&path)? else { return Ok(Ok(BTreeMap::new())) };
    let size = file.size().map_err(io_error("read the size of", &path))?;
    let Some(length) = usize::try_from(size).ok().filter(|_| size <= MAX_BYTES) else {
        return Ok(Err(format!("it is {size} bytes long")));
    };
    let mut text = vec![0; length];
    let read = file.read_at(0, &mut text).map_err(io_error("read", &path))?;
    Ok(serde_json::from_slice(&text[..read]).map_err(|error| error.to_string()))
}
