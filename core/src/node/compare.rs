//! Exchanges digests of states between servers; [`crate::replica`] compares them.

use super::Node;
use super::gate::Needs;
use crate::message::{Body, Message};
use crate::types::{LogIndex, NodeId};

/// A peer's digest of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceivedDigest {
    pub(crate) from: NodeId,
    pub(crate) index: LogIndex,
    pub(crate) digest: u64,
    /// Whether it answers a digest of this server.
    pub(crate) reply: bool,
}

impl Node {
    /// Stores a digest without regard to terms: it concerns only applied entries. Returns whether
    /// the message is a digest.
    pub(super) fn take_digest(&mut self, message: &Message) -> bool {
        let Body::StateDigest { index, digest, reply } = message.body else { return false };
        self.received_digests.push(ReceivedDigest { from: message.from, index, digest, reply });
        true
    }

    /// Sends a peer the digest of the state after an applied entry, once the message's term is
    /// durable. It waits for no entries: applied entries are committed.
    pub(crate) fn send_digest(&mut self, to: NodeId, index: LogIndex, digest: u64, reply: bool) {
        self.send(to, Body::StateDigest { index, digest, reply }, Needs::HardState);
    }

    /// Sends a digest to all other members.
    pub(crate) fn send_digest_to_all(&mut self, index: LogIndex, digest: u64) {
        let peers: Vec<NodeId> = self.membership().peers_of(self.id).collect();
        for peer in peers {
            self.send_digest(peer, index, digest, false);
        }
    }
}
