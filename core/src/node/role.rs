//! The roles of a server (§5.1), each with the data that only it has.

use std::collections::{BTreeMap, VecDeque};

use super::membership::PendingChange;
use super::progress::Progress;
use super::read::{FollowerReads, Lease, PendingRead};
use super::transfer::Transfer;
use crate::event::RoleName;
use crate::types::{LogIndex, NodeId};

/// A server's role and its data.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    Follower(Follower),
    Candidate(Candidate),
    Leader(Leader),
}

/// Follows a leader or waits for a leader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Follower {
    /// The leader of the current term, once known.
    pub(crate) leader: Option<NodeId>,
    /// Up to here the log equals this leader's log, as its messages have shown. That stays true: a
    /// leader never changes existing entries of its own log.
    pub(crate) verified: LogIndex,
    /// Reads of its clients, which the leader must confirm.
    pub(crate) reads: FollowerReads,
}

/// Asks for votes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidate {
    /// Whether it only asks for pre-votes (dissertation §9.6).
    pub(crate) pre: bool,
    /// The answers so far. Its own vote is added once it is durable.
    pub(crate) answers: BTreeMap<NodeId, bool>,
}

/// Replicates its log to all members.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    /// What it knows about each follower and learner, and about servers that have just left.
    pub(crate) progress: BTreeMap<NodeId, Progress>,
    /// The latest heartbeat round that it began.
    pub(crate) round: u64,
    /// The index of the first entry of its term, a no-op (§8).
    pub(crate) first_index: LogIndex,
    /// Reads that wait for confirmation, in order of arrival.
    pub(crate) reads: VecDeque<PendingRead>,
    /// How long it is certain to be the only leader.
    pub(crate) lease: Lease,
    /// The pending change of members.
    pub(crate) change: Option<PendingChange>,
    /// Whether a change of members may be pending: after an election, and from an appended
    /// configuration until the members are settled.
    pub(crate) reconfiguring: bool,
    /// The leadership transfer in progress.
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
    /// Whether it has committed an entry of its own term. Before that it cannot know what is
    /// committed (§8).
    pub(crate) fn knows_commit(&self, commit_index: LogIndex) -> bool {
        commit_index >= self.first_index
    }
}
