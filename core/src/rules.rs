//! Every decision of the protocol, each a small predicate that cites its section.
//!
//! Only this module evaluates a [`Mutation`], which breaks one rule. Simulations use it to show
//! which property depends on that rule. Production code cannot break a rule: without the feature
//! `sim` there is nothing to switch.

mod mutation;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use mutation::Mutation;

use crate::membership::{ChangeRefusal, Membership};
use crate::types::{LogIndex, LogPosition, Micros, NodeId, Term, Time};

/// The highest term that a server accepts regardless of its own term: a thousand elections a second
/// for 34 years.
pub const TERM_HORIZON: Term = Term(1 << 40);

/// Above [`TERM_HORIZON`], the term of a message may exceed the own term by at most this.
pub const TERM_STEP: u64 = 1 << 20;

/// The highest log index that a server accepts: a million entries a second for 2,000 years.
pub const INDEX_HORIZON: LogIndex = LogIndex(1 << 56);

/// Why a server refused a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoteRefusal {
    /// The candidate's term is outdated.
    StaleTerm,
    /// The server voted for another candidate in this term (§5.2).
    AlreadyVoted(NodeId),
    /// The candidate's log is less up to date than the voter's (§5.4.1).
    LogBehind {
        /// The end of the voter's log.
        own: LogPosition,
        /// The end of the candidate's log.
        candidate: LogPosition,
    },
    /// The server heard from a leader within the minimum election timeout (dissertation §4.2.3).
    LeaderAlive(NodeId),
    /// This server started without the cluster's log and may have forgotten an earlier vote.
    Stranger,
    /// This server has just started and may have promised an earlier leader to refuse other
    /// candidates (dissertation §6.4.1).
    JustStarted,
}

impl fmt::Display for VoteRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleTerm => f.write_str("that term is outdated"),
            Self::AlreadyVoted(candidate) => write!(f, "it has voted for {candidate}"),
            Self::LogBehind { own, candidate } => {
                write!(f, "the candidate's log ends at index {candidate}, its own at {own}")
            }
            Self::LeaderAlive(leader) => write!(f, "it has just heard from the leader {leader}"),
            Self::Stranger => {
                f.write_str("it started without the cluster's log and does not vote yet")
            }
            Self::JustStarted => {
                f.write_str("it has just started and may have promised a leader not to vote")
            }
        }
    }
}

/// The rules in force. A simulation may break one of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rules {
    #[cfg(feature = "sim")]
    broken: Option<Mutation>,
}

/// The candidate's side of a vote.
#[derive(Clone, Copy, Debug)]
pub struct VoteRequest {
    /// The candidate.
    pub candidate: NodeId,
    /// The term of the election.
    pub term: Term,
    /// The last position of the candidate's log.
    pub last_log: LogPosition,
    /// Whether this is a pre-vote.
    pub pre: bool,
}

/// The voter's side of a vote.
#[derive(Clone, Copy, Debug)]
pub struct Voter {
    /// The voter's current term.
    pub current_term: Term,
    /// The voter's vote in that term.
    pub voted_for: Option<NodeId>,
    /// The last position of the voter's log.
    pub last_log: LogPosition,
    /// Whether the voter started without the cluster's log and was not made a voter since.
    pub stranger: bool,
}

impl Rules {
    /// All rules except `broken`.
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

    /// Panics if `holds` is false while every rule is in force, because that is a bug. With a
    /// broken rule, it is what the simulation wants to show.
    #[track_caller]
    pub fn assert(self, holds: bool, what: &str) {
        assert!(holds || !self.all_in_force(), "{what}");
    }

    // Peers

    /// Whether a server in term `current` accepts a message that names `term`. A cluster does not
    /// exceed [`TERM_HORIZON`] on its own. If a faulty peer has pushed the cluster beyond, terms
    /// grow in small steps, so no peer can exhaust them.
    pub fn believes_term(self, term: Term, current: Term) -> bool {
        term <= TERM_HORIZON || term.0.saturating_sub(current.0) <= TERM_STEP
    }

    /// Whether a log can be this long.
    pub fn believes_index(self, index: LogIndex) -> bool {
        index <= INDEX_HORIZON
    }

    // Elections

    /// How long a server waits for a leader's message; `drawn` is random between the two bounds
    /// (§5.2).
    pub fn election_timeout(self, drawn: Micros, minimum: Micros) -> Micros {
        if self.keeps(Mutation::FixedTimeouts) { drawn } else { minimum }
    }

