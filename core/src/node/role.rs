//! The roles of a server (§5.1), each with the data that only it has.

use std::collections::{BTreeMap, VecDeque};

use super::progress::Progress;
use crate::event::RoleName;
use crate::types::{LogIndex, NodeId, RequestId, Time};

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
    /// When it was last heard.
    pub(crate) heard_at: Time,
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
    /// What it knows of each follower.
    pub(crate) progress: BTreeMap<NodeId, Progress>,
    /// The latest heartbeat round that it began.
    pub(crate) round: u64,
    /// The first entry of its term, a no-op (§8).
    pub(crate) first_index: LogIndex,
    /// Reads that wait to be confirmed, in the order in which they came.
    pub(crate) reads: VecDeque<PendingRead>,
}

/// A read on its way to a safe answer (§8).
#[derive(Clone, Debug)]
pub(crate) struct PendingRead {
    pub(crate) request: RequestId,
    /// The first round that began after it came.
    pub(crate) round: u64,
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
