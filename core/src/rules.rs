//! Every decision of the protocol, each a small predicate that cites its section.
//!
//! This is the only module that knows of a [`Mutation`]: one rule switched wrong, so that a
//! simulation can show which property depends on it. Production code cannot switch one on: without
//! the feature `sim` there is nothing to switch.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::event::VoteRefusal;
use crate::membership::{ChangeRefusal, Membership};
use crate::types::{LogIndex, LogPosition, Micros, NodeId, Term, Time};

/// A rule that can be broken, to see what it was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutation {
    /// A server votes for every candidate that asks (§5.2).
    VoteTwice,
    /// All election timeouts are equal (§5.2).
    FixedTimeouts,
    /// A vote is said before it is durable, and is not written at all (figure 2).
    ForgetVote,
    /// Half of the voters count as a majority (§5.3).
    HalfIsMajority,
    /// Entries are accepted whatever comes before them (§5.3).
    SkipPrevLogCheck,
    /// A follower cuts its log after the entries of each AppendEntries (figure 2, step 3).
    AlwaysTruncate,
    /// A vote is granted to a candidate with an older log (§5.4.1).
    IgnoreStaleLog,
    /// Entries of older terms are committed by counting replicas (§5.4.2).
    CommitOldTerms,
    /// An election starts without asking first whether it could be won (dissertation §9.6).
    NoPreVote,
    /// A leader answers reads without asking a majority whether it still leads (§8).
    UnconfirmedReads,
    /// A snapshot replaces whatever state there is (§7).
    AcceptOldSnapshot,
    /// Entries are acknowledged before they are durable (figure 2).
    AcknowledgeEarly,
    /// A leader that hears from no majority stays in office (dissertation §6.2).
    NoCheckQuorum,
    /// A follower commits up to the leader's index though it has not verified its own entries
    /// that far (§5.3).
    CommitUnverified,
    /// A leader changes the members before it has committed in its own term (the correction of 2015
    /// to dissertation §4.1).
    EagerReconfiguration,
    /// Any change of members is made in one step, without a joint configuration (§6).
    DirectSwitch,
    /// Learners count like voters (dissertation §4.2.1).
    CountLearners,
    /// A leader's lease lasts as long as if all clocks ran at the same rate (dissertation §6.4.1).
    TrustClocks,
    /// A leader reads by its lease though it has told another server to campaign (dissertation
    /// §6.4.1).
    KeepLeaseInTransfer,
    /// A leader answers reads before it has committed in its own term (§8).
    ReadBeforeCommit,
    /// A server that lost its disk goes on voting as if it had never promised anything (figure 2).
    TrustStrangers,
    /// A request that is sent again in a session is carried out again (§8; dissertation §6.3).
    ExecuteRetries,
}

impl Mutation {
    /// All of them, in the order in which they are declared.
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

/// The highest term that is believed whatever the own term is: a thousand elections a second for 34
/// years.
pub const TERM_HORIZON: Term = Term(1 << 40);

/// Above [`TERM_HORIZON`] a message may be ahead of the own term by so much at most.
pub const TERM_STEP: u64 = 1 << 20;

/// The highest log index that is believed: a million entries a second for 2,000 years.
pub const INDEX_HORIZON: LogIndex = LogIndex(1 << 56);

/// The rules in force: all of them, but for the one that a simulation may break.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    #[cfg(feature = "sim")]
    broken: Option<Mutation>,
}

/// What a voter knows when a candidate asks.
#[derive(Clone, Copy, Debug)]
pub struct VoteRequest {
    /// Who asks.
    pub candidate: NodeId,
    /// The term of the election that it wants to win.
    pub term: Term,
    /// The end of its log.
    pub last_log: LogPosition,
    /// Whether it only asks what the answer would be.
    pub pre: bool,
}

/// The voter's side of the same.
#[derive(Clone, Copy, Debug)]
pub struct Voter {
    /// Its term.
    pub current_term: Term,
    /// Its vote in that term.
    pub voted_for: Option<NodeId>,
    /// The end of its log.
    pub last_log: LogPosition,
    /// Whether it began without the cluster's log and was not made a voter since.
    pub stranger: bool,
}

impl Rules {
    /// All rules but one.
    #[cfg(feature = "sim")]
    pub const fn breaking(broken: Option<Mutation>) -> Self {
        Self { broken }
    }

    /// Whether the rule that `mutation` breaks is in force.
    #[cfg(feature = "sim")]
    fn keeps(self, mutation: Mutation) -> bool {
        self.broken != Some(mutation)
    }

