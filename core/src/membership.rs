//! Who belongs to the cluster, how that changes, and what counts as a majority of it (§6).
//!
//! One voter more or fewer is a change in a single step: any majority of the old voters and any of
//! the new ones share a server (dissertation §4.2). A change of several goes through a joint
//! configuration, in which elections and commits need a majority of both (§6, dissertation §4.3).
//! New voters begin as learners, which replicate without counting, and are promoted once they have
//! caught up (dissertation §4.2.1).

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::NodeId;

/// A configuration of the cluster (§6). It holds from the moment it is in a server's log, committed
/// or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Membership {
    /// The servers whose votes and acknowledgements count.
    pub voters: BTreeSet<NodeId>,
    /// During a joint configuration the voters before it, of which a majority is needed too; else
    /// empty.
    pub outgoing: BTreeSet<NodeId>,
    /// Servers that replicate and count for nothing.
    pub learners: BTreeSet<NodeId>,
    /// The voters that were asked for: the change begins once those among the learners have caught
    /// up. Empty when nothing was asked for.
    pub target: BTreeSet<NodeId>,
}

/// A change that somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MembershipChange {
    /// A server joins as a learner, and becomes a voter once it has caught up.
    AddVoter(NodeId),
    /// A server joins as a learner and stays one.
    AddLearner(NodeId),
    /// A server leaves. For a learner that waits to be promoted, this gives up the promotion.
    Remove(NodeId),
    /// From now on exactly these vote; those that are new join as learners first.
    SetVoters(BTreeSet<NodeId>),
}

/// Why a change was not begun, or was given up. Nothing of it remains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeRefusal {
    /// Another change is under way; one at a time (§6).
    InProgress,
    /// The leader has not committed in its own term yet; try again in a moment (the correction of
    /// 2015 to dissertation §4.1).
    NoCommitInTerm,
    /// It would change nothing.
    NothingToChange,
    /// The server to be removed is no member.
    NoSuchMember,
    /// No voter would remain.
    NoVoters,
    /// The new server took nothing for too long and was removed again (dissertation §4.2.1).
    DidNotCatchUp,
    /// The leader is handing over its office.
    Transferring,
    /// The new server takes entries more slowly than they are written, and was removed again
    /// (dissertation §4.2.1).
    TooSlow,
}

impl Membership {
    /// A cluster of these voters.
    pub fn of(voters: impl IntoIterator<Item = NodeId>) -> Self {
        Self { voters: voters.into_iter().collect(), ..Self::default() }
    }

    /// Whether this server's vote counts, in either half of a joint configuration.
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters.contains(&node) || self.outgoing.contains(&node)
    }

    /// Whether this server belongs to the cluster at all.
    pub fn contains(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.learners.contains(&node)
    }

    /// Whether two sets of voters must both agree (§6).
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Every server that votes, in both halves of a joint configuration.
    pub fn all_voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.voters.union(&self.outgoing).copied()
    }

    /// Every server that belongs to the cluster.
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.all_voters().chain(self.learners.iter().copied()).collect()
    }

    /// Every server that a leader replicates to, itself left out.
    pub fn peers_of(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.members().into_iter().filter(move |peer| *peer != node)
    }

    /// The learners that will vote once they have caught up.
    pub fn joining(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.target.difference(&self.voters).copied()
    }

    /// Whether no change is under way.
    pub fn is_settled(&self) -> bool {
        self.outgoing.is_empty() && self.target.is_empty()
    }

    /// The smallest number of these voters that any two such sets share a member of (§5.2).
    pub fn majority_of(voters: &BTreeSet<NodeId>) -> usize {
        voters.len() / 2 + 1
    }

    /// The configuration with which a change begins: it only adds learners and says what is aimed
    /// at. The steps to it are [`Self::next_step`].
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

    /// The next configuration on the way to the target, once the learners that join have caught up;
    /// `None` when the change is complete. `joint` says whether a change of several voters needs a
    /// joint configuration in between.
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

    /// The configuration without the learners that wait to be promoted: the change is given up.
    #[must_use]
    pub fn without_joining(&self) -> Self {
        let learners = self.learners.difference(&self.target).copied().collect();
        Self { learners, target: BTreeSet::new(), ..self.clone() }
    }

    /// How many voters differ between two sets.
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
            Self::SetVoters(voters) => write!(f, "let {{{}}} vote", List(voters)),
        }
    }
}

impl fmt::Display for ChangeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InProgress => "another change of the members is under way",
            Self::NoCommitInTerm => "the leader has not committed in its own term yet",
            Self::NothingToChange => "it would change nothing",
            Self::NoSuchMember => "there is no such member",
            Self::NoVoters => "no voter would remain",
            Self::DidNotCatchUp => {
                "the new server took nothing for the promotion timeout and was removed again"
            }
            Self::TooSlow => {
                "the new server takes entries more slowly than they are written and was removed again"
            }
            Self::Transferring => "the leader is handing over its office",
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

    /// Guards the way of each kind of change: learners first, joint only where several voters
    /// differ (dissertation §4.2, §4.3).
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

    /// Guards against changes that make no sense, each told apart.
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
