//! Whom this server talks to: follows the members as they change, and where they are found.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use raft_core::kv::KvStore;
use raft_core::limits::Semantics;
use raft_core::membership::Membership;
use raft_core::message::Message;
use raft_core::replica::Status;
use raft_core::types::NodeId;

use crate::addresses::{Addresses, Book};
use crate::config::{Address, Members};
use crate::transport::{Outgoing, Version};

/// Servers that came in without being known are remembered up to this number.
const MAX_MET: usize = 16;

/// … and for so long after they were last heard of.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// See the module.
#[derive(Debug)]
pub struct Peers {
    own: NodeId,
    /// Those of the command line.
    listed: Members,
    addresses: Addresses,
    outgoing: Outgoing,
    book_revision: u64,
    membership: Membership,
    /// Whom a leader replicates to; may be more than the members while some leave.
    followers: BTreeSet<NodeId>,
    /// The leader, which may be one that is on its way out.
    leader: Option<NodeId>,
    met: BTreeMap<NodeId, Met>,
    dialled: BTreeSet<NodeId>,
    /// Whether something of the above changed since the connections were made to fit.
    changed: bool,
}

/// A server that came in although it is no member, as far as this server knows.
#[derive(Debug)]
struct Met {
    address: Address,
    heard_at: Instant,
}

impl Peers {
    /// Nobody is dialled until the first [`Self::update`].
    pub fn new(own: NodeId, listed: Members, addresses: Addresses, outgoing: Outgoing) -> Self {
        Self {
            own,
            listed,
            addresses,
            outgoing,
            book_revision: 0,
            membership: Membership::default(),
            followers: BTreeSet::new(),
            leader: None,
            met: BTreeMap::new(),
            dialled: BTreeSet::new(),
            changed: true,
        }
    }

    /// Sends a message if its receiver can be dialled.
    pub(super) fn send(&self, message: Message) {
        self.outgoing.send(message);
    }

    /// The latest rules of the state machine that all of these members know. A server that nothing is
    /// heard of may run any release.
    pub(super) fn know(&self, members: &Membership) -> Semantics {
        let spoken = self.outgoing.spoken();
        let others = members.peers_of(self.own);
        let known = others.map(|peer| spoken.by(peer).map_or(Semantics::FIRST, Version::semantics));
        known.min().unwrap_or(Semantics::LATEST)
    }

    /// These rules hold: who does not know them must not take part.
    pub(super) fn require(&self, rules: Semantics) {
        self.outgoing.spoken().require(rules);
    }

    /// A server came in that was not known. It may lead by a configuration that this server has yet
    /// to learn of, so it must be answered (§6).
    pub(super) fn met(&mut self, peer: NodeId, address: Address) {
        let heard_at = Instant::now();
        if self.met.len() >= MAX_MET && !self.met.contains_key(&peer) {
            tracing::warn!(%peer, "too many servers came in that are not known here");
            return;
        }
        tracing::info!(%peer, %address, "a server came in that is no member here");
        self.met.insert(peer, Met { address, heard_at });
        self.changed = true;
    }

    /// Messages came from a server. If it has left, or is about to be let in, it wants answers.
    pub(super) fn heard(&mut self, peer: NodeId) {
        if let Some(met) = self.met.get_mut(&peer) {
            met.heard_at = Instant::now();
        } else if !self.dialled.contains(&peer)
            && let Some(member) = self.addresses.get(peer)
        {
            self.met(peer, member.peer);
        }
    }

    /// Makes the connections fit the members and the book.
    pub(super) fn update(&mut self, status: &Status, store: &KvStore) {
        let book_revision = Book::revision_in(store);
        if book_revision != self.book_revision {
            self.book_revision = book_revision;
            let book = Book::of(store);
            self.addresses.set(Book { members: book.members.over(&self.listed), ..book });
            self.changed = true;
        }
        if status.membership != self.membership {
            self.membership.clone_from(&status.membership);
            self.changed = true;
        }
        if !self.followers.iter().eq(status.peers.keys()) {
            self.followers = status.peers.keys().copied().collect();
            self.changed = true;
        }
        if status.leader != self.leader {
            self.leader = status.leader;
            self.changed = true;
        }
        if !self.met.is_empty() {
            let known = self.met.len();
            self.met.retain(|_, met| met.heard_at.elapsed() < FORGET_AFTER);
            self.changed |= self.met.len() < known;
        }
        if std::mem::take(&mut self.changed) {
            let wanted = self.wanted();
            self.dialled = wanted.keys().copied().collect();
            self.outgoing.set_peers(&wanted);
        }
    }

    fn wanted(&self) -> BTreeMap<NodeId, Address> {
        let known = self.addresses.all();
        let met = self.met.iter().map(|(id, met)| (*id, met.address.clone()));
        let mut wanted: BTreeMap<NodeId, Address> = met.collect();
        // Who is no member, or not yet, turns to all that it has heard of.
        let outside = !self.membership.contains(self.own);
        for (id, member) in known.iter() {
            // A leader that takes itself out leads until that is committed, for which it needs
            // answers.
            let belongs = self.membership.contains(id)
                || self.followers.contains(&id)
                || self.leader == Some(id);
            if belongs || outside {
                wanted.insert(id, member.peer.clone());
            }
        }
        for id in self.membership.peers_of(self.own).filter(|id| !wanted.contains_key(id)) {
            tracing::warn!(peer = %id, "no address of this member is known yet");
        }
        wanted.remove(&self.own);
        wanted
    }
}