    /// Whether the rule that `mutation` breaks is in force: always.
    #[cfg(not(feature = "sim"))]
    #[expect(clippy::unused_self, reason = "the same call as with the feature `sim`")]
    const fn keeps(self, _: Mutation) -> bool {
        true
    }

    /// Whether no rule is broken on purpose.
    #[cfg(feature = "sim")]
    pub(crate) const fn all_in_force(self) -> bool {
        self.broken.is_none()
    }

    /// Whether no rule is broken on purpose: always.
    #[cfg(not(feature = "sim"))]
    #[expect(clippy::unused_self, reason = "the same call as with the feature `sim`")]
    pub(crate) const fn all_in_force(self) -> bool {
        true
    }

    /// Panics when `holds` is false while every rule is in force: then it is a bug. With a rule
    /// broken on purpose it is what the simulation wants to show.
    #[track_caller]
    pub fn assert(self, holds: bool, what: &str) {
        assert!(holds || !self.all_in_force(), "{what}");
    }

    // Peers

    /// Whether a server in term `current` believes a message that speaks of `term`. A cluster does
    /// not get past [`TERM_HORIZON`] by itself. One that a broken peer took there goes on from there
    /// in small steps, so that no peer can use up the terms.
    pub fn believes_term(self, term: Term, current: Term) -> bool {
        term <= TERM_HORIZON || term.0.saturating_sub(current.0) <= TERM_STEP
    }

    /// Whether a log can be so long.
    pub fn believes_index(self, index: LogIndex) -> bool {
        index <= INDEX_HORIZON
    }

    // Elections

    /// How long to wait for word from a leader; `drawn` is random between the two bounds (§5.2).
    pub fn election_timeout(self, drawn: Micros, minimum: Micros) -> Micros {
        if self.keeps(Mutation::FixedTimeouts) { drawn } else { minimum }
    }

    /// Whether a server asks what others would vote before it spends a term (dissertation §9.6).
    pub fn asks_before_campaign(self) -> bool {
        self.keeps(Mutation::NoPreVote)
    }

    /// Whether a server refuses every candidate unheard, whatever its term: while it leads, or owes a
    /// leader that it has just heard (dissertation §4.2.3). A server that was cut off cannot depose a
    /// leader that works. So it does while it may still owe a promise from before its restart.
    pub fn refuse_unheard(
        self,
        live_leader: Option<NodeId>,
        promised: bool,
    ) -> Option<VoteRefusal> {
        live_leader
            .map(VoteRefusal::LeaderAlive)
            .or(promised.then_some(VoteRefusal::JustStarted))
            .filter(|_| self.keeps(Mutation::NoPreVote))
    }

    /// Whether a server votes for a candidate: its term is current, the vote of that term is still
    /// free (§5.2), and its log is at least as up to date (§5.4.1).
    pub fn grant_vote(self, voter: &Voter, request: &VoteRequest) -> Result<(), VoteRefusal> {
        if request.term < voter.current_term || (request.pre && request.term == voter.current_term)
        {
            return Err(VoteRefusal::StaleTerm);
        }
        if voter.stranger && self.keeps(Mutation::TrustStrangers) {
            return Err(VoteRefusal::Stranger);
        }
        if !request.pre && self.keeps(Mutation::VoteTwice) {
            let elsewhere = voter.voted_for.filter(|chosen| *chosen != request.candidate);
            if let Some(chosen) = elsewhere {
                return Err(VoteRefusal::AlreadyVoted(chosen));
            }
        }
        if !self.is_up_to_date(request.last_log, voter.last_log) {
            let (own, candidate) = (voter.last_log, request.last_log);
            return Err(VoteRefusal::LogBehind { own, candidate });
        }
        Ok(())
    }

    /// Whether a log that ends at `candidate` is at least as up to date as one that ends at `own`:
    /// the later last term wins, then the longer log (§5.4.1).
    fn is_up_to_date(self, candidate: LogPosition, own: LogPosition) -> bool {
        candidate >= own || !self.keeps(Mutation::IgnoreStaleLog)
    }

    /// Whether a server whose election timer ran out stays quiet: where leases are in use its own vote
    /// must not break its promise either. The timer is never shorter, unless it was set by hand.
    pub fn keeps_quiet(self, lease_reads: bool, promised: bool) -> bool {
        lease_reads && promised
    }

    /// Whether a server remembers its vote over a crash (figure 2, persistent state).
    pub fn vote_is_durable(self) -> bool {
        self.keeps(Mutation::ForgetVote)
    }

