//! Handing leadership over (dissertation §3.10).
//!
//! The leader takes in no more writes, brings the heir's log up to date, and tells it to campaign at
//! once. When that does not come to anything within an election timeout, the leader goes on.

use super::Node;
use super::gate::Needs;
use super::progress::Progress;
use super::role::Role;
use crate::event::{EventKind, Outcome, RequestRefusal, RoleReason};
use crate::message::Body;
use crate::types::{NodeId, RequestId, Time};

/// A hand-over under way.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) to: NodeId,
    pub(crate) request: RequestId,
    pub(crate) since: Time,
    /// Whether the heir was named by whoever asked, who then wants no other.
    pub(crate) named: bool,
    /// Whether the heir was told to campaign.
    pub(crate) told: bool,
}

/// What a former leader still has to answer: it was deposed after it told its heir to campaign, and
/// nobody leads yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandedOver {
    pub(crate) request: RequestId,
    /// Who must lead for that to count as done; `None` where any server will do.
    pub(crate) wanted: Option<NodeId>,
    pub(crate) since: Time,
}

impl Node {
    // The leader's side

    /// Somebody wants another leader: `to`, or whoever is furthest.
    pub(crate) fn transfer_leadership(&mut self, request: RequestId, to: Option<NodeId>) {
        let Role::Leader(leader) = &self.role else {
            self.respond(request, Outcome::NotLeader { leader: self.leader() });
            return;
        };
        let refusal = match to.or_else(|| self.best_heir()) {
            _ if leader.transfer.is_some() => RequestRefusal::TransferInProgress,
            Some(heir) if heir == self.id => RequestRefusal::AlreadyLeads,
            Some(heir) if self.membership().voters.contains(&heir) => {
                self.begin_transfer(request, heir, to.is_some());
                return;
            }
            Some(_) | None => RequestRefusal::NotAVoter,
        };
        self.respond(request, Outcome::Refused(refusal));
    }

    fn begin_transfer(&mut self, request: RequestId, to: NodeId, named: bool) {
        let since = self.now;
        if let Role::Leader(leader) = &mut self.role {
            leader.transfer = Some(Transfer { to, request, since, named, told: false });
        }
        self.recorder.emit(|| EventKind::TransferStarted { to });
        self.send_entries(to);
        self.continue_transfer();
    }

    /// The voter with the most of this log, the one that answered last among equals.
    pub(super) fn best_heir(&self) -> Option<NodeId> {
        self.best_heir_of(|_| true)
    }

    /// The best of those that `fits`.
    pub(super) fn best_heir_of(&self, fits: impl Fn(&Progress) -> bool) -> Option<NodeId> {
        let Role::Leader(leader) = &self.role else { return None };
        let voters = self.membership().voters.iter().copied();
        voters
            .filter_map(|voter| leader.progress.get(&voter).map(|progress| (voter, progress)))
            .filter(|(_, progress)| progress.answered && fits(progress))
            .max_by_key(|(_, progress)| (progress.match_index, progress.heard_at))
            .map(|(voter, _)| voter)
    }

    /// Tells the heir to campaign once it holds all that there is, and all of it is committed: then
    /// nobody who waits for a write is left in doubt.
    pub(super) fn continue_transfer(&mut self) {
        let last = self.log.last().index;
        let committed = self.commit_index == last;
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(transfer) = &mut leader.transfer else { return };
        let heir = transfer.to;
        let complete = leader.progress.get(&heir).is_some_and(|it| it.match_index == last);
        if complete && committed && !transfer.told {
            transfer.told = true;
            self.send_timeout_now(heir);
        }
    }

    /// From here on the heir may win an election at any time, so that no lease of this term counts
    /// any more.
    pub(super) fn send_timeout_now(&mut self, heir: NodeId) {
        if let Role::Leader(leader) = &mut self.role {
            leader.lease.revoked = true;
        }
        self.send(heir, Body::TimeoutNow, Needs::HardState);
    }

    /// Goes on as leader when the heir did not take over in time.
    pub(super) fn give_up_transfer_in_time(&mut self) {
        let (now, patience) = (self.now, self.config.election_timeout_max);
        let Role::Leader(leader) = &mut self.role else { return };
        let late = |transfer: &mut Transfer| now.since(transfer.since) >= patience;
        if let Some(transfer) = leader.transfer.take_if(late) {
            self.recorder.emit(|| EventKind::TransferAborted { to: transfer.to });
            let refused = Outcome::Refused(RequestRefusal::TransferTimedOut);
            self.respond(transfer.request, refused);
        }
    }

    // The former leader's side

    /// Somebody leads: a hand-over that was still open has ended one way or the other.
    pub(super) fn leader_is_known(&mut self, leader: NodeId) {
        self.end_hand_over(|wanted| {
            if wanted.is_none_or(|wanted| wanted == leader) {
                Outcome::Transferred { to: leader }
            } else {
                Outcome::Refused(RequestRefusal::TransferTimedOut)
            }
        });
    }

    /// Nobody is known to lead.
    pub(super) fn give_up_hand_over_in_time(&mut self) {
        let (now, patience) = (self.now, self.config.election_timeout_max);
        if self.handed_over.is_some_and(|it| now.since(it.since) >= patience) {
            self.end_hand_over(|_| Outcome::Refused(RequestRefusal::TransferTimedOut));
        }
    }

    pub(super) fn end_hand_over(&mut self, outcome: impl FnOnce(Option<NodeId>) -> Outcome) {
        if let Some(HandedOver { request, wanted, .. }) = self.handed_over.take() {
            self.respond(request, outcome(wanted));
        }
    }

    // The heir's side

    /// The leader of this term wants this server to lead the next one. Also one that has missed its
    /// leader and asks around may take over: it is told that nobody leads any more.
    pub(super) fn on_timeout_now(&mut self, from: NodeId) {
        let waits = match &self.role {
            Role::Follower(_) => true,
            Role::Candidate(candidate) => candidate.pre,
            Role::Leader(_) => false,
        };
        if waits && self.leader_of_term() == Some(from) && self.may_campaign() {
            self.campaign(RoleReason::TransferAsked, true);
        }
    }
}
