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
use std::sync::{Mutex, PoisonError};

use raft_core::types::NodeId;
use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::disk::DiskFile;
use super::error::io_error;
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
    /// Those that the directory remembers. A file that cannot be read is reported and forgotten: it
    /// guards against a mistake and holds nothing that anybody was promised.
    pub(super) fn load(directory: Directory) -> Self {
        let met = read(&directory).unwrap_or_else(|why| {
            let path = directory.peers().0;
            tracing::warn!(file = %path.display(), "cannot tell which servers were met: {why}");
            BTreeMap::new()
        });
        Self { directory, met: Mutex::new(met) }
    }

    /// The data directory of this server.
    pub const fn own(&self) -> StorageId {
        self.directory.id
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
        let mut with_peer = met.clone();
        while with_peer.len() >= MAX_MET {
            with_peer.pop_first();
        }
        with_peer.insert(peer, Met { storage, let_in });
        // Who is not remembered was not met: it would be let in the next time without a record.
        self.save(&with_peer)?;
        *met = with_peer;
        Ok(true)
    }

    /// Whether a server is known by this data directory, so that [`Self::meet`] would not block.
    /// Does not wait: while another one is being remembered, perhaps on a sick disk, it is unknown.
    pub fn knows(&self, peer: NodeId, storage: StorageId) -> bool {
        let met = self.met.try_lock().ok();
        met.is_some_and(|met| met.get(&peer).is_some_and(|known| known.storage == storage))
    }

    fn save(&self, met: &BTreeMap<NodeId, Met>) -> Result<(), StorageError> {
        let (path, unfinished) = self.directory.peers();
        let text = serde_json::to_vec(met).expect("numbers have a JSON form");
        let file = self.directory.disk.create(&unfinished);
        let file = file.map_err(io_error("create", &unfinished))?;
        file.write_at(0, &text).map_err(io_error("write", &unfinished))?;
        file.sync().map_err(io_error("sync", &unfinished))?;
        self.directory.rename(&unfinished, &path)
    }
}

fn read(directory: &Directory) -> Result<BTreeMap<NodeId, Met>, String> {
    let (path, _) = directory.peers();
    let file: Box<dyn DiskFile> = match directory.disk.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error.to_string()),
    };
    let size = file.size().map_err(|error| error.to_string())?;
    if size > MAX_BYTES {
        return Err(format!("it is {size} bytes long"));
    }
    let mut text = vec![0; usize::try_from(size).map_err(|error| error.to_string())?];
    let read = file.read_at(0, &mut text).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text[..read]).map_err(|error| error.to_string())
}
