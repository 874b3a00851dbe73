//! Making the data directory of a founding server from a backup.

use std::path::{Path, PathBuf};

use raft_core::kv::{KvStore, Snapshot};
use raft_core::message::SnapshotMeta;
use raft_core::types::{LogPosition, NodeId};

use super::{BackupError, BackupHead, load};
use crate::addresses::Book;
use crate::config::Members;
use crate::storage::{Identity, Options, Storage, StorageError};

/// Where the restored state stands in the new log: after an entry that nobody has. So a server
/// without it, which joins later, is sent the state and not a log that begins without it.
const POSITION: LogPosition = LogPosition::new(1, 1);

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The backup.
    pub file: PathBuf,
    /// The data directory, empty or not there yet.
    pub data: PathBuf,
    /// The server.
    pub id: NodeId,
    /// The cluster's name.
    pub cluster_id: String,
    /// The founding servers, the same for each of them.
    pub members: Members,
    /// Whether the cluster may have the name of the one that the backup is of.
    pub reuse_cluster_id: bool,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub backup: BackupHead,
    /// The store's revision now: one more than in the backup where addresses of servers were
    /// entered, which are not taken over.
    pub revision: u64,
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The directory cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The server is not among those that found the cluster.
    #[error(
        "server {0} is not among --members; each founding server is restored with the same list"
    )]
    NotAMember(NodeId),
    /// The name is that of the cluster which the backup is of.
    #[error("{file} is a backup of cluster {name:?} itself. A server of the old cluster that came \
        back would take the new ones for its own and overwrite them: choose another --cluster-id. \
        Only if all old servers are gone for good, with their directories, give --reuse-cluster-id",
        file = .file.display())]
    SameCluster {
        /// The backup.
        file: PathBuf,
        /// The cluster.
        name: String,
    },
}

impl Restore {
    /// Checks the whole backup first, then writes. After a crash in between, the directory is not
    /// taken for a server's, and the same can be done again.
    ///
    /// Needs memory for the whole state, as the server itself does.
    pub fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Restored, RestoreError> {
        if self.members.get(self.id).is_none() {
            return Err(RestoreError::NotAMember(self.id));
        }
        Storage::is_free_for_restore(&self.data)?;
        let (backup, store) = load(&self.file, progress)?;
        if backup.cluster_id == self.cluster_id && !self.reuse_cluster_id {
            let (file, name) = (self.file.clone(), backup.cluster_id);
            return Err(RestoreError::SameCluster { file, name });
        }
        let identity = Identity { cluster: self.cluster_id.clone(), node: self.id };
        let revision = found_with(&self.data, identity, &self.members, store)?;
        Ok(Restored { backup, revision })
    }

    /// The length of the backup in bytes, for telling progress.
    pub fn length(file: &Path) -> u64 {
        std::fs::metadata(file).map_or(0, |metadata| metadata.len())
    }
}

/// Makes the data directory of a founding server whose cluster begins with this state; gives the
/// state's revision then.
pub(crate) fn found_with(
    data: &Path,
    identity: Identity,
    members: &Members,
    mut store: KvStore,
) -> Result<u64, StorageError> {
    store.forget_large_answers();
    // Where the old servers were found must not lead the new ones there.
    if Book::revision_in(&store) > 0 {
        store.apply(Book::removal());
    }
    let revision = store.revision();
    let meta = SnapshotMeta { last: POSITION, membership: members.membership() };
    Storage::restore(data, identity, Options::default(), Snapshot { meta, store })?;
    Ok(revision)
}
