//! The conditions of `expect` and `wait until`.

use std::collections::BTreeSet;

use super::command::MessageQuery;
use super::guarantee::Guarantee;
use crate::event::{RoleName, RoleReason};
use crate::types::{LogIndex, LogPosition, NodeId, Term};

/// A condition that holds or does not. A condition on events looks at the events since the
/// beginning of its step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The inner condition does not hold.
    Not(Box<Condition>),
    /// The server leads, in this term if one is given.
    Leads(NodeId, Option<Term>),
    /// The server is a follower and knows this leader, or none.
    Follows(NodeId, Option<NodeId>),
    /// The server has this role.
    Is(NodeId, RoleName),
    /// The server is not running.
    Down(NodeId),
    /// The server is in this term.
    InTerm(NodeId, Term),
    /// The entries in the server's log have these terms, oldest first.
    Terms(NodeId, Vec<Term>),
    /// The server's log ends with this entry.
    EndsAt(NodeId, LogPosition),
    /// The server's log holds an entry, with this content if one is given.
    Holds(NodeId, LogPosition, Option<String>),
    /// The server's commit index is equal to this index, or at least this index.
    Commits(NodeId, LogIndex, AtLeast),
    /// The leader knows that a peer holds its log up to this index.
    KnowsMatch {
        /// The leader.
        leader: NodeId,
        /// The peer.
        peer: NodeId,
        /// The index.
        index: LogIndex,
    },
    /// The server's state has this value for a key; `None` means that it has no such key.
    Has(NodeId, String, Option<String>),
    /// The configuration in force on the server is not joint and has these voters.
    Voters(NodeId, BTreeSet<NodeId>),
    /// The configuration in force on the server has these learners.
    Learners(NodeId, BTreeSet<NodeId>),
    /// The configuration in force on the server is joint (§6).
    Joint(NodeId),
    /// The server granted a vote.
    Votes {
        /// The voter.
        voter: NodeId,
        /// The candidate.
        candidate: NodeId,
        /// The term, if it matters.
        term: Option<Term>,
        /// Whether it was a PreVote.
        pre: bool,
    },
    /// The server refused a vote.
    Refuses {
        /// The voter.
        voter: NodeId,
        /// The candidate.
        candidate: NodeId,
        /// The term, if it matters.
        term: Option<Term>,
        /// The reason for the refusal, if it matters.
        why: Option<Refusal>,
        /// Whether it was a PreVote.
        pre: bool,
    },
    /// The server became a follower, for this reason if one is given.
    StepsDown(NodeId, Option<RoleReason>),
    /// The server won the election of this term.
    Wins(NodeId, Term),
    /// The server truncated its log, from this index on if one is given.
    Truncates(NodeId, Option<LogIndex>),
    /// The server installed a snapshot that ends at this index.
    Installs(NodeId, LogIndex),
    /// The server ignored a snapshot that ends at this index.
    Ignores(NodeId, LogIndex),
    /// A message arrived.
    Arrived(MessageQuery),
    /// A message is in transit.
    Flying(MessageQuery),
    /// The text of an event of this server contains these words.
    Event(NodeId, String),
    /// No server leads.
    NoLeader,
    /// The latest request with these words has this answer.
    Answer {
        /// The request as written in its line.
        request: String,
        /// The answer.
        answer: Reply,
    },
    /// The guarantee was violated.
    Violated(Guarantee),
}

/// Whether a larger number also satisfies the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLeast {
    /// The number must be equal.
    Exactly,
    /// The number may be larger.
    OrMore,
}

/// Why a vote was refused: [`crate::rules::VoteRefusal`] without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The candidate's term is behind.
    StaleTerm,
    /// The vote of this term went to another candidate.
    AlreadyVoted,
    /// The candidate's log is behind.
    LogBehind,
    /// The voter heard from a leader recently.
    LeaderAlive,
    /// The voter started without the cluster's log.
    Stranger,
    /// The voter has just started.
    JustStarted,
}

/// How a request ended, from the client's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// There is no answer yet.
    Open,
    /// The request was carried out.
    Done,
    /// The request was certainly not carried out.
    Refused,
    /// The request was carried out, but its comparison failed.
    Failed,
    /// It is unknown whether the request takes effect.
    Unknown,
    /// A read returned this value; `None` if the key does not exist.
    Value(Option<String>),
}
