//! The members of the cluster, changes of them, and the majority rule (§6).
//!
//! Adding or removing one voter takes a single step: each majority of the old voters overlaps with
//! each majority of the new voters (dissertation §4.2). A change of several voters goes through a
//! joint configuration. In it, elections and commits need a majority of both sets (§6, dissertation
//! §4.3). New voters start as learners, which receive the log but do not count toward the quorum.
//! The leader promotes them after they have caught up (dissertation §4.2.1).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::NodeId;

/// A configuration of the cluster (§6). A server uses it as soon as it is in the server's log, even
/// before it is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Membership {
    /// The servers whose votes and acknowledgements count.
    pub voters: BTreeSet<NodeId>,
    /// The old voters during a joint configuration; otherwise empty. A majority of them must also
    /// agree.
    pub outgoing: BTreeSet<NodeId>,
    /// Servers that receive the log but do not vote.
    pub learners: BTreeSet<NodeId>,
    /// The requested voters. The change of voters begins when the learners among them have caught
    /// up. Empty if no change was requested.
    pub target: BTreeSet<NodeId>,
}

/// A requested change of the members.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MembershipChange {
    /// Adds a server as a learner and promotes it to a voter when it has caught up.
    AddVoter(NodeId),
    /// Adds a server as a permanent learner.
    AddLearner(NodeId),
    /// Removes a server. For a learner that waits for its promotion, this cancels the promotion.
    Remove(NodeId),
    /// Makes exactly these servers the voters; new ones join as learners first.
    SetVoters(BTreeSet<NodeId>),
}

/// Why a change was rejected or cancelled. It leaves nothing behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeRefusal {
    /// Another change is in progress; only one is allowed at a time (§6).
    InProgress,
    /// The leader has not committed an entry of its own term yet; retry soon (the correction of
    /// 2015 to dissertation §4.1).
    NoCommitInTerm,
    /// The change would have no effect.
    NothingToChange,
    /// The server to remove is not a member.
    NoSuchMember,
    /// No voter would remain.
    NoVoters,
    /// The new server accepted nothing for too long, so the leader removed it again (dissertation
    /// §4.2.1).
    DidNotCatchUp,
    /// The leader is transferring its leadership.
    Transferring,
    /// The new server accepts entries more slowly than clients write them, so the leader removed it
    /// again (dissertation §4.2.1).
    TooSlow,
}

impl Membership {
    /// A configuration with these voters only.
    pub fn of(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Whether this server's vote counts, in either set of a joint configuration.
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// Whether this server is a voter or a learner.
    pub fn contains(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.learners.contains(&node)
    }

    /// Whether two sets of voters must both agree (§6).
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// All voters, of both sets in a joint configuration.
    pub fn all_voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.voters.union(&self.outgoing).copied()
    }

    /// All voters and learners.
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.all_voters().chain(self.learners.iter().copied()).collect()
    }

    /// All members except `node`.
    pub fn peers_of(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.members().into_iter().filter(move |peer| *peer != node)
    }

    /// The learners that become voters when they have caught up.
    pub fn joining(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.target.difference(&self.voters).copied()
    }

    /// Whether no change is in progress.
    pub fn is_settled(&self) -> bool {
        self.outgoing.is_empty() && self.target.is_empty()
    }

    /// The number of voters in a majority: two sets of this size always overlap (§5.2).
    pub fn majority_of(voters: &BTreeSet<NodeId>) -> usize {
        voters.len() / 2 + 1
    }

    /// The first configuration of a change: it only adds learners and records the target.
    /// [`Self::next_step`] gives the configurations that follow.
    pub fn begin(&self, change: &MembershipChange) -> Result<Self, ChangeRefusal> {
        if let MembershipChange::Remove(node) = change
            && self.joining().any(|joining| joining == *node)
            && !self.is_joint()
        {
            return Ok(self.without_joining());
        }
        if !self.is_settled() {
            return Err(ChangeRefusal::InProgress);
        }
        let mut next = self.clone();
        match change {
            MembershipChange::AddLearner(node) => {
                if self.contains(*node) {
                    return Err(ChangeRefusal::NothingToChange);
                }
                next.learners.insert(*node);
                return Ok(next);
            }
            MembershipChange::Remove(node) if self.learners.contains(node) => {
                next.learners.remove(node);
                return Ok(next);
            }
            MembershipChange::Remove(node) if !self.voters.contains(node) => {
                return Err(ChangeRefusal::NoSuchMember);
            }
            MembershipChange::Remove(node) => {
                next.target = self.voters.iter().copied().filter(|it| it != node).collect();
            }
            MembershipChange::AddVoter(node) => {
                next.target = self.voters.iter().copied().chain([*node]).collect();
            }
            MembershipChange::SetVoters(voters) => next.target.clone_from(voters),
        }
        if next.target.is_empty() {
            return Err(ChangeRefusal::NoVoters);
        }
        if next.target == self.voters {
            return Err(ChangeRefusal::NothingToChange);
        }
        next.learners.extend(next.target.difference(&self.voters));
        Ok(next)
    }

    /// The next configuration on the way to the target, after the joining learners have caught up;
    /// `None` when the change is complete. `joint` says whether a change of voters needs a joint
    /// configuration.
    #[must_use]
    pub fn next_step(
        &self,
        joint: impl Fn(&BTreeSet<NodeId>, &BTreeSet<NodeId>) -> bool,
    ) -> Option<Self> {
        if self.is_joint() {
            return Some(Self { outgoing: BTreeSet::new(), ..self.clone() });
        }
        if self.target.is_empty() {
            return None;
        }
        let outgoing =
            if joint(&self.voters, &self.target) { self.voters.clone() } else { BTreeSet::new() };
        let learners = self.learners.difference(&self.target).copied().collect();
        Some(Self { voters: self.target.clone(), outgoing, learners, target: BTreeSet::new() })
    }

    /// Cancels the change: the configuration without the learners that wait for their promotion.
    #[must_use]
    pub fn without_joining(&self) -> Self {
        let learners = self.learners.difference(&self.target).copied().collect();
        Self { learners, target: BTreeSet::new(), ..self.clone() }
    }

    /// The number of voters that only one of the two sets has.
    pub fn distance(old: &BTreeSet<NodeId>, new: &BTreeSet<NodeId>) -> usize {
        old.symmetric_difference(new).count()
    }
}

