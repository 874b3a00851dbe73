//! Roles, timers, and why something happened or did not.

use serde::{Deserialize, Serialize};

use crate::types::{LogIndex, LogPosition, NodeId};

/// A server's role (§5.1), with the phase before an election apart (dissertation §9.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Follows a leader or waits for one.
    #[default]
    Follower,
    /// Asks whether it could win, without spending a term.
    PreCandidate,
    /// Asks for votes in a new term.
    Candidate,
    /// Replicates its log to all.
    Leader,
}

/// Why a role changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleReason {
    /// Nothing was heard from a leader for an election timeout (§5.2).
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
    /// The disk refused a write.
    DiskFailed,
    /// The leader is not a member any more, and that is committed (dissertation §4.2.2).
    Removed,
    /// A committed command is not one that this release knows.
    UnknownCommand,
    /// Its state differs from the one that a majority has after the same entry.
    StateDiffers,
}

/// Why a term grew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TermReason {
    /// It starts an election.
    Campaign,
    /// It saw the higher term in a message.
    SeenInMessage,
}

/// Which condition of a vote failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoteRefusal {
    /// The candidate's term is behind.
    StaleTerm,
    /// The vote of this term went to another candidate (§5.2).
    AlreadyVoted(NodeId),
    /// The candidate's log is behind (§5.4.1).
    LogBehind {
        /// The end of the voter's log.
        own: LogPosition,
        /// The end of the candidate's log.
        candidate: LogPosition,
    },
    /// A leader was heard from within the minimum election timeout (dissertation §4.2.3).
    LeaderAlive(NodeId),
    /// This server began without the cluster's log: it may have voted before and forgotten it.
    Stranger,
    /// This server has just started and may owe a leader from before that it refuses others
    /// (dissertation §6.4.1).
    JustStarted,
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

/// Why a message ended without being listened to.
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
    /// The receiver refused it, since no correct server sends such a message.
    Refused(MessageRefusal),
}

/// Why a server does not listen to a message: its sender is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageRefusal {
    /// It is for another server, or names no other server as its sender.
    WrongAddress,
    /// It names a term or a log index that no cluster reaches.
    ImpossibleNumber,
    /// It makes no sense by itself: gaps between entries, entries of later terms than its own, a
    /// snapshot of nothing, members without a voter.
    Malformed,
    /// Another server leads the term in which it speaks as the leader.
    SecondLeader,
    /// It gives away an office, or confirms a read, that is another server's.
    NotTheLeader,
    /// It contradicts what is committed here.
    ContradictsCommitted,
    /// It answers what was never asked: for entries that are not there, or for rounds that have not
    /// begun.
    Unasked,
}

/// What allowed the commit index to grow.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitReason {
    /// A majority of voters holds the entry durably, and it is of the leader's term (§5.4.2).
    Majority(Vec<(NodeId, LogIndex)>),
    /// The leader said so (§5.3).
    LeaderCommit,
    /// It was known before the restart.
    Recovered,
    /// A snapshot holds only committed entries (§7).
    Snapshot,
}

/// Why a snapshot was not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotRefusal {
    /// The server's own state is as new or newer (§7).
    NotNewer,
    /// A chunk came that does not continue what was received.
    OutOfSequence,
    /// The chunks do not add up to what was announced.
    Damaged,
    /// Another snapshot is being saved.
    Busy,
}
