//! What clients ask and how it ends.

use serde::{Deserialize, Serialize};

use crate::membership::{ChangeRefusal, Membership, MembershipChange};
use crate::types::{LogIndex, LogPosition, NodeId};

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A change, as an encoded [`crate::kv::Command`].
    Write(#[serde(with = "crate::kv::readable")] bytes::Bytes),
    /// A linearizable read.
    Read,
    /// Other members.
    ChangeMembership(MembershipChange),
    /// Another leader: this one, or any.
    TransferLeadership(Option<NodeId>),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The command is committed and applied.
    Applied {
        /// Where it stands in the log.
        position: LogPosition,
        /// What it did.
        applied: crate::kv::Applied,
    },
    /// The server's state may now be read: it holds all that was committed when the read came.
    ReadReady {
        /// The commit index at that time.
        read_index: LogIndex,
    },
    /// The command is committed but is not one that this version knows; it changed nothing.
    Malformed,
    /// Nothing happened, since this server does not lead; perhaps the hint does.
    NotLeader {
        /// The leader that this server knows of.
        leader: Option<NodeId>,
    },
    /// Leadership was lost before the command committed. It may commit yet, or never. For a read: it
    /// was not confirmed in time.
    Unknown,
    /// Nothing happened: the server's disk failed and it takes no more requests.
    Halted,
    /// The change of members is complete and committed.
    MembershipChanged {
        /// Where the last configuration stands in the log.
        index: LogIndex,
        /// The members now.
        membership: Box<Membership>,
    },
    /// The leader has handed over its office, and the server that was wanted leads.
    Transferred {
        /// The new leader.
        to: NodeId,
    },
    /// Nothing happened, or nothing of it remains.
    Refused(RequestRefusal),
}

/// Why a leader did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestRefusal {
    /// The members cannot be changed so.
    Membership(ChangeRefusal),
    /// The server that should lead does not vote.
    NotAVoter,
    /// The server that should lead does so already.
    AlreadyLeads,
    /// A hand-over is under way.
    TransferInProgress,
    /// The server that should lead did not take over within an election timeout, or another did.
    TransferTimedOut,
}
