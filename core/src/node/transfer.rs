//! Leadership transfer (dissertation §3.10).
//!
//! The leader accepts no more writes, brings the target server (the heir) up to date, and tells it
//! to campaign at once. If the heir does not take over within an election timeout, the leader
//! continues.

use super::Node;
use super::gate::Needs;
use super::progress::Progress;
use super::role::Role;
use crate::event::{EventKind, Outcome, RequestRefusal, RoleReason};
use crate::message::Body;
use crate::types::{NodeId, RequestId, Time};

/// A leadership transfer in progress.
#[derive(Clone, Debug)]
pub(crate) struct Transfer {
    pub(crate) to: NodeId,
    pub(crate) request: RequestId,
    pub(crate) since: Time,
    /// Whether the client named the heir and wants no other leader.
    pub(crate) named: bool,
    /// Whether the heir was told to campaign.
    pub(crate) told: bool,
}

/// A transfer request that a former leader must still answer. It stepped down after it told the
/// heir to campaign, and no new leader is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HandedOver {
    pub(crate) request: RequestId,
    /// The server that must lead for the transfer to succeed; `None` if any server will do.
    pub(crate) wanted: Option<NodeId>,
    pub(crate) since: Time,
}

impl Node {
    // The leader's side

    /// Handles a request for another leader: `to`, or the most up-to-date voter.
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

    /// The voter that holds the most of this log; among equals, the voter that answered last.
    pub(super) fn best_heir(&self) -> Option<NodeId> {
        self.best_heir_of(|_| true)
    }

    /// The best heir among the voters that `fits` accepts.
    pub(super) fn best_heir_of(&self, fits: impl Fn(&Progress) -> bool) -> Option<NodeId> {
        let Role::Leader(leader) = &self.role else { return None };
        let voters = self.membership().voters.iter().copied();
        voters
            .filter_map(|voter| leader.progress.get(&voter).map(|progress| (voter, progress)))
            .filter(|(_, progress)| progress.answered && fits(progress))
            .max_by_key(|(_, progress)| (progress.match_index, progress.heard_at))
            .map(|(voter, _)| voter)
    }

    /// Tells the heir to campaign once it holds the whole log and all of it is committed. Then no
    /// client is left in doubt about a write.
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

    /// Tells the heir to campaign. It may now win an election at any time, so the lease of this
    /// term is revoked.
    pub(super) fn send_timeout_now(&mut self, heir: NodeId) {
        if let Role::Leader(leader) = &mut self.role {
            leader.lease.revoked = true;
        }
        self.send(heir, Body::TimeoutNow, Needs::HardState);
    }

    /// Continues as leader if the heir did not take over in time.
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

    /// Ends a pending transfer, because a leader is known.
    pub(super) fn leader_is_known(&mut self, leader: NodeId) {
        self.end_hand_over(|wanted| {
            if wanted.is_none_or(|wanted| wanted == leader) {
                Outcome::Transferred { to: leader }
            } else {
                Outcome::Refused(RequestRefusal::TransferTimedOut)
            }
        });
    }

    /// Ends a pending transfer if no leader is known in time.
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

    /// Campaigns, because the leader of this term asked for it. A pre-candidate may also take over:
    /// the leader gives up leadership.
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
