//! What can be expected, or waited for.

use std::collections::BTreeSet;

use super::command::MessageQuery;
use super::guarantee::Guarantee;
use crate::event::{RoleName, RoleReason};
use crate::types::{LogIndex, LogPosition, NodeId, Term};

/// Something that is so or is not. What speaks of something that happens looks at the events since
/// the beginning of the step in which it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The opposite.
    Not(Box<Condition>),
    /// The server leads, in this term if one is given.
    Leads(NodeId, Option<Term>),
    /// The server knows this leader, or none.
    Follows(NodeId, Option<NodeId>),
    /// The server has this role.
    Is(NodeId, RoleName),
    /// The server is not running.
    Down(NodeId),
    /// The server's term.
    InTerm(NodeId, Term),
    /// The terms of the entries in the server's log, oldest first.
    Terms(NodeId, Vec<Term>),
    /// The last entry of the server's log.
    EndsAt(NodeId, LogPosition),
    /// The server holds an entry, with this content if one is given.
    Holds(NodeId, LogPosition, Option<String>),
    /// The server's commit index is this, or at least this.
    Commits(NodeId, LogIndex, AtLeast),
    /// The leader knows that another server holds its log up to this index.
    KnowsMatch {
        /// The leader.
        leader: NodeId,
        /// The other.
        peer: NodeId,
        /// How far.
        index: LogIndex,
    },
    /// The server's state has this value for a key; `None` when it has no such key.
    Has(NodeId, String, Option<String>),
    /// The voters of the configuration in force on the server, which is no joint one.
    Voters(NodeId, BTreeSet<NodeId>),
    /// The learners of that configuration.
    Learners(NodeId, BTreeSet<NodeId>),
    /// The configuration in force on the server is a joint one (§6).
    Joint(NodeId),
    /// The server gave its vote.
    Votes {
        /// Who voted.
        voter: NodeId,
        /// For whom.
        candidate: NodeId,
        /// In which term, if that matters.
        term: Option<Term>,
        /// Whether it was only asked what it would do.
        pre: bool,
    },
    /// The server refused its vote.
    Refuses {
        /// Who refused.
        voter: NodeId,
        /// Whom.
        candidate: NodeId,
        /// In which term, if that matters.
        term: Option<Term>,
        /// The condition that failed, if that matters.
        why: Option<Refusal>,
        /// Whether it was only asked what it would do.
        pre: bool,
    },
    /// The server lost the office of leader or the role of candidate.
    StepsDown(NodeId, Option<RoleReason>),
    /// The server was elected in this term.
    Wins(NodeId, Term),
    /// The server removed entries from its log, from this index on if one is given.
    Truncates(NodeId, Option<LogIndex>),
    /// The server took over a snapshot that ends at this index.
    Installs(NodeId, LogIndex),
    /// The server did not take over a snapshot that ends at this index.
    Ignores(NodeId, LogIndex),
    /// A message has arrived.
    Arrived(MessageQuery),
    /// A message is on its way.
    Flying(MessageQuery),
    /// An event of this server has these words in it.
    Event(NodeId, String),
    /// No server leads.
    NoLeader,
    /// The answer to the latest request of these words.
    Answer {
        /// The request as its line had it.
        request: String,
        /// The answer.
        answer: Answer,
    },
    /// The guarantee was broken.
    Violated(Guarantee),
}

/// Whether more than the given number is as good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLeast {
    /// No.
    Exactly,
    /// Yes.
    OrMore,
}

/// Why a vote was refused: [`crate::event::VoteRefusal`] without its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// See there.
    StaleTerm,
    /// See there.
    AlreadyVoted,
    /// See there.
    LogBehind,
    /// See there.
    LeaderAlive,
    /// See there.
    Stranger,
    /// See there.
    JustStarted,
}

/// How a request ended, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// There is none yet.
    Open,
    /// It was carried out.
    Done,
    /// It was not carried out, and that is certain.
    Refused,
    /// It was carried out and found something else than it expected.
    Failed,
    /// Nobody knows whether it was or will be.
    Unknown,
    /// A read returned this; `None` when there is no such key.
    Value(Option<String>),
}
