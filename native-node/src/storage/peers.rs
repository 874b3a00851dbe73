//! Which data directory each other server was met with.
//!
//! A server that lost its disk must not take part as who it was, and is kept from it when it is
//! started as it should be: without `--new-cluster` an empty directory makes it a stranger
//! ([`raft_core::durable`]). This is the second line of defence, for when somebody repeats that
//! flag after the disk was lost: the server then believes that it founds its cluster, but comes with
//! another directory than it was met with, and is refused at the door.
//!
//! What was met is a memory of each server, kept in a file beside the log. It does not need to be
//! complete: a server that never met the lost one cannot tell. So the rule stays that the flag is
//! for the first start alone. Letting a server in again is noted in the replicated book of addresses
//! ([`crate::addresses`]), and how it was met before that does not count any more.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use raft_core::types::NodeId;
use serde::{Deserialize, Serialize};

use super::directory::{Directory, PEERS};
use super::error::{io_error, is_full};
use super::{StorageError, StorageId};

/// So many servers are remembered at most; far more than any cluster has.
const MAX_MET: usize = 1024;

/// The longest file that is read, in bytes: far more than any cluster's.
const MAX_BYTES: u64 = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct KnownPeers {
    directory: Directory,
    met: Mutex<BTreeMap<NodeId, Met>>,
    /// The digest of the state with which this server founded its cluster, if it did.
    founded: OnceLock<u64>,
}

/// How a server was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Met {
    /// With which data directory.
    storage: StorageId,
    /// After it was let in for this time.
    let_in: u64,
}

impl KnownPeers {
    /// Those that the directory remembers. A file that is damaged is reported, kept under another
    /// name, and forgotten: it guards against a mistake and holds nothing that anybody was promised.
    pub(super) fn load(directory: Directory) -> Result<Self, StorageError> {
        let path = directory.peers();
        let met = match read(&directory)? {
            Ok(met) => met,
            Err(why) => {
                let kept_as = directory.set_aside(&path)?;
                tracing::warn!(
                    file = %path.display(),
                    kept_as = %kept_as.display(),
                    "cannot tell which servers were met: {why}"
                );
                BTreeMap::new()
            }
        };
        let founded = directory.founded()?.map_or_else(OnceLock::new, OnceLock::from);
        Ok(Self { directory, met: Mutex::new(met), founded })
    }

    /// Where it lies.
    pub(super) const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The data directory of this server.
    pub const fn own(&self) -> StorageId {
        self.directory.id
    }

    /// The digest of the state with which this server founded its cluster; `None` for one that came
    /// later, or was founded by the first release.
    pub fn founded(&self) -> Option<u64> {
        self.founded.get().copied()
    }

    /// Remembers, durably, with which state this server founds its cluster. Blocks.
    pub fn note_founding(&self, digest: u64) -> Result<(), StorageError> {
        self.directory.note_founding(digest)?;
        self.founded.get_or_init(|| digest);
        Ok(())
    }

    /// Whether a server may come in with this data directory. `let_in` is the last time
    /// that it was let in, as far as either side knows. If it may, it is remembered, durably; blocks
    /// then.
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
            // The cluster must not stay apart for want of a few bytes. It is remembered while this
            // server runs, and saved with the next one that is met.
            Err(StorageError::Io { source, .. }) if is_full(&source) => {
                tracing::warn!(%peer, "the disk is too full to remember that this server was met");
            }
            Err(error) => return Err(error),
        }
        *met = known;
        Ok(true)
    }

    /// Whether a server is known by this data directory, so that [`Self::meet`] would not block.
    /// Does not wait: while another one is being remembered, perhaps on a sick disk, it is unknown.
    pub fn knows(&self, peer: NodeId, storage: StorageId) -> bool {
        let met = self.met.try_lock().ok();
        met.is_some_and(|met| met.get(&peer).is_some_and(|known| known.storage == storage))
    }

    fn save(&self, met: &BTreeMap<NodeId, Met>) -> Result<(), StorageError> {
        let text = serde_json::to_vec(met).expect("numbers have a JSON form");
        self.directory.put(PEERS, &text)
    }
}

/// The inner error says what is wrong with what was read.
fn read(directory: &Directory) -> Result<Result<BTreeMap<NodeId, Met>, String>, StorageError> {
    let path = directory.peers();
    let Some(file) = directory.open(&path)? else { return Ok(Ok(BTreeMap::new())) };
    let size = file.size().map_err(io_error("ask for the size of", &path))?;
    let Some(length) = usize::try_from(size).ok().filter(|_| size <= MAX_BYTES) else {
        return Ok(Err(format!("it is {size} bytes long")));
    };
    let mut text = vec![0; length];
    let read = file.read_at(0, &mut text).map_err(io_error("read", &path))?;
    Ok(serde_json::from_slice(&text[..read]).map_err(|error| error.to_string()))
}
