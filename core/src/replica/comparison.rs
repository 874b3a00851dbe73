//! Detects, while the server runs, whether the other members have the same state.
//!
//! Members send each other the newest of their [`super::digests`], at most once per heartbeat
//! interval and only if it is new. They repeat it at times, because messages may be lost. A server
//! with a different digest for that entry replies with its own. A single server that differs
//! therefore soon knows the digests of all others at one entry.
//!
//! A difference is reported ([`EventKind::StateDiffers`], [`super::Status`]). A server stops
//! ([`Halt::StateDiffers`]) only if a majority of the voters agrees on a digest that differs from
//! its own. The digest of one peer, which may lie, stops no server. Without such a majority, as
//! with two servers, it is unknown whose state is right.
//!
//! A digest is a fact about an entry, so neither terms nor the order of messages matter. Only
//! digests of members count. The digests of a state that a snapshot has replaced are forgotten.

use std::collections::BTreeMap;

use super::{Halt, Replica};
use crate::event::{EventKind, RoleReason};
use crate::membership::Membership;
use crate::node::ReceivedDigest;
use crate::rules::Rules;
use crate::types::{LogIndex, NodeId, Time};

/// The number of heartbeat intervals after which the newest digest is sent again.
const REPEAT: u64 = 100;

/// The digests that peers sent, as far as they matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    peers: BTreeMap<NodeId, Peer>,
    /// Digests of peers that differ from this server's, by entry.
    differing: BTreeMap<LogIndex, BTreeMap<NodeId, u64>>,
    /// The entry whose digest was sent last, and when.
    told: Option<(LogIndex, Time)>,
    /// The number of differing digests since the start.
    pub(super) count: u64,
    pub(super) latest: Option<Difference>,
}

/// Two different states after the same entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The member with the other state.
    pub peer: NodeId,
    /// The index of the entry.
    pub index: LogIndex,
    /// The digest of this server's state.
    pub own: u64,
    /// The digest of the other member's state.
    pub theirs: u64,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    /// The peer's last digest of an entry that is not applied here yet.
    ahead: Option<ReceivedDigest>,
    /// The last entry after which the states were compared; `differs` is the result.
    compared: LogIndex,
    differs: bool,
}

impl Comparison {
    /// The peers whose states differed at their last comparison.
    pub(super) fn differing(&self, members: &Membership) -> impl Iterator<Item = NodeId> {
        let differs = |(id, peer): &(&NodeId, &Peer)| peer.differs && members.contains(**id);
        self.peers.iter().filter(differs).map(|(id, _)| *id)
    }

    /// Resets the results after another state has replaced the compared one.
    pub(super) fn forget_state(&mut self) {
        self.differing.clear();
        for peer in self.peers.values_mut() {
            (peer.compared, peer.differs) = (LogIndex(0), false);
        }
    }

    /// Keeps a digest until the entry is applied. It keeps one digest per peer, to bound the
    /// memory.
    fn keep(&mut self, said: ReceivedDigest) {
        self.peers.entry(said.from).or_default().ahead = Some(said);
    }

    /// Removes and returns a digest of an entry that is applied by now.
    fn due(&mut self, applied: LogIndex) -> Option<ReceivedDigest> {
        self.peers.values_mut().find_map(|peer| peer.ahead.take_if(|said| said.index <= applied))
    }

    fn agrees(&mut self, said: ReceivedDigest) {
        let peer = self.peers.entry(said.from).or_default();
        if said.index >= peer.compared {
            (peer.compared, peer.differs) = (said.index, false);
        }
    }

    /// Records a digest that differs. Returns whether the two servers agreed before.
    fn differs(&mut self, said: ReceivedDigest, own: u64) -> bool {
        let ReceivedDigest { from: peer, index, digest: theirs, .. } = said;
        self.count = self.count.saturating_add(1);
        self.latest = Some(Difference { peer, index, own, theirs });
        self.differing.entry(index).or_default().insert(peer, theirs);
        let peer = self.peers.entry(peer).or_default();
        if index < peer.compared {
            return false;
        }
        peer.compared = index;
        !std::mem::replace(&mut peer.differs, true)
    }

    /// Whether a majority has this digest after the entry.
    fn is_of_majority(
        &self,
        rules: Rules,
        membership: &Membership,
        index: LogIndex,
        digest: u64,
    ) -> bool {
        let Some(digests) = self.differing.get(&index) else { return false };
        rules.has_majority(membership, |voter| digests.get(&voter) == Some(&digest))
    }
}

impl Replica {
    /// Corrupts the state.
    #[cfg(feature = "sim")]
    pub(crate) fn spoil_state(&mut self) {
        self.store.apply(crate::kv::Command::put("spoiled", ""));
    }

    /// Compares the received digests with the own state, and sends the own digest if that is due.
    pub(super) fn compare_states(&mut self) {
        for said in std::mem::take(&mut self.node.received_digests) {
            if said.index > self.last_applied.index {
                if self.node.membership().contains(said.from) {
                    self.comparison.keep(said);
                }
            } else {
                self.compare(said);
            }
        }
        while let Some(said) = self.comparison.due(self.last_applied.index) {
            self.compare(said);
        }
        self.tell_digest();
    }

    fn compare(&mut self, said: ReceivedDigest) {
        let ReceivedDigest { from: peer, index, digest: theirs, reply } = said;
        let membership = self.node.membership();
        self.comparison.peers.retain(|peer, _| membership.contains(*peer));
        let Some(own) = self.digests.at(index) else { return };
        if self.node.halted || !membership.contains(peer) {
            return;
        }
        if own == theirs {
            self.comparison.agrees(said);
            return;
        }
        let digests = &self.digests;
        self.comparison.differing.retain(|index, _| digests.at(*index).is_some());
        let news = self.comparison.differs(said, own);
        let rules = self.node.rules();
        let stops = self.comparison.is_of_majority(rules, self.node.membership(), index, theirs);
        if news || stops {
            let kind = || EventKind::StateDiffers { peer, index, own, theirs, stops };
            self.node.recorder.emit(kind);
        }
        if stops {
            self.halt = Some(Halt::StateDiffers { index, own, theirs });
            self.node.halt(RoleReason::StateDiffers);
        } else if !reply {
            self.node.send_digest(peer, index, own, true);
        }
    }

    /// Sends the newest digest to the other members, if that is due.
    fn tell_digest(&mut self) {
        let Some((index, digest)) = self.digests.newest() else { return };
        let (now, beat) = (self.node.now(), self.node.config().heartbeat_interval);
        let due = self.comparison.told.is_none_or(|(told, at)| {
            let pause = if told < index { beat } else { REPEAT.saturating_mul(beat) };
            now >= at.after(pause)
        });
        if due && !self.node.halted && self.node.membership().contains(self.node.id) {
            self.comparison.told = Some((index, now));
            self.node.send_digest_to_all(index, digest);
        }
    }
}
