//! The rules that a simulation can break.

use serde::{Deserialize, Serialize};

/// A rule that a simulation can break, to show why it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutation {
    /// A server votes for every candidate that asks (§5.2).
    VoteTwice,
    /// All election timeouts are equal (§5.2).
    FixedTimeouts,
    /// A server sends its vote without making it durable (figure 2).
    ForgetVote,
    /// Half of the voters count as a majority (§5.3).
    HalfIsMajority,
    /// A follower accepts entries without checking the entry before them (§5.3).
    SkipPrevLogCheck,
    /// A follower truncates its log after the entries of each AppendEntries (figure 2, step 3).
    AlwaysTruncate,
    /// A server votes for a candidate with an older log (§5.4.1).
    IgnoreStaleLog,
    /// A leader commits entries of older terms by counting replicas (§5.4.2).
    CommitOldTerms,
    /// A server campaigns without a pre-vote, and voters do not protect an active leader
    /// (dissertation §9.6).
    NoPreVote,
    /// A leader answers reads before a majority confirms its leadership (§8).
    UnconfirmedReads,
    /// A snapshot replaces the state even if it is older (§7).
    AcceptOldSnapshot,
    /// A server acknowledges entries before they are durable (figure 2).
    AcknowledgeEarly,
    /// A leader that hears from no majority does not step down (dissertation §6.2).
    NoCheckQuorum,
    /// A follower commits up to the leader's index without verifying its own entries that far
    /// (§5.3).
    CommitUnverified,
    /// A leader changes the members before it has committed an earlier change, or anything in its
    /// own term (the correction of 2015 to dissertation §4.1).
    EagerReconfiguration,
    /// A leader changes any number of voters in one step, without a joint configuration (§6).
    DirectSwitch,
    /// Learners count toward the quorum (dissertation §4.2.1).
    CountLearners,
    /// A leader's lease ignores clock drift (dissertation §6.4.1).
    TrustClocks,
    /// A leader still reads by its lease after it has told another server to campaign (dissertation
    /// §6.4.1).
    KeepLeaseInTransfer,
    /// A leader answers reads before it has committed in its own term (§8).
    ReadBeforeCommit,
    /// A server that lost its disk votes as if it had promised nothing before (figure 2).
    TrustStrangers,
    /// A retried request of a session is executed again (§8; dissertation §6.3).
    ExecuteRetries,
}

impl Mutation {
    /// All mutations, in the order of their declaration.
    pub const ALL: [Self; 22] = [
        Self::VoteTwice,
        Self::FixedTimeouts,
        Self::ForgetVote,
        Self::HalfIsMajority,
        Self::SkipPrevLogCheck,
        Self::AlwaysTruncate,
        Self::IgnoreStaleLog,
        Self::CommitOldTerms,
        Self::NoPreVote,
        Self::UnconfirmedReads,
        Self::AcceptOldSnapshot,
        Self::AcknowledgeEarly,
        Self::NoCheckQuorum,
        Self::CommitUnverified,
        Self::EagerReconfiguration,
        Self::DirectSwitch,
        Self::CountLearners,
        Self::TrustClocks,
        Self::KeepLeaseInTransfer,
        Self::ReadBeforeCommit,
        Self::TrustStrangers,
        Self::ExecuteRetries,
    ];
}
