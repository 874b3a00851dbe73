//! Who was met with which data directory, and who founded the cluster with which state: see
//! [`crate::storage::KnownPeers`].

use std::sync::Arc;

use raft_core::types::NodeId;

use crate::addresses::Addresses;
use crate::storage::{KnownPeers, StorageId};

use super::handshake::{Hello, Refusal};

/// What this server says of its own data, and remembers of that of others. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Known {
    peers: Arc<KnownPeers>,
    addresses: Addresses,
    /// Whether the directory was empty: such a server promises nothing (pitfall 29), so it need
    /// not be told from who it was before.
    stranger: bool,
}

impl Known {
    /// For a server with these memories and this book of addresses.
    pub const fn new(peers: Arc<KnownPeers>, addresses: Addresses, stranger: bool) -> Self {
        Self { peers, addresses, stranger }
    }

    /// What this server says of its data directory.
    pub(super) fn claim(&self) -> Option<StorageId> {
        (!self.stranger).then(|| self.peers.own())
    }

    /// The digest of the state with which this server founded the cluster, if it did.
    pub(super) fn founded(&self) -> Option<u64> {
        self.peers.founded().filter(|_| !self.stranger)
    }

    /// When a server was last let in, as far as this server knows.
    pub(super) fn let_in(&self, id: NodeId) -> u64 {
        self.addresses.let_in(id)
    }

    /// Whether it is known where a server is found: it is a member, or about to be one.
    pub(super) fn is_listed(&self, id: NodeId) -> bool {
        self.addresses.get(id).is_some()
    }

    /// Remembers a server that has proved who it is, or refuses it. What was met is durable before
    /// anything that it says is heard.
    pub(super) async fn meet(&self, hello: &Hello) -> Result<(), Refusal> {
        let (from, let_in) = (hello.from, hello.let_in.max(self.let_in(hello.from)));
        // Logs would not tell: both states stand at the same position.
        if let (Some(theirs), Some(ours)) = (hello.founded, self.founded())
            && theirs != ours
        {
            return Err(Refusal::Founding { from, theirs, ours });
        }
        let Some(storage) = hello.storage else { return Ok(()) };
        if self.peers.knows(from, storage) {
            return Ok(());
        }
        let peers = Arc::clone(&self.peers);
        let met = tokio::task::spawn_blocking(move || peers.meet(from, storage, let_in)).await;
        match met {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Refusal::OtherStorage(from)),
            Ok(Err(error)) => Err(forgetful(from, &error)),
            Err(error) => Err(forgetful(from, &error)),
        }
    }
}

/// What cannot be remembered is not let in: it comes again.
fn forgetful(from: NodeId, error: &dyn std::fmt::Display) -> Refusal {
    tracing::warn!(peer = %from, "cannot remember that this server was met: {error}");
    Refusal::Busy
}