    /// How many of these voters make a majority (§5.2).
    fn majority_of(self, voters: &BTreeSet<NodeId>) -> usize {
        if self.keeps(Mutation::HalfIsMajority) {
            Membership::majority_of(voters)
        } else {
            voters.len() / 2
        }
    }

    /// The sets of voters of which each must agree by majority: one, or two during a joint
    /// configuration (§6).
    fn electorates(
        self,
        membership: &Membership,
    ) -> impl Iterator<Item = Cow<'_, BTreeSet<NodeId>>> {
        let voters = if self.keeps(Mutation::CountLearners) {
            Cow::Borrowed(&membership.voters)
        } else {
            Cow::Owned(membership.voters.union(&membership.learners).copied().collect())
        };
        let outgoing = membership.is_joint().then_some(Cow::Borrowed(&membership.outgoing));
        std::iter::once(voters).chain(outgoing)
    }

    /// Whether those who agree are a majority, of both sets of voters where there are two (§6).
    pub fn has_majority(self, membership: &Membership, agrees: impl Fn(NodeId) -> bool) -> bool {
        self.electorates(membership).all(|voters| {
            voters.iter().filter(|voter| agrees(**voter)).count() >= self.majority_of(&voters)
        })
    }

    /// Whether so many disagree that there can be no majority any more.
    pub fn is_blocked(self, membership: &Membership, disagrees: impl Fn(NodeId) -> bool) -> bool {
        self.electorates(membership).any(|voters| {
            let left = voters.iter().filter(|voter| !disagrees(**voter)).count();
            left < self.majority_of(&voters)
        })
    }

    /// How many agree and how many must, in the set of voters where more are missing.
    pub fn tally(self, membership: &Membership, agrees: impl Fn(NodeId) -> bool) -> (u64, u64) {
        let counts = self.electorates(membership).map(|voters| {
            let agreeing = voters.iter().filter(|voter| agrees(**voter)).count() as u64;
            (agreeing, self.majority_of(&voters) as u64)
        });
        counts.max_by_key(|(agreeing, needed)| needed.saturating_sub(*agreeing)).unwrap_or_default()
    }

    /// The highest value that a majority of voters has reached, given each voter's own; in a joint
    /// configuration a majority of both sets (§6).
    ///
    /// Match indexes give the commit index (§5.3), acknowledged rounds the confirmed one (§8),
    /// times of contact the time since when a majority was not heard (dissertation §6.2).
    pub fn majority_value<T: Ord + Default + Copy>(
        self,
        membership: &Membership,
        value_of: impl Fn(NodeId) -> T,
    ) -> T {
        let reached = self.electorates(membership).map(|voters| {
            // On the stack where a cluster has no more voters than any should have: this runs for
            // every acknowledgement.
            let mut few = [T::default(); 9];
            let mut many = Vec::new();
            let values = if let Some(values) = few.get_mut(..voters.len()) {
                values
            } else {
                many.resize(voters.len(), T::default());
                &mut many[..]
            };
            for (value, voter) in values.iter_mut().zip(voters.iter()) {
                *value = value_of(*voter);
            }
            values.sort_unstable_by(|a, b| b.cmp(a));
            let rank = self.majority_of(&voters).max(1) - 1;
            values.get(rank).copied().unwrap_or_default()
        });
        reached.min().unwrap_or_default()
    }

    // Replication

    /// Whether a follower stores entries that follow `prev_log`, given the term that it holds
    /// there (§5.3).
    pub fn accept_entries(self, prev_log: LogPosition, term_here: Option<Term>) -> bool {
        term_here == Some(prev_log.term) || !self.keeps(Mutation::SkipPrevLogCheck)
    }

    /// Whether a follower removes its own entries from the first one that the leader's message
    /// does not confirm: only where the terms differ (figure 2, AppendEntries step 3).
    pub fn truncate_without_conflict(self) -> bool {
        !self.keeps(Mutation::AlwaysTruncate)
    }

    /// How far a follower commits: as the leader says, but not past what this message has shown
    /// to equal the leader's log (§5.3).
    pub fn follower_commit(
        self,
        leader_commit: LogIndex,
        verified: LogIndex,
        last: LogIndex,
    ) -> LogIndex {
        let bound = if self.keeps(Mutation::CommitUnverified) { verified } else { last };
        leader_commit.min(bound)
    }

    /// Whether a leader may commit up to an entry that a majority holds: only when it is of its
    /// own term (§5.4.2).
    pub fn may_commit(self, entry_term: Option<Term>, current_term: Term) -> bool {
        entry_term == Some(current_term) || !self.keeps(Mutation::CommitOldTerms)
    }

    /// Whether an acknowledgement waits until the entries are durable (figure 2).
    pub fn acknowledges_durable_only(self) -> bool {
        self.keeps(Mutation::AcknowledgeEarly)
    }

    // Leadership

    /// Whether a leader steps down: no majority answered since `heard`, an election timeout or
    /// longer ago (dissertation §6.2).
    pub fn lost_quorum(self, heard: Time, now: Time, timeout: Micros) -> bool {
        now.since(heard) >= timeout && self.keeps(Mutation::NoCheckQuorum)
    }

    /// Whether a leader steps down since its own disk has not finished a write that it started at
    /// `started`. Heartbeats alone would keep it in office without it ever committing anything.
    pub fn disk_stalled(self, started: Option<Time>, now: Time, timeout: Micros) -> bool {
        started.is_some_and(|started| now.since(started) >= timeout)
    }

    /// Whether a read waits until a majority confirms the leader after the read came (§8;
    /// dissertation §6.4).
    pub fn confirms_reads(self) -> bool {
        self.keeps(Mutation::UnconfirmedReads)
    }

    /// Whether a leader may answer reads, given whether it has committed in its own term. Before, it
    /// does not know what is committed (§8).
    pub fn may_read(self, committed_in_term: bool) -> bool {
        committed_in_term || !self.keeps(Mutation::ReadBeforeCommit)
    }

    /// Whether a message that was on its way for `age` comes too late to tell that its sender is
    /// alive: all that it would put off may be due already.
    pub fn is_late(self, age: Micros, election_timeout_min: Micros) -> bool {
        age > election_timeout_min
    }

    /// For how long after the beginning of a round that a majority acknowledged nobody else can
    /// lead, by the leader's clock: whoever acknowledged it refuses candidates for the shortest
    /// election timeout, by a clock that may run faster (dissertation §6.4.1).
    pub fn lease_span(self, election_timeout_min: Micros, max_drift_permille: u64) -> Micros {
        if self.keeps(Mutation::TrustClocks) {
            election_timeout_min / 1000 * 1000_u64.saturating_sub(max_drift_permille)
        } else {
            election_timeout_min
        }
    }

    /// Whether a lease still counts, given whether the leader has begun to hand over its office.
    pub fn lease_survives_transfer(self, given_away: bool) -> bool {
        !given_away || !self.keeps(Mutation::KeepLeaseInTransfer)
    }

    // Membership

    /// Whether a leader may begin a change of the members: it has committed in its own term (the
    /// correction of 2015 to dissertation §4.1), and no configuration is uncommitted (§6).
    pub fn may_change_membership(
        self,
        committed_in_term: bool,
        settled: bool,
    ) -> Result<(), ChangeRefusal> {
        if !committed_in_term && self.keeps(Mutation::EagerReconfiguration) {
            return Err(ChangeRefusal::NoCommitInTerm);
        }
        if settled || !self.keeps(Mutation::EagerReconfiguration) {
            Ok(())
        } else {
            Err(ChangeRefusal::InProgress)
        }
    }

    /// Whether a change of voters needs a joint configuration: unless any majority of the old and
    /// any of the new share a server, which is sure when they differ by one (dissertation §4.2,
    /// §4.3).
    pub fn needs_joint(self, old: &BTreeSet<NodeId>, new: &BTreeSet<NodeId>) -> bool {
        Membership::distance(old, new) > 1 && self.keeps(Mutation::DirectSwitch)
    }

    // Clients

    /// Whether a request that a session has already carried out is answered from memory instead of
    /// being carried out again (§8; dissertation §6.3).
    pub fn remembers_requests(self) -> bool {
        self.keeps(Mutation::ExecuteRetries)
    }

    // Snapshots

    /// Whether a follower replaces its state by the leader's: only when that is newer (§7).
    pub fn accept_snapshot(self, last: LogIndex, commit_index: LogIndex) -> bool {
        last > commit_index || !self.keeps(Mutation::AcceptOldSnapshot)
    }

    /// Whether the log after a snapshot stays, given whether it held the snapshot's last entry
    /// (§7, InstallSnapshot step 6).
    pub fn keep_log_after_snapshot(self, held_last: bool) -> bool {
        held_last && self.keeps(Mutation::AcceptOldSnapshot)
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests;
