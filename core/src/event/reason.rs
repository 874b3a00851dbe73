//! Roles, timers, and the reasons for events.

use serde::{Deserialize, Serialize};

use crate::types::{LogIndex, NodeId};

/// A server's role (§5.1). The pre-vote phase is a role of its own (dissertation §9.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Follows a leader or waits for a leader.
    #[default]
    Follower,
    /// Asks whether it could win an election, without a new term.
    PreCandidate,
    /// Asks for votes in a new term.
    Candidate,
    /// Replicates its log to all members.
    Leader,
}

/// Why a role changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleReason {
    /// The server heard from no leader for an election timeout (§5.2).
    ElectionTimeout,
    /// The leader asked it to campaign (dissertation §3.10).
    TransferAsked,
    /// A majority would vote for it (dissertation §9.6).
    PreVotesWon,
    /// A majority voted for it (§5.2).
    VotesWon,
    /// A majority refused it.
    VotesLost,
    /// A message carried a higher term (§5.1).
    HigherTerm,
    /// Another server leads this term (§5.2).
    LeaderHeard,
    /// A leader heard from no majority for an election timeout (dissertation §6.2).
    QuorumLost,
    /// A leader's own disk did not finish a write within an election timeout.
    DiskStalled,
    /// The disk failed to write a batch.
    DiskFailed,
    /// The leader is no longer a voter, and that change is committed (dissertation §4.2.2).
    Removed,
    /// This release does not know a committed command.
    UnknownCommand,
    /// Its state differs from that of a majority after the same entry.
    StateDiffers,
}

/// Why a term increased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TermReason {
    /// The server starts an election.
    Campaign,
    /// The server saw the higher term in a message.
    SeenInMessage,
}

/// The timers of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// Followers and candidates: an election starts when it fires.
    Election,
    /// Leaders: heartbeats are sent when it fires.
    Heartbeat,
}

/// Why a message was not processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// The link is cut.
    LinkCut,
    /// The network lost it.
    Lost,
    /// The receiver is down.
    ReceiverDown,
    /// The queue to the receiver is full.
    QueueFull,
    /// The receiver refused it, because no correct server sends such a message.
    Refused(MessageRefusal),
}

/// Why a server refuses a message: its sender is faulty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageRefusal {
    /// It is addressed to another server, or its sender is not another server.
    WrongAddress,
    /// It contains a term or a log index that no cluster reaches.
    ImpossibleNumber,
    /// It is invalid by itself: gaps between entries, entries of later terms than its own, a
    /// snapshot at index 0, or members without a voter.
    Malformed,
    /// Its sender acts as the leader, but another server leads this term.
    SecondLeader,
    /// It transfers leadership or confirms a read, but another server leads this term.
    NotTheLeader,
    /// It contradicts entries that are committed here.
    ContradictsCommitted,
    /// It answers a message that was never sent: it names missing entries or rounds that have not
    /// begun.
    Unasked,
}

/// Why the commit index increased.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitReason {
    /// A majority of voters holds the entry durably, and the entry is of the leader's term
    /// (§5.4.2).
    Majority(Vec<(NodeId, LogIndex)>),
    /// The leader sent its commit index (§5.3).
    LeaderCommit,
    /// The commit index was known before the restart.
    Recovered,
    /// A snapshot holds only committed entries (§7).
    Snapshot,
}

/// Why a server did not install a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotRefusal {
    /// The server's own state is at least as new (§7).
    NotNewer,
    /// A chunk does not continue the received chunks.
    OutOfSequence,
    /// The chunks do not form the announced state.
    Damaged,
    /// The server is saving another snapshot.
    Busy,
}
