//! Client requests and their outcomes.

use serde::{Deserialize, Serialize};

use crate::membership::{ChangeRefusal, Membership, MembershipChange};
use crate::types::{LogIndex, LogPosition, NodeId};

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// A write, as an encoded [`crate::kv::Command`].
    Write(#[serde(with = "crate::kv::readable")] bytes::Bytes),
    /// A linearizable read.
    Read,
    /// A change of members.
    ChangeMembership(MembershipChange),
    /// A leadership transfer to the given server, or to any server.
    TransferLeadership(Option<NodeId>),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The command is committed and applied.
    Applied {
        /// Its position in the log.
        position: LogPosition,
        /// What the command did.
        applied: crate::kv::Applied,
    },
    /// The client may now read the server's state: it holds all that was committed when the read
    /// arrived.
    ReadReady {
        /// The commit index at that time.
        read_index: LogIndex,
    },
    /// The command is committed, but this release does not know it. It changed nothing.
    Malformed,
    /// Nothing happened, because this server is not the leader.
    NotLeader {
        /// The leader that this server knows of.
        leader: Option<NodeId>,
    },
    /// The server lost leadership before the command was committed. The command may still be
    /// committed, or never. For a read: it was not confirmed in time.
    Unknown,
    /// Nothing happened: the server has stopped and accepts no requests.
    Halted,
    /// The change of members is complete and committed.
    MembershipChanged {
        /// The log index of the last configuration.
        index: LogIndex,
        /// The members now.
        membership: Box<Membership>,
    },
    /// The leadership transfer is complete, and the requested server leads.
    Transferred {
        /// The new leader.
        to: NodeId,
    },
    /// Nothing happened, or the change was undone.
    Refused(RequestRefusal),
}

/// Why a leader refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestRefusal {
    /// The change of members is not possible.
    Membership(ChangeRefusal),
    /// The server that should lead is not a voter.
    NotAVoter,
    /// The server that should lead is already the leader.
    AlreadyLeads,
    /// A leadership transfer is in progress.
    TransferInProgress,
    /// The server that should lead did not take over within an election timeout, or another server
    /// did.
    TransferTimedOut,
}
