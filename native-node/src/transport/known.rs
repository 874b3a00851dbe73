//! Records the data directory of each peer, and compares the states with which servers founded the
//! cluster. See [`storage::KnownPeers`].

use std::sync::Arc;

use raft_core::types::NodeId;
use storage::{KnownPeers, StorageId};

use crate::addresses::Addresses;

use super::handshake::{Hello, Refusal};

/// What this server says about its own data and remembers about its peers' data. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Known {
    peers: Arc<KnownPeers>,
    addresses: Addresses,
    /// Whether this server is a stranger: it started with an empty directory and made no promises
    /// (pitfall 29). Peers therefore need not tell it from its earlier self.
    stranger: bool,
}

impl Known {
    /// Combines the stored peers and the address book.
    pub const fn new(peers: Arc<KnownPeers>, addresses: Addresses, stranger: bool) -> Self {
        Self { peers, addresses, stranger }
    }

    /// The ID of this server's data directory, for its Hello; `None` for a stranger.
    pub(super) fn claim(&self) -> Option<StorageId> {
        (!self.stranger).then(|| self.peers.own())
    }

    /// The digest of the state with which this server founded the cluster, if it did.
    pub(super) fn founded(&self) -> Option<u64> {
        self.peers.founded().filter(|_| !self.stranger)
    }

    /// The number of a server's last addition, as far as this server knows.
    pub(super) fn let_in(&self, id: NodeId) -> u64 {
        self.addresses.let_in(id)
    }

    /// Whether a server's address is known: it is a member or about to become a member.
    pub(super) fn is_listed(&self, id: NodeId) -> bool {
        self.addresses.get(id).is_some()
    }

    /// Remembers an authenticated server, or refuses it. The record is durable before the server
    /// processes any message of the peer.
    pub(super) async fn meet(&self, hello: &Hello) -> Result<(), Refusal> {
        let (from, let_in) = (hello.from, hello.let_in.max(self.let_in(hello.from)));
        // The logs do not show the difference: both states have the same position.
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

/// A peer that cannot be remembered is refused and retries.
fn forgetful(from: NodeId, error: &dyn std::fmt::Display) -> Refusal {
    tracing::warn!(peer = %from, "cannot record that this server connected: {error}");
    Refusal::Busy
}
