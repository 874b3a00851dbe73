//! Decides which servers to dial as members and their addresses change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use api::address::Address;
use api::members::Members;
use raft_core::kv::KvStore;
use raft_core::limits::Semantics;
use raft_core::membership::Membership;
use raft_core::message::Message;
use raft_core::replica::Status;
use raft_core::types::NodeId;

use crate::addresses::{Addresses, Book};
use crate::transport::{Outgoing, Version};

/// The maximum number of remembered unknown servers …
const MAX_MET: usize = 16;

/// … and how long they are remembered after their last message.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// The servers that this server connects to, and why.
#[derive(Debug)]
pub struct Peers {
    own: NodeId,
    /// The members from the command line.
    listed: Members,
    addresses: Addresses,
    outgoing: Outgoing,
    book_revision: u64,
    membership: Membership,
    /// The servers that a leader replicates to. More than the members while some are leaving.
    followers: BTreeSet<NodeId>,
    /// The leader, which may be leaving the cluster.
    leader: Option<NodeId>,
    met: BTreeMap<NodeId, Met>,
    dialled: BTreeSet<NodeId>,
    /// Whether any of the above changed since the connections were last updated.
    changed: bool,
}

/// A server that connected although it is not a member, as far as this server knows.
#[derive(Debug)]
struct Met {
    address: Address,
    heard_at: Instant,
}

impl Peers {
    /// Dials no server until the first [`Self::update`].
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

    /// Sends a message if its receiver is dialed.
    pub(super) fn send(&self, message: Message) {
        self.outgoing.send(message);
    }

    /// The newest state machine rules that all these members know. A member without a connection
    /// may run any release.
    pub(super) fn know(&self, members: &Membership) -> Semantics {
        let spoken = self.outgoing.spoken();
        let others = members.peers_of(self.own);
        let known = others.map(|peer| spoken.by(peer).map_or(Semantics::FIRST, Version::semantics));
        known.min().unwrap_or(Semantics::LATEST)
    }

    /// These rules apply from now on: connections of servers that do not know them are refused.
    pub(super) fn require(&self, rules: Semantics) {
        self.outgoing.spoken().require(rules);
    }

    /// Records an unknown server that connected. It may lead under a configuration that this server
    /// does not know yet, so it must be answered (§6).
    pub(super) fn met(&mut self, peer: NodeId, address: Address) {
        let heard_at = Instant::now();
        if self.met.len() >= MAX_MET && !self.met.contains_key(&peer) {
            tracing::warn!(%peer, "too many unknown servers have connected");
            return;
        }
        tracing::info!(%peer, %address, "a server that is not a member has connected");
        self.met.insert(peer, Met { address, heard_at });
        self.changed = true;
    }

    /// Records messages from a server. If it has left or is about to join, it expects answers.
    pub(super) fn heard(&mut self, peer: NodeId) {
        if let Some(met) = self.met.get_mut(&peer) {
            met.heard_at = Instant::now();
        } else if !self.dialled.contains(&peer)
            && let Some(member) = self.addresses.get(peer)
        {
            self.met(peer, member.peer);
        }
    }

    /// Updates the connections to match the members and the address book.
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
        // A server that is not a member, or not yet, dials all servers that it knows.
        let outside = !self.membership.contains(self.own);
        for (id, member) in known.iter() {
            // A leader that removes itself leads until the removal is committed, so it needs
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
