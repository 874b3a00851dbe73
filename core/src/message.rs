//! The RPCs of the paper and their replies, which servers exchange.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::log::Entries;
use crate::snapshot::{Cursor, SnapshotMeta};
use crate::types::{EventId, LogIndex, LogPosition, NodeId, Term};

/// One message from one server to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The number of the sender's event that sent the message.
    pub seq: u64,
    /// The sender's current term. A receiver with a lower term adopts it (§5.1).
    pub term: Term,
    /// The content of the message.
    pub body: Body,
}

impl Message {
    /// The ID of the event that sent the message.
    pub const fn id(&self) -> EventId {
        EventId { node: self.from, seq: self.seq }
    }
}

/// The content of a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// Asks whether the receiver would grant a vote, before the sender starts a new term
    /// (dissertation §9.6).
    PreVote {
        /// The term in which the sender would campaign: its own term plus 1.
        next_term: Term,
        /// The last position of the sender's log.
        last_log: LogPosition,
    },
    /// Answers [`Body::PreVote`]; does not bind the voter.
    PreVoteReply {
        /// The term of the request, to ignore late answers to older requests.
        next_term: Term,
        /// Whether the vote would be granted.
        granted: bool,
    },
    /// RequestVote (§5.2): asks for a vote in the sender's term.
    RequestVote {
        /// The last position of the candidate's log.
        last_log: LogPosition,
        /// Whether the leader itself asked for this election. Voters then do not protect the leader
        /// (dissertation §3.10).
        transfer: bool,
    },
    /// Answers [`Body::RequestVote`]; sent only after the vote is durable.
    RequestVoteReply {
        /// Whether the vote was granted.
        granted: bool,
    },
    /// AppendEntries (§5.3); a heartbeat if it has no entries.
    AppendEntries {
        /// The position just before the first entry; the receiver must have it.
        prev_log: LogPosition,
        /// Entries to append after `prev_log`.
        entries: Entries,
        /// The leader's commit index.
        leader_commit: LogIndex,
        /// The leader's heartbeat round; acknowledging it confirms leadership for reads (§8). It is
        /// 0 ([`Body::NO_ROUND`]) in a probe that asks whether all earlier messages have arrived.
        round: u64,
    },
    /// Answers [`Body::AppendEntries`].
    AppendEntriesReply {
        /// The round of the request.
        round: u64,
        /// Whether the logs match at `prev_log`.
        result: AppendResult,
    },
    /// InstallSnapshot (§7): one chunk of a snapshot.
    InstallSnapshot {
        /// The chunk, boxed because it would make every other message as large as itself.
        chunk: Box<SnapshotChunk>,
        /// The leader's heartbeat round.
        round: u64,
    },
    /// Answers [`Body::InstallSnapshot`].
    InstallSnapshotReply {
        /// The last entry of the snapshot that the reply refers to.
        last: LogPosition,
        /// The round of the request.
        round: u64,
        /// The progress of the receiver.
        result: SnapshotProgress,
    },
    /// Tells the receiver to campaign at once, to transfer leadership to it (dissertation §3.10).
    TimeoutNow,
    /// A follower asks which index it must apply before it answers reads (dissertation §6.4).
    ReadIndex {
        /// Identifies the request in its reply.
        question: u64,
    },
    /// Answers [`Body::ReadIndex`] after a majority has confirmed the leader.
    ReadIndexReply {
        /// The `question` of the request.
        question: u64,
        /// The leader's commit index at the time of the request; `None` if the leader could not
        /// tell.
        read_index: Option<LogIndex>,
    },
    /// The digest of the sender's state after an entry. The receiver compares it with its own and
    /// ignores the term of this message.
    StateDigest {
        /// The index of the entry.
        index: LogIndex,
        /// The digest of the state after it.
        digest: u64,
        /// Whether this message answers a digest of the receiver that differed. A reply is not
        /// answered.
        reply: bool,
    },
}

/// The paper's name of a message. An AppendEntries without entries is a `Heartbeat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageName {
    /// Asks for a pre-vote.
    PreVote,
    /// Answers a pre-vote request.
    PreVoteReply,
    /// Asks for a vote.
    RequestVote,
    /// Answers a vote request.
    RequestVoteReply,
    /// AppendEntries with entries.
    AppendEntries,
    /// AppendEntries without entries.
    Heartbeat,
    /// Answers AppendEntries or a heartbeat.
    AppendEntriesReply,
    /// Carries a chunk of a snapshot.
    InstallSnapshot,
    /// Answers a chunk of a snapshot.
    InstallSnapshotReply,
    /// Transfers leadership to the receiver.
    TimeoutNow,
    /// Asks for the read index.
    ReadIndex,
    /// Answers a read index request.
    ReadIndexReply,
    /// Carries the digest of a state for comparison.
    StateDigest,
}

