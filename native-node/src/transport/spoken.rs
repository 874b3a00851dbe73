//! Which protocol version each peer speaks on its open connections, and which versions are allowed.
//!
//! Two servers of this release reach [`Version::V4`] even if one of them starts during an attempt
//! of the other. A connection of the older protocol is closed as soon as the peer has shown that it
//! speaks the newer one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft_core::limits::Semantics;
use raft_core::types::NodeId;
use tokio_util::sync::CancellationToken;

use super::limits::MAX_PEERS;
use super::version::Version;

/// The protocol version of each peer on its open connections. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Spoken {
    peers: Arc<Mutex<BTreeMap<NodeId, Peer>>>,
    /// Cancelled once this server has entries or a state that the first release does not know.
    beyond_first: CancellationToken,
}

#[derive(Debug, Default)]
struct Peer {
    /// The number of open connections, by version.
    standing: BTreeMap<Version, usize>,
    /// The newest version that was ever used with this peer.
    newest: Option<Version>,
}

/// An open connection. Dropped when it ends.
#[derive(Debug)]
pub(super) struct Agreed {
    spoken: Spoken,
    peer: NodeId,
    version: Version,
}

impl Spoken {
    /// Records a new connection to or from a peer.
    pub(super) fn agree(&self, peer: NodeId, version: Version) -> Agreed {
        let mut peers = self.lock();
        if peers.len() > 2 * MAX_PEERS {
            peers.retain(|_, peer| !peer.standing.is_empty());
        }
        let known = peers.entry(peer).or_default();
        *known.standing.entry(version).or_default() += 1;
        let before = known.newest.replace(known.newest.map_or(version, |it| it.max(version)));
        drop(peers);
        if let Some(before) = before.filter(|before| version < *before) {
            let (before, now) = (before.numbers().0, version.numbers().0);
            tracing::warn!(
                %peer, before, now,
                "this server spoke a later protocol before. It runs an earlier release now, or \
                 somebody on the network changes its messages"
            );
        }
        Agreed { spoken: self.clone(), peer, version }
    }

    /// The oldest version on all open connections of a peer; `None` without a connection.
    pub fn by(&self, peer: NodeId) -> Option<Version> {
        self.lock().get(&peer).and_then(|it| it.standing.keys().next().copied())
    }

    /// Whether an open connection with a peer uses this version.
    pub(super) fn stands(&self, peer: NodeId, version: Version) -> bool {
        self.lock().get(&peer).is_some_and(|it| it.standing.contains_key(&version))
    }

    /// Whether a version is allowed, given this server's log and state.
    pub fn admits(&self, version: Version) -> bool {
        version > Version::V3 || !self.beyond_first.is_cancelled()
    }

    /// Allows from now on only versions that know these rules.
    pub fn require(&self, semantics: Semantics) {
        if semantics > Version::V3.semantics() {
            self.beyond_first.cancel();
        }
    }

    /// Waits until a version is no longer allowed.
    pub(super) async fn forbidden(&self, version: Version) {
        match version {
            Version::V3 => self.beyond_first.cancelled().await,
            Version::V4 => std::future::pending().await,
        }
    }

    /// The allowed versions as text, for refused peers.
    pub(super) fn range(&self) -> String {
        if self.admits(Version::V3) {
            return Version::range();
        }
        let newest = Version::words(Version::NEWEST.numbers());
        format!("{newest} (this cluster follows rules that earlier releases do not know)")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Agreed {
    fn drop(&mut self) {
        let mut peers = self.spoken.lock();
        let Some(known) = peers.get_mut(&self.peer) else { return };
        if let Some(count) = known.standing.get_mut(&self.version) {
            *count -= 1;
            if *count == 0 {
                known.standing.remove(&self.version);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(2);

    /// Guards the raising of rules: a peer counts as the oldest version on its open connections,
    /// and as none without a connection.
    #[test]
    fn a_peer_speaks_what_its_connections_show() {
        let spoken = Spoken::default();
        assert_eq!(spoken.by(PEER), None);
        let new = spoken.agree(PEER, Version::V4);
        let other = spoken.agree(PEER, Version::V4);
        drop(new);
        assert_eq!(spoken.by(PEER), Some(Version::V4), "another one stands");
        let old = spoken.agree(PEER, Version::V3);
        assert_eq!(spoken.by(PEER), Some(Version::V3));
        drop(other);
        assert!(!spoken.stands(PEER, Version::V4));
        drop(old);
        assert_eq!(spoken.by(PEER), None);
    }

    /// Guards the state: once newer rules hold, servers of the first release are refused, and their
    /// connections end.
    #[tokio::test]
    async fn later_rules_shut_the_first_release_out() {
        let spoken = Spoken::default();
        spoken.require(Semantics::FIRST);
        assert!(spoken.admits(Version::V3));
        assert_eq!(spoken.range(), "3.2 to 4.2");
        spoken.require(Semantics::BOUNDED);
        assert!(!spoken.admits(Version::V3) && spoken.admits(Version::V4));
        spoken.forbidden(Version::V3).await;
        assert!(spoken.range().starts_with("4.2 ("), "{}", spoken.range());
    }
}
