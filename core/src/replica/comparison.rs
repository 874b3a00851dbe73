//! Whether the other members have the same state, found out while the server runs.
//!
//! Members tell each other the newest of their [`super::digests`], at most once in a heartbeat interval
//! and only when it is new; now and then again, since a message may be lost. A server that has another
//! digest after that entry answers with its own, so that whoever is alone soon hears of all others at
//! one entry.
//!
//! A difference is reported ([`EventKind::StateDiffers`], [`super::Status`]). A server stops
//! ([`Halt::StateDiffers`]) only when a majority of the voters agrees on another digest than its own:
//! the word of one peer, which may lie, stops nobody. Where no majority agrees, as with two servers,
//! nobody knows whose state is right.
//!
//! A digest is a fact about an entry, so neither terms nor the order of messages matter. Only digests of
//! members count. Those of a state that a snapshot has replaced are forgotten.

use std::collections::BTreeMap;

use super::{Halt, Replica};
use crate::event::{EventKind, RoleReason};
use crate::membership::Membership;
use crate::node::ReceivedDigest;
use crate::rules::Rules;
use crate::types::{LogIndex, NodeId, Time};

/// The newest digest is told again after so many heartbeat intervals.
const REPEAT: u64 = 100;

/// What the peers said of their states, as far as it matters.
#[derive(Clone, Debug, Default)]
pub(super) struct Comparison {
    peers: BTreeMap<NodeId, Peer>,
    /// The digests of peers that differ from this server's, by the entry.
    differing: BTreeMap<LogIndex, BTreeMap<NodeId, u64>>,
    /// What was told last, and when.
    told: Option<(LogIndex, Time)>,
    /// How many digests differed since the start.
    pub(super) count: u64,
    pub(super) latest: Option<Difference>,
}

/// Two states after the same entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// The member that has another state.
    pub peer: NodeId,
    /// The entry.
    pub index: LogIndex,
    /// The digest of this server's state after it.
    pub own: u64,
    /// The digest of the other's.
    pub theirs: u64,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    /// The last that it said of an entry that is not applied here.
    ahead: Option<ReceivedDigest>,
    /// The last entry after which the states were compared, and whether they differed.
    compared: LogIndex,
    differs: bool,
}

impl Comparison {
    /// The peers whose states differed when they were compared last.
    pub(super) fn differing(&self, members: &Membership) -> impl Iterator<Item = NodeId> {
        let differs = |(id, peer): &(&NodeId, &Peer)| peer.differs && members.contains(**id);
        self.peers.iter().filter(differs).map(|(id, _)| *id)
    }

    /// Another state took the place of the one that was compared.
    pub(super) fn forget_state(&mut self) {
        self.differing.clear();
        for peer in self.peers.values_mut() {
            (peer.compared, peer.differs) = (LogIndex(0), false);
        }
    }

    /// Keeps a digest until the entry is applied. One of each peer, so that none can fill the memory.
    fn keep(&mut self, said: ReceivedDigest) {
        self.peers.entry(said.from).or_default().ahead = Some(said);
    }

    /// Takes out a digest of an entry that is applied by now.
    fn due(&mut self, applied: LogIndex) -> Option<ReceivedDigest> {
        self.peers.values_mut().find_map(|peer| peer.ahead.take_if(|said| said.index <= applied))
    }

    fn agrees(&mut self, said: ReceivedDigest) {
        let peer = self.peers.entry(said.from).or_default();
        if said.index >= peer.compared {
            (peer.compared, peer.differs) = (said.index, false);
        }
    }

    /// Takes in a digest that differs. Whether the two servers agreed before.
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
    /// Changes the state as nothing should.
    #[cfg(feature = "sim")]
    pub(crate) fn spoil_state(&mut self) {
        self.store.apply(crate::kv::Command::put("spoiled", ""));
    }

    /// Compares what came with the own state, and tells the own digest when that is due.
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

    /// Tells the other members the newest digest.
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
