//! Creates the data directory of a founding server from a backup.

use std::path::{Path, PathBuf};

use api::members::Members;
use raft_core::kv::{KvStore, Snapshot};
use raft_core::snapshot::SnapshotMeta;
use raft_core::types::{LogPosition, NodeId};
use storage::{Identity, Options, Storage, StorageError};

use super::{BackupError, BackupHead, load};
use crate::addresses::Book;

/// The position of the restored state in the new log: after an entry that no server has. A server
/// that joins later without the state therefore gets the state, not a log that begins without it.
const POSITION: LogPosition = LogPosition::new(1, 1);

/// The parameters of a restore.
#[derive(Clone, Debug)]
pub struct Restore {
    /// The backup file.
    pub file: PathBuf,
    /// The data directory, which is empty or does not exist.
    pub data: PathBuf,
    /// The id of the server.
    pub id: NodeId,
    /// The cluster's name.
    pub cluster_id: String,
    /// The founding servers, the same for each of them.
    pub members: Members,
    /// Whether the cluster may have the name of the backup's cluster.
    pub reuse_cluster_id: bool,
}

/// The result of a restore.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The description of the backup.
    pub backup: BackupHead,
    /// The store's revision now. It is one more than in the backup if addresses of the old servers
    /// were removed.
    pub revision: u64,
}

/// Why a restore failed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The data directory cannot be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The server is not a founding server.
    #[error("server {0} is not in --members; restore each initial server with the same list")]
    NotAMember(NodeId),
    /// The cluster has the name of the backup's cluster.
    #[error("{file} is a backup of the same cluster, {name:?}. A server of the old cluster could \
        overwrite the data of the new cluster: choose another --cluster-id. If all old servers and \
        their directories are permanently gone, give --reuse-cluster-id",
        file = .file.display())]
    SameCluster {
        /// The backup file.
        file: PathBuf,
        /// The cluster's name.
        name: String,
    },
}

impl Restore {
    /// Checks the whole backup first, then writes. After a crash in between, no server accepts the
    /// directory, and the restore can be repeated.
    ///
    /// Needs memory for the whole state, like the server itself.
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

    /// The length of the backup in bytes, to show progress.
    pub fn length(file: &Path) -> u64 {
        std::fs::metadata(file).map_or(0, |metadata| metadata.len())
    }
}

/// Creates the data directory of a founding server whose cluster begins with this state. Returns
/// the state's revision.
pub(crate) fn found_with(
    data: &Path,
    identity: Identity,
    members: &Members,
    mut store: KvStore,
) -> Result<u64, StorageError> {
    store.forget_large_answers();
    // The new servers must not use the addresses of the old servers.
    if Book::revision_in(&store) > 0 {
        store.apply(Book::removal());
    }
    let revision = store.revision();
    let meta = SnapshotMeta { last: POSITION, membership: members.membership() };
    Storage::restore(data, identity, Options::default(), Snapshot { meta, store })?;
    Ok(revision)
}