/// `{S1, S2, S3}`; with learners `{S1, S2, S3 + S4}`; joint `{S1, S2, S3} -> {S3, S4, S5}`.
impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_joint() {
            write!(f, "{{{}}} -> ", List(&self.outgoing))?;
        }
        write!(f, "{{{}", List(&self.voters))?;
        if !self.learners.is_empty() {
            write!(f, " + {}", List(&self.learners))?;
        }
        f.write_str("}")
    }
}

struct List<'a>(&'a BTreeSet<NodeId>);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, node) in self.0.iter().enumerate() {
            write!(f, "{}{node}", if position > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Display for MembershipChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddVoter(node) => write!(f, "add {node} as a voter"),
            Self::AddLearner(node) => write!(f, "add {node} as a learner"),
            Self::Remove(node) => write!(f, "remove {node}"),
            Self::SetVoters(voters) => write!(f, "set the voters to {{{}}}", List(voters)),
        }
    }
}

impl fmt::Display for ChangeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InProgress => "another change of the members is in progress",
            Self::NoCommitInTerm => "the leader has not committed in its own term yet",
            Self::NothingToChange => "the change would have no effect",
            Self::NoSuchMember => "there is no such member",
            Self::NoVoters => "no voter would remain",
            Self::DidNotCatchUp => {
                "the new server made no progress for the promotion timeout and was removed again"
            }
            Self::TooSlow => {
                "the new server is too slow for the rate of writes and was removed again"
            }
            Self::Transferring => "the leader is transferring its leadership",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    fn three() -> Membership {
        Membership::of(set(&[1, 2, 3]))
    }

    fn steps(change: &MembershipChange) -> Vec<String> {
        let mut now = three().begin(change).expect("possible");
        let mut shown = vec![now.to_string()];
        while let Some(next) = now.next_step(|old, new| Membership::distance(old, new) > 1) {
            shown.push(next.to_string());
            now = next;
        }
        shown
    }

    /// Guards the steps of each kind of change: learners come first, and only a change of several
    /// voters is joint (dissertation §4.2, §4.3).
    #[test]
    fn changes_go_step_by_step() {
        assert_eq!(
            steps(&MembershipChange::AddVoter(NodeId(4))),
            ["{S1, S2, S3 + S4}", "{S1, S2, S3, S4}"]
        );
        assert_eq!(steps(&MembershipChange::AddLearner(NodeId(4))), ["{S1, S2, S3 + S4}"]);
        assert_eq!(steps(&MembershipChange::Remove(NodeId(3))), ["{S1, S2, S3}", "{S1, S2}"]);
        assert_eq!(
            steps(&MembershipChange::SetVoters(set(&[3, 4, 5]))),
            ["{S1, S2, S3 + S4, S5}", "{S1, S2, S3} -> {S3, S4, S5}", "{S3, S4, S5}"]
        );
    }

    /// Guards that each kind of invalid change is rejected with its own reason.
    #[test]
    fn impossible_changes_are_refused() {
        let refused = |change| three().begin(&change).expect_err("not possible");
        assert_eq!(refused(MembershipChange::AddVoter(NodeId(1))), ChangeRefusal::NothingToChange);
        assert_eq!(
            refused(MembershipChange::AddLearner(NodeId(1))),
            ChangeRefusal::NothingToChange
        );
        assert_eq!(refused(MembershipChange::Remove(NodeId(9))), ChangeRefusal::NoSuchMember);
        assert_eq!(refused(MembershipChange::SetVoters(set(&[]))), ChangeRefusal::NoVoters);
        let last = Membership::of([NodeId(1)]).begin(&MembershipChange::Remove(NodeId(1)));
        assert_eq!(last, Err(ChangeRefusal::NoVoters));
        let busy = three().begin(&MembershipChange::AddVoter(NodeId(4))).expect("possible");
        let other = busy.begin(&MembershipChange::Remove(NodeId(1)));
        assert_eq!(other, Err(ChangeRefusal::InProgress));
        assert_eq!(busy.begin(&MembershipChange::Remove(NodeId(4))), Ok(three()));
    }
}