/// A follower's reply to AppendEntries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AppendResult {
    /// The logs match at the previous position.
    Accepted {
        /// The follower's log equals the leader's and is durable up to this index.
        match_index: LogIndex,
    },
    /// The follower does not have the previous position.
    Rejected {
        /// The position that did not match, to recognise late replies.
        prev_log: LogPosition,
        /// The last position of the follower that could match (§5.3, the conflicting term).
        hint: LogPosition,
    },
}

/// The progress of a snapshot's receiver.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SnapshotProgress {
    /// The receiver has everything before this cursor and requests the chunk that starts there.
    Wants(Cursor),
    /// The receiver's durable state already covers the snapshot.
    Installed {
        /// The follower's log is known to equal the leader's up to this index.
        match_index: LogIndex,
    },
}

/// A part of a snapshot: the state of a range of keys (§7).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotChunk {
    /// The snapshot to which the chunk belongs.
    pub meta: SnapshotMeta,
    /// Where the chunk starts.
    pub cursor: Cursor,
    /// The encoded chunk; only the state machine decodes it.
    pub data: Bytes,
    /// Where the next chunk starts; `None` if this is the last.
    pub next: Option<Cursor>,
}

/// The connection between two servers that carries a message.
///
/// Each lane is a separate connection. Heartbeats and votes therefore never wait behind bulk data,
/// neither in a queue nor in the system's send buffer. Messages of one lane keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// AppendEntries with entries, and probes that must not overtake them.
    Log,
    /// Chunks of a snapshot.
    Snapshot,
    /// All other messages: heartbeats, votes, and all replies.
    Control,
}

impl Lane {
    /// All lanes, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Log, Self::Snapshot, Self::Control];

    /// The lane of a message.
    pub const fn of(body: &Body) -> Self {
        match body {
            Body::AppendEntries { entries, round, .. } => {
                if entries.is_empty() && *round != Body::NO_ROUND {
                    Self::Control
                } else {
                    Self::Log
                }
            }
            Body::InstallSnapshot { .. } => Self::Snapshot,
            Body::PreVote { .. }
            | Body::PreVoteReply { .. }
            | Body::RequestVote { .. }
            | Body::RequestVoteReply { .. }
            | Body::AppendEntriesReply { .. }
            | Body::InstallSnapshotReply { .. }
            | Body::TimeoutNow
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::StateDigest { .. } => Self::Control,
        }
    }
}

impl Body {
    /// The round of an AppendEntries that does not confirm leadership. Real rounds start at 1.
    pub const NO_ROUND: u64 = 0;

    /// Whether the message takes priority over bulk data to the same peer.
    pub const fn is_urgent(&self) -> bool {
        matches!(Lane::of(self), Lane::Control)
    }

    /// The kind of the message.
    pub const fn name(&self) -> MessageName {
        match self {
            Self::PreVote { .. } => MessageName::PreVote,
            Self::PreVoteReply { .. } => MessageName::PreVoteReply,
            Self::RequestVote { .. } => MessageName::RequestVote,
            Self::RequestVoteReply { .. } => MessageName::RequestVoteReply,
            Self::AppendEntries { entries, .. } if entries.is_empty() => MessageName::Heartbeat,
            Self::AppendEntries { .. } => MessageName::AppendEntries,
            Self::AppendEntriesReply { .. } => MessageName::AppendEntriesReply,
            Self::InstallSnapshot { .. } => MessageName::InstallSnapshot,
            Self::InstallSnapshotReply { .. } => MessageName::InstallSnapshotReply,
            Self::TimeoutNow => MessageName::TimeoutNow,
            Self::ReadIndex { .. } => MessageName::ReadIndex,
            Self::ReadIndexReply { .. } => MessageName::ReadIndexReply,
            Self::StateDigest { .. } => MessageName::StateDigest,
        }
    }

    /// `None` if the message is not a reply, otherwise whether the reply is positive.
    pub const fn reply(&self) -> Option<bool> {
        match self {
            Self::PreVote { .. }
            | Self::RequestVote { .. }
            | Self::AppendEntries { .. }
            | Self::InstallSnapshot { .. }
            | Self::TimeoutNow
            | Self::ReadIndex { .. }
            | Self::StateDigest { reply: false, .. } => None,
            Self::PreVoteReply { granted, .. } | Self::RequestVoteReply { granted } => {
                Some(*granted)
            }
            Self::AppendEntriesReply { result, .. } => {
                Some(matches!(result, AppendResult::Accepted { .. }))
            }
            Self::InstallSnapshotReply { .. } => Some(true),
            // A server replies only to a digest that differs.
            Self::StateDigest { reply: true, .. } => Some(false),
            Self::ReadIndexReply { read_index, .. } => Some(read_index.is_some()),
        }
    }
}
