//! Recovers from the data of one server when the majority is permanently lost.
//!
//! The server's directory is read as at a start, and every entry of its log counts as committed.
//! The server may not have known that an acknowledged write was committed. The state becomes the
//! beginning of a new cluster, like a restored backup. The new cluster has another name, so it
//! refuses servers of the old one.

use std::path::{Path, PathBuf};

use api::members::Members;
use raft_core::config::Config;
use raft_core::durable::Bootstrap;
use raft_core::kv::KvStore;
use raft_core::limits::Semantics;
use raft_core::membership::Membership;
use raft_core::replica::{Replica, Start};
use raft_core::types::{LogIndex, LogPosition, NodeId, Time};
use storage::{Identity, Options, Storage, StorageError};

use crate::backup::found_with;

/// The contents of a stopped server's directory.
#[derive(Clone, Debug)]
pub struct Survivor {
    /// The cluster and the server that the directory belongs to.
    pub identity: Identity,
    /// The state after the last entry of the log.
    pub store: KvStore,
    /// The position of that entry. Of several survivors, the one with the greatest position has the
    /// most entries: first by term, then by index.
    pub last: LogPosition,
    /// The last entry that this server knew to be committed.
    pub known_committed: LogIndex,
    /// The members, as far as this server knew.
    pub membership: Membership,
}

/// Where and how the new cluster starts.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// The directory to create: empty, or not there yet.
    pub data: PathBuf,
    /// The ID of the server that the directory is for.
    pub id: NodeId,
    /// The new cluster's name.
    pub cluster_id: String,
    /// Its founding servers.
    pub members: Members,
}

/// Why the recovery failed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A directory cannot be read or written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The server is not a founder of the new cluster.
    #[error("server {0} is not in --members, the list of the servers of the new cluster")]
    NotAMember(NodeId),
    /// A later release wrote the log.
    #[error(
        "after entry {0} of the log is a command that this release does not know. Recover with the \
         release that wrote it, or the command and all later entries are lost"
    )]
    UnknownCommand(LogIndex),
    /// The new cluster has the name of the old one.
    #[error(
        "{0:?} is the name of the cluster that lost its majority. A server of that cluster could \
         overwrite the data of the new cluster: choose another --cluster-id"
    )]
    SameCluster(String),
}

impl Survivor {
    /// Reads the directory of a stopped server. Blocks, and needs memory for the whole state.
    pub fn read(data: &Path) -> Result<Self, RecoverError> {
        let identity = Storage::owner(data)?;
        let options = Options::default();
        // With another segment size, the preallocated space would be replaced by new space.
        let segment_bytes = set_aside(data).unwrap_or(options.segment_bytes);
        let options = Options { segment_bytes, ..options };
        let (opened, storage) = Storage::open(data, identity.clone(), options, |_| {})?;
        storage.close()?;
        let mut recovered = opened.recovered;
        let known_committed = recovered.commit_index;
        // A start commits up to this index or to the end of the log.
        recovered.commit_index = LogIndex(u64::MAX);
        let start = Start {
            id: identity.node,
            config: Config::default(),
            bootstrap: Bootstrap { membership: Membership::default() },
            recovered,
            snapshot: opened.snapshot,
            semantics: Semantics::FIRST,
            seed: 0,
            first_seq: 0,
        };
        let replica = Replica::new(start, Time(0), false);
        let (status, store) = (replica.status(), replica.store().clone());
        let (last, membership) = (status.last_applied, status.membership);
        if status.halted {
            return Err(RecoverError::UnknownCommand(last.index));
        }
        let known_committed = known_committed.max(status.snapshot_index);
        Ok(Self { identity, store, last, known_committed, membership })
    }

    /// Creates the directory of the new cluster; returns the state's revision in it.
    pub fn begin(&self, beginning: &Beginning) -> Result<u64, RecoverError> {
        let Beginning { data, id, cluster_id, members } = beginning;
        if members.get(*id).is_none() {
            return Err(RecoverError::NotAMember(*id));
        }
        if *cluster_id == self.identity.cluster {
            return Err(RecoverError::SameCluster(cluster_id.clone()));
        }
        let identity = Identity { cluster: cluster_id.clone(), node: *id };
        Ok(found_with(data, identity, members, self.store.clone())?)
    }
}

/// The size of the files that hold preallocated space for the log.
fn set_aside(data: &Path) -> Option<u64> {
    let files = std::fs::read_dir(data).ok()?.flatten();
    let spares = files.filter(|file| file.file_name().to_string_lossy().starts_with("spare-"));
    spares.filter_map(|file| file.metadata().ok()).map(|it| it.len()).filter(|it| *it > 0).max()
}
