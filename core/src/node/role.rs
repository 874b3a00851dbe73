//! The roles of a server (§5.1), each with the data that only it has.

use std::collections::{BTreeMap, VecDeque};

use super::membership::PendingChange;
use super::progress::Progress;
use super::read::{FollowerReads, Lease, PendingRead};
use super::transfer::Transfer;
use crate::event::RoleName;
use crate::types::{LogIndex, NodeId};

/// A server's role and what belongs to it.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    Follower(Follower),
    Candidate(Candidate),
    Leader(Leader),
}

/// Follows a leader or waits for one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Follower {
    /// The leader of the current term, once heard of.
    pub(crate) leader: Option<NodeId>,
    /// Up to here its log equals that of this leader, as the leader's messages have shown. It stays
    /// so: a leader changes nothing in its own log.
    pub(crate) verified: LogIndex,
    /// Its clients' reads, which the leader has to confirm.
    pub(crate) reads: FollowerReads,
}

/// Asks for votes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidate {
    /// Whether it only asks what the votes would be (dissertation §9.6).
    pub(crate) pre: bool,
    /// The answers so far; its own is there once it is durable.
    pub(crate) answers: BTreeMap<NodeId, bool>,
}

/// Replicates its log to all.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    /// What it knows of each follower and learner, and of those who have just left.
    pub(crate) progress: BTreeMap<NodeId, Progress>,
    /// The latest heartbeat round that it began.
    pub(crate) round: u64,
    /// The first entry of its term, a no-op (§8).
    pub(crate) first_index: LogIndex,
    /// Reads that wait to be confirmed, in the order in which they came.
    pub(crate) reads: VecDeque<PendingRead>,
    /// Until when it is sure to be the only leader.
    pub(crate) lease: Lease,
    /// The change of members that it was asked for.
    pub(crate) change: Option<PendingChange>,
    /// Whether there may be a change to go on with: so after an election, and from an appended
    /// configuration until the members are settled.
    pub(crate) reconfiguring: bool,
    /// The hand-over that it works on.
    pub(crate) transfer: Option<Transfer>,
}

impl Role {
    pub(crate) const fn name(&self) -> RoleName {
        match self {
            Self::Follower(_) => RoleName::Follower,
            Self::Candidate(Candidate { pre: true, .. }) => RoleName::PreCandidate,
            Self::Candidate(_) => RoleName::Candidate,
            Self::Leader(_) => RoleName::Leader,
        }
    }
}

impl Leader {
    /// Whether it has committed in its own term, before which it cannot know what is committed
    /// (§8).
    pub(crate) fn knows_commit(&self, commit_index: LogIndex) -> bool {
        commit_index >= self.first_index
    }
}
