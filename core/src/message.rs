//! The RPCs of the paper and their replies, as they travel between servers.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::log::Entries;
use crate::membership::Membership;
use crate::types::{EventId, LogIndex, LogPosition, NodeId, Term};

/// One message from one server to another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The number of the sender's event that sent it.
    pub seq: u64,
    /// The sender's current term. A receiver that knows a lower one adopts it (§5.1).
    pub term: Term,
    /// What it says.
    pub body: Body,
}

impl Message {
    /// Names the message by the event that sent it.
    pub const fn id(&self) -> EventId {
        EventId { node: self.from, seq: self.seq }
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Body {
    /// "Would you vote for me?": asked before a term is spent on an election (dissertation §9.6).
    PreVote {
        /// The term that the sender would campaign in, one above its own.
        next_term: Term,
        /// The end of the sender's log.
        last_log: LogPosition,
    },
    /// Answers [`Body::PreVote`]; binds nobody.
    PreVoteReply {
        /// The term asked about, so that a late answer to an older question is not counted.
        next_term: Term,
        /// Whether the vote would be granted.
        granted: bool,
    },
    /// RequestVote (§5.2): "vote for me in my term".
    RequestVote {
        /// The end of the candidate's log.
        last_log: LogPosition,
        /// Whether the leader itself asked for this election, so that voters need not protect it
        /// (dissertation §3.10).
        transfer: bool,
    },
    /// Answers [`Body::RequestVote`]; sent only once the vote is durable.
    RequestVoteReply {
        /// Whether the vote was granted.
        granted: bool,
    },
    /// AppendEntries (§5.3); without entries a heartbeat.
    AppendEntries {
        /// The position just before the first entry; the receiver must hold it.
        prev_log: LogPosition,
        /// Entries to store, following `prev_log`.
        entries: Entries,
        /// The leader's commit index.
        leader_commit: LogIndex,
        /// The leader's heartbeat round; acknowledging it confirms leadership for reads (§8). 0
        /// ([`Body::NO_ROUND`]) in a question whether all that was sent before has arrived.
        round: u64,
    },
    /// Answers [`Body::AppendEntries`].
    AppendEntriesReply {
        /// The round of the request.
        round: u64,
        /// Whether the logs agree.
        result: AppendResult,
    },
    /// InstallSnapshot (§7): one chunk of the state at `meta`.
    InstallSnapshot {
        /// The chunk; in a box, for it would make every other message as large as itself.
        chunk: Box<SnapshotChunk>,
        /// The leader's heartbeat round.
        round: u64,
    },
    /// Answers [`Body::InstallSnapshot`].
    InstallSnapshotReply {
        /// The snapshot that the answer is about.
        last: LogPosition,
        /// The round of the request.
        round: u64,
        /// How far the receiver is.
        result: SnapshotProgress,
    },
    /// "Campaign at once": the leader hands over its office (dissertation §3.10).
    TimeoutNow,
    /// A follower asks up to where it must have applied to answer reads (dissertation §6.4).
    ReadIndex {
        /// Names the question in its answer.
        question: u64,
    },
    /// Answers [`Body::ReadIndex`], once a majority has confirmed the leader.
    ReadIndexReply {
        /// Which question.
        question: u64,
        /// The leader's commit index when it was asked; `None` when it could not tell.
        read_index: Option<LogIndex>,
    },
    /// The digest of the sender's state after an entry, for the receiver to compare with its own.
    /// It concerns the state alone: the term of such a message is not looked at.
    StateDigest {
        /// The entry.
        index: LogIndex,
        /// The digest of the state after it.
        digest: u64,
        /// Whether it answers a digest of the receiver that differed. An answer is not answered.
        reply: bool,
    },
}

/// The name that the paper gives a message, with `Heartbeat` for an AppendEntries without entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageName {
    /// A question before an election.
    PreVote,
    /// Its answer.
    PreVoteReply,
    /// A request for a vote.
    RequestVote,
    /// Its answer.
    RequestVoteReply,
    /// Entries to store.
    AppendEntries,
    /// AppendEntries without entries.
    Heartbeat,
    /// The answer to either.
    AppendEntriesReply,
    /// A chunk of a snapshot.
    InstallSnapshot,
    /// Its answer.
    InstallSnapshotReply,
    /// A hand-over of leadership.
    TimeoutNow,
    /// A follower's question for its reads.
    ReadIndex,
    /// Its answer.
    ReadIndexReply,
    /// The digest of a state, for comparison.
    StateDigest,
}

/// A follower's answer to AppendEntries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AppendResult {
    /// The logs agree.
    Accepted {
        /// Up to here the follower's log equals the leader's and is durable.
        match_index: LogIndex,
    },
    /// The follower does not hold the previous position.
    Rejected {
        /// The position that did not match, so that a late answer is recognised.
        prev_log: LogPosition,
        /// The last position of the follower that could match (§5.3, conflict back-up).
        hint: LogPosition,
    },
}

/// How far the receiver of a snapshot is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SnapshotProgress {
    /// It has all before this cursor and wants the chunk that starts there.
    Wants(Cursor),
    /// Its state already covers the snapshot, durably.
    Installed {
        /// Up to here the follower's log is known to equal the leader's.
        match_index: LogIndex,
    },
}

/// A place in a snapshot's key order from which a transfer can go on, also after a break and from
/// another leader; only the state machine reads it. Empty at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor(#[serde(with = "crate::codec::text_or_bytes")] pub Bytes);

impl Cursor {
    /// A place at which no chunk starts. An empty chunk there asks a receiver how far it is: it
    /// answers a chunk that does not fit with the cursor that it wants.
    pub const NOWHERE: Self = Self(Bytes::from_static(b"?"));
}

/// A part of a snapshot: the state of a range of keys (§7).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotChunk {
    /// Which state it is part of.
    pub meta: SnapshotMeta,
    /// Where the chunk starts.
    pub cursor: Cursor,
    /// The encoded chunk; only the state machine looks inside.
    pub data: Bytes,
    /// Where the next chunk starts; `None` when this is the last.
    pub next: Option<Cursor>,
}

/// What a snapshot stands for (§7).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry whose effect is in it.
    pub last: LogPosition,
    /// The membership in force at that entry.
    pub membership: Membership,
}

/// The connection between two servers that carries a message.
///
/// What keeps a leader in office never waits behind bulk, neither in a queue nor in the system's
/// send buffer: each lane is a connection of its own. Messages of one lane keep their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Lane {
    /// AppendEntries with entries, and questions that must not overtake them.
    Log,
    /// Chunks of a snapshot.
    Snapshot,
    /// Everything else: heartbeats, votes, and all answers.
    Control,
}

impl Lane {
    /// All of them, by their numbers.
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
    /// The round of an AppendEntries that confirms nothing: rounds count from 1.
    pub const NO_ROUND: u64 = 0;

    /// Whether the message goes ahead of bulk on its way to a peer.
    pub const fn is_urgent(&self) -> bool {
        matches!(Lane::of(self), Lane::Control)
    }

    /// Which kind it is.
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

    /// Whether it answers another message, and if so whether it agrees.
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
            // Only a digest that differs is answered.
            Self::StateDigest { reply: true, .. } => Some(false),
            Self::ReadIndexReply { read_index, .. } => Some(read_index.is_some()),
        }
    }
}