    /// Whether a server asks for pre-votes before it starts a new term (dissertation §9.6).
    pub fn asks_before_campaign(self) -> bool {
        self.keeps(Mutation::NoPreVote)
    }

    /// Whether a server rejects a vote request before it looks at the term. It does so while it
    /// leads, or while it is bound by a promise to a leader (dissertation §4.2.3). A partitioned
    /// server therefore cannot depose a working leader. A restarted server also rejects requests
    /// while a promise from before its restart may bind it.
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

    /// Whether a server votes for a candidate. The term must be current, the vote of that term free
    /// (§5.2), and the candidate's log at least as up to date (§5.4.1).
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

    /// Whether a log that ends at `candidate` is at least as up to date as a log that ends at
    /// `own`. The later last term wins, then the longer log (§5.4.1).
    fn is_up_to_date(self, candidate: LogPosition, own: LogPosition) -> bool {
        candidate >= own || !self.keeps(Mutation::IgnoreStaleLog)
    }

    /// Whether a server does not campaign although its election timer fired: with leases, its own
    /// vote must not break its promise either. The timer never fires before the promise ends,
    /// unless it was set by hand.
    pub fn keeps_quiet(self, lease_reads: bool, promised: bool) -> bool {
        lease_reads && promised
    }

    /// Whether a server remembers its vote across a crash (figure 2, persistent state).
    pub fn vote_is_durable(self) -> bool {
        self.keeps(Mutation::ForgetVote)
    }

    /// The size of a majority of these voters (§5.2).
    fn majority_of(self, voters: &BTreeSet<NodeId>) -> usize {
        if self.keeps(Mutation::HalfIsMajority) {
            Membership::majority_of(voters)
        } else {
            voters.len() / 2
        }
    }

    /// The sets of voters that must each agree by majority: one set, or two during a joint
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

    /// Whether the voters that agree are a majority, of both sets in a joint configuration (§6).
    pub fn has_majority(self, membership: &Membership, agrees: impl Fn(NodeId) -> bool) -> bool {
        self.electorates(membership).all(|voters| {
            voters.iter().filter(|voter| agrees(**voter)).count() >= self.majority_of(&voters)
        })
    }

    /// Whether so many voters disagree that a majority is impossible.
    pub fn is_blocked(self, membership: &Membership, disagrees: impl Fn(NodeId) -> bool) -> bool {
        self.electorates(membership).any(|voters| {
            let left = voters.iter().filter(|voter| !disagrees(**voter)).count();
            left < self.majority_of(&voters)
        })
    }

    /// The number of voters that agree and the number that must, in the set that lacks more votes.
    pub fn tally(self, membership: &Membership, agrees: impl Fn(NodeId) -> bool) -> (u64, u64) {
        let counts = self.electorates(membership).map(|voters| {
            let agreeing = voters.iter().filter(|voter| agrees(**voter)).count() as u64;
            (agreeing, self.majority_of(&voters) as u64)
        });
        counts.max_by_key(|(agreeing, needed)| needed.saturating_sub(*agreeing)).unwrap_or_default()
    }

