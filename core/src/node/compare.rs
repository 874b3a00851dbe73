//! Digests of states on their way between servers; [`crate::replica`] compares them.

use super::Node;
use super::gate::Needs;
use crate::message::{Body, Message};
use crate::types::{LogIndex, NodeId};

/// What a peer said of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceivedDigest {
    pub(crate) from: NodeId,
    pub(crate) index: LogIndex,
    pub(crate) digest: u64,
    /// Whether it answers ours.
    pub(crate) reply: bool,
}

impl Node {
    /// Takes in a digest, whatever the terms: it tells of applied entries alone. Whether it is one.
    pub(super) fn take_digest(&mut self, message: &Message) -> bool {
        let Body::StateDigest { index, digest, reply } = message.body else { return false };
        self.received_digests.push(ReceivedDigest { from: message.from, index, digest, reply });
        true
    }

    /// Tells a peer what the state is after an applied entry, once the term that the message carries is
    /// durable. It waits for no entries: what is applied is committed.
    pub(crate) fn send_digest(&mut self, to: NodeId, index: LogIndex, digest: u64, reply: bool) {
        self.send(to, Body::StateDigest { index, digest, reply }, Needs::HardState);
    }

    /// Tells all other members.
    pub(crate) fn send_digest_to_all(&mut self, index: LogIndex, digest: u64) {
        let peers: Vec<NodeId> = self.membership().peers_of(self.id).collect();
        for peer in peers {
            self.send_digest(peer, index, digest, false);
        }
    }
}