    /// The highest value that a majority of voters has reached, given each voter's value. A joint
    /// configuration needs a majority of both sets (§6).
    ///
    /// Match indexes give the commit index (§5.3), and acknowledged rounds the confirmed round
    /// (§8). Contact times give the last contact with a majority (dissertation §6.2).
    pub fn majority_value<T: Ord + Default + Copy>(
        self,
        membership: &Membership,
        value_of: impl Fn(NodeId) -> T,
    ) -> T {
        let reached = self.electorates(membership).map(|voters| {
            // A cluster should have few voters, which fit on the stack: this runs for every
            // acknowledgement.
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

    /// Whether a follower appends entries after `prev_log`, given the term that its log has there
    /// (§5.3).
    pub fn accept_entries(self, prev_log: LogPosition, term_here: Option<Term>) -> bool {
        term_here == Some(prev_log.term) || !self.keeps(Mutation::SkipPrevLogCheck)
    }

    /// Whether a follower also removes its own entries after those of the leader's message if no
    /// terms differ. Raft removes only conflicting entries (figure 2, AppendEntries step 3).
    pub fn truncate_without_conflict(self) -> bool {
        !self.keeps(Mutation::AlwaysTruncate)
    }

    /// The follower's new commit index: the leader's, but not beyond the entries that this message
    /// verified (§5.3).
    pub fn follower_commit(
        self,
        leader_commit: LogIndex,
        verified: LogIndex,
        last: LogIndex,
    ) -> LogIndex {
        let bound = if self.keeps(Mutation::CommitUnverified) { verified } else { last };
        leader_commit.min(bound)
    }

    /// Whether a leader may commit an entry that a majority holds: only if the entry is of its own
    /// term (§5.4.2).
    pub fn may_commit(self, entry_term: Option<Term>, current_term: Term) -> bool {
        entry_term == Some(current_term) || !self.keeps(Mutation::CommitOldTerms)
    }

    /// Whether an acknowledgement waits until the entries are durable (figure 2).
    pub fn acknowledges_durable_only(self) -> bool {
        self.keeps(Mutation::AcknowledgeEarly)
    }

    // Leadership

    /// Whether a leader steps down because no majority has answered since `heard`, for an election
    /// timeout or longer (dissertation §6.2).
    pub fn lost_quorum(self, heard: Time, now: Time, timeout: Micros) -> bool {
        now.since(heard) >= timeout && self.keeps(Mutation::NoCheckQuorum)
    }

    /// Whether a leader steps down because its disk has not finished a write since `started`.
    /// Otherwise heartbeats would keep it leader though it may never commit anything. The caller
    /// exempts the only voter: no other server could lead.
    pub fn disk_stalled(self, started: Option<Time>, now: Time, timeout: Micros) -> bool {
        started.is_some_and(|started| now.since(started) >= timeout)
    }

    /// Whether a read waits until a majority confirms the leader after the read arrived (§8;
    /// dissertation §6.4).
    pub fn confirms_reads(self) -> bool {
        self.keeps(Mutation::UnconfirmedReads)
    }

    /// Whether a leader may answer reads. Before it has committed in its own term, it does not know
    /// what is committed (§8).
    pub fn may_read(self, committed_in_term: bool) -> bool {
        committed_in_term || !self.keeps(Mutation::ReadBeforeCommit)
    }

    /// Whether a message in transit for `age` is too late to show that its sender is alive. The
    /// timers that it would reset may already be due.
    pub fn is_late(self, age: Micros, election_timeout_min: Micros) -> bool {
        age > election_timeout_min
    }

    /// The lease time after the start of a round that a majority acknowledged, by the leader's
    /// clock. Servers that acknowledged it reject candidates for the shortest election timeout, by
    /// clocks that may run faster (dissertation §6.4.1).
    pub fn lease_span(self, election_timeout_min: Micros, max_drift_permille: u64) -> Micros {
        if self.keeps(Mutation::TrustClocks) {
            election_timeout_min / 1000 * 1000_u64.saturating_sub(max_drift_permille)
        } else {
            election_timeout_min
        }
    }

    /// Whether a lease is still valid, given whether the leader has begun to transfer leadership.
    pub fn lease_survives_transfer(self, given_away: bool) -> bool {
        !given_away || !self.keeps(Mutation::KeepLeaseInTransfer)
    }

    // Membership

    /// Whether a leader may begin a change of the members. It must have committed in its own term
    /// (the correction of 2015 to dissertation §4.1), and no configuration may be uncommitted (§6).
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

    /// Whether a change of voters needs a joint configuration. It does not if the old and new
    /// voters differ by one, because their majorities then overlap (dissertation §4.2, §4.3).
    pub fn needs_joint(self, old: &BTreeSet<NodeId>, new: &BTreeSet<NodeId>) -> bool {
        Membership::distance(old, new) > 1 && self.keeps(Mutation::DirectSwitch)
    }

    // Clients

    /// Whether a session answers a retried request from memory instead of executing it again (§8;
    /// dissertation §6.3).
    pub fn remembers_requests(self) -> bool {
        self.keeps(Mutation::ExecuteRetries)
    }

    // Snapshots

    /// Whether a follower replaces its state with the leader's snapshot: only if the snapshot is
    /// newer (§7).
    pub fn accept_snapshot(self, last: LogIndex, commit_index: LogIndex) -> bool {
        last > commit_index || !self.keeps(Mutation::AcceptOldSnapshot)
    }

    /// Whether the log after a snapshot is kept, given whether it held the snapshot's last entry
    /// (§7, InstallSnapshot step 6).
    pub fn keep_log_after_snapshot(self, held_last: bool) -> bool {
        held_last && self.keeps(Mutation::AcceptOldSnapshot)
    }
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests;
