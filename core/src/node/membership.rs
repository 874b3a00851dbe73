//! Changes of the cluster's members (§6, dissertation chapter 4).
//!
//! A leader appends one configuration at a time. Joining servers are learners until they have
//! caught up. Then the voters change, through a joint configuration if several differ. A leader
//! that is no longer a voter steps down once that is committed (dissertation §4.2.2).

use super::progress::Progress;
use super::role::Role;
use super::{Node, RoleReason};
use crate::event::{EventKind, Outcome, RequestRefusal};
use crate::log::{Entry, Payload};
use crate::membership::{ChangeRefusal, Membership, MembershipChange};
use crate::types::{LogIndex, LogPosition, NodeId, RequestId, Time};

/// How far the joining servers are.
enum CatchUp {
    /// All may become voters.
    Done,
    /// They are catching up.
    GoesOn,
    /// They will not catch up.
    Futile(ChangeRefusal),
}

/// A pending change of members.
#[derive(Clone, Debug)]
pub(crate) struct PendingChange {
    /// The request that waits for the result; `None` if the leader inherited the change.
    pub(crate) request: Option<RequestId>,
    /// Since when the leader waits for the learners.
    pub(crate) since: Time,
}

impl Node {
    /// The members as this server knows them.
    pub(crate) fn membership(&self) -> &Membership {
        self.configurations.current()
    }

    // Every server

    /// Adopts the configurations among appended entries.
    pub(super) fn adopt_configurations(&mut self, entries: &[Entry]) {
        for entry in entries {
            if let Payload::Membership(membership) = &entry.payload {
                let was_voter = self.membership().is_voter(self.id);
                let was_learner = self.membership().learners.contains(&self.id);
                self.configurations.append(entry.index, Membership::clone(membership));
                self.recorder.emit(|| EventKind::ConfigurationAppended {
                    position: entry.position(),
                    membership: Membership::clone(membership),
                });
                if was_learner && !was_voter && membership.is_voter(self.id) {
                    self.promoted(entry.position());
                }
                self.track_members();
            }
        }
    }

    /// Records that a configuration made this server a voter. A stranger becomes a full member if
    /// this leader appended the configuration after it met the stranger. What the stranger may have
    /// promised before then no longer matters.
    fn promoted(&mut self, position: LogPosition) {
        let own_term = position.term == self.current_term();
        if self.hard_state.stranger_until.is_some_and(|until| own_term && position.index > until) {
            self.no_stranger_any_more();
        }
    }

    fn no_stranger_any_more(&mut self) {
        self.hard_state.stranger_until = None;
        self.gate.hard_state_changed();
    }

    /// The first message from a leader sets the index after which a stranger's promotion is new.
    /// The index covers all that is known to be committed, and all that the leader believes the
    /// stranger to hold. What the stranger acknowledged before it lost its disk lies at or before
    /// that index.
    ///
    /// The first message of each later term's leader sets the index again. A message of an earlier
    /// leader may have been in transit for long and may miss later acknowledgements.
    pub(super) fn met_leader(&mut self, known_up_to: LogIndex) {
        if self.hard_state.stranger_until == Some(LogIndex::default()) {
            self.hard_state.stranger_until = Some(known_up_to.max(LogIndex(1)));
            self.gate.hard_state_changed();
        }
    }

    /// A stranger has no old promises if its log says, past its first contact with this term's
    /// leader, that it is a learner. Then it is new, or has left the cluster since. It need not
    /// wait for its promotion, which may wait for its vote.
    ///
    /// The log must reach an entry of this term. Before that, it may be the log of an earlier
    /// leader, and end before a promotion from an earlier life.
    pub(super) fn settle_in(&mut self) {
        let Some(until) = self.hard_state.stranger_until else { return };
        let (id, last, membership) = (self.id, self.log.last(), self.membership());
        let learns = membership.learners.contains(&id) && !membership.is_voter(id);
        let past_contact = last.term == self.current_term() && last.index >= until;
        if learns && until > LogIndex::default() && past_contact {
            self.no_stranger_any_more();
        }
    }

    /// After a truncation, an earlier configuration may be in force again.
    pub(super) fn roll_back_configurations(&mut self, from: LogIndex) {
        if self.configurations.truncate(from) {
            let membership = self.membership().clone();
            self.recorder.emit(|| EventKind::ConfigurationRolledBack { membership });
            self.track_members();
        }
    }

    /// Records the configurations that the commit index passed.
    pub(super) fn note_committed_configurations(&mut self, from: LogIndex, to: LogIndex) {
        for (index, membership) in self.configurations.between(from, to) {
            self.recorder.emit(|| EventKind::ConfigurationCommitted {
                index: *index,
                membership: Membership::clone(membership),
            });
        }
    }

    // The leader

    /// Handles a request to change the members.
    pub(crate) fn change_membership(&mut self, request: RequestId, change: &MembershipChange) {
        let Role::Leader(leader) = &self.role else {
            self.respond(request, Outcome::NotLeader { leader: self.leader() });
            return;
        };
        let committed_in_term = leader.knows_commit(self.commit_index);
        let transferring = leader.transfer.is_some();
        let settled = self.configurations.index() <= self.commit_index;
        let next = match self.rules.may_change_membership(committed_in_term, settled) {
            _ if transferring => Err(ChangeRefusal::Transferring),
            Ok(()) => self.membership().begin(change),
            Err(refusal) => Err(refusal),
        };
        match next {
            Ok(next) => {
                let now = self.now;
                self.end_change(|| RequestRefusal::Membership(ChangeRefusal::InProgress));
                if let Role::Leader(leader) = &mut self.role {
                    leader.change = Some(PendingChange { request: Some(request), since: now });
                }
                // If all joining servers already hold everything, the change does not wait.
                let ready = next.joining().all(|node| self.holds_all(node));
                let first = if ready { self.step_from(&next) } else { None };
                self.append_membership(first.unwrap_or(next));
            }
            Err(refusal) => {
                let refused = Outcome::Refused(RequestRefusal::Membership(refusal));
                self.respond(request, refused);
            }
        }
    }

    fn step_from(&self, membership: &Membership) -> Option<Membership> {
        membership.next_step(|old, new| self.rules.needs_joint(old, new))
    }

    fn append_membership(&mut self, membership: Membership) {
        self.append_own(vec![Payload::Membership(Box::new(membership))]);
        for peer in self.peers() {
            self.send_entries(peer);
        }
        self.advance_commit_index();
    }

    /// Continues a change of members. Called whenever the commit index or a follower's progress
    /// moved.
    pub(super) fn continue_change(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let committed = self.configurations.index() <= self.commit_index;
        if !leader.reconfiguring || !committed || !leader.knows_commit(self.commit_index) {
            return;
        }
        self.let_go();
        if self.membership().is_settled() {
            self.change_done();
            return;
        }
        match self.catch_up() {
            CatchUp::Done => {
                if let Some(next) = self.step_from(self.membership()) {
                    self.append_membership(next);
                }
            }
            CatchUp::GoesOn => {}
            CatchUp::Futile(why) => self.give_up_change(why),
        }
    }

    /// Whether a learner holds the whole log. All that this leader told it about is in its log
    /// then.
    fn holds_all(&self, node: NodeId) -> bool {
        let last = self.log.last().index;
        let progress = self.progress().and_then(|progress| progress.get(&node));
        progress.is_some_and(|progress| progress.holds_all(last))
    }

    /// Continues the rounds in which joining servers catch up (dissertation §4.2.1). They vote once
    /// the last round of each took at most an election timeout. Then none delays commits, and each
    /// durably holds what makes it no stranger: its vote may be needed from its promotion on.
    fn catch_up(&mut self) -> CatchUp {
        let (now, last) = (self.now, self.log.last().index);
        let (short, long) = (self.config.election_timeout_max, self.config.promotion_timeout);
        let joining: Vec<NodeId> = self.membership().joining().collect();
        let Role::Leader(leader) = &mut self.role else { return CatchUp::GoesOn };
        let since = leader.change.get_or_insert(PendingChange { request: None, since: now }).since;
        let mut done = true;
        for node in joining {
            let Some(progress) = leader.progress.get_mut(&node) else { return CatchUp::GoesOn };
            if !progress.catch_up(last, now, short, long) {
                return CatchUp::Futile(ChangeRefusal::TooSlow);
            }
            let caught_up = progress.rounds.is_some_and(|rounds| rounds.caught_up);
            if !caught_up && now.since(progress.moved_at.max(since)) >= long {
                return CatchUp::Futile(ChangeRefusal::DidNotCatchUp);
            }
            done &= caught_up;
        }
        if done { CatchUp::Done } else { CatchUp::GoesOn }
    }

    /// Removes the joining learners again, because they do not catch up.
    fn give_up_change(&mut self, why: ChangeRefusal) {
        let without = self.membership().without_joining();
        self.end_change(|| RequestRefusal::Membership(why));
        self.append_membership(without);
    }

    fn end_change(&mut self, why: impl FnOnce() -> RequestRefusal) {
        let Role::Leader(leader) = &mut self.role else { return };
        if let Some(PendingChange { request: Some(request), .. }) = leader.change.take() {
            self.respond(request, Outcome::Refused(why()));
        }
    }

    /// Ends a change, because its target configuration is committed.
    fn change_done(&mut self) {
        let index = self.configurations.index();
        let Role::Leader(leader) = &mut self.role else { return };
        leader.reconfiguring = false;
        if let Some(PendingChange { request: Some(request), .. }) = leader.change.take() {
            let membership = self.membership().clone();
            self.respond(
                request,
                Outcome::MembershipChanged { index, membership: Box::new(membership) },
            );
        }
        if !self.membership().is_voter(self.id) {
            // The best follower may campaign at once, so the cluster need not wait for a timeout.
            if let Some(heir) = self.best_heir() {
                self.send_timeout_now(heir);
            }
            self.become_follower(RoleReason::Removed);
        }
    }

    /// A leader tracks all members. It also tracks servers that have just left until that is
    /// committed, to tell them.
    fn track_members(&mut self) {
        let (now, last) = (self.now, self.log.last().index);
        let peers: Vec<NodeId> = self.membership().peers_of(self.id).collect();
        let Role::Leader(leader) = &mut self.role else { return };
        leader.reconfiguring = true;
        let mut new = Vec::new();
        for peer in peers {
            leader.progress.entry(peer).or_insert_with(|| {
                new.push(peer);
                Progress::new(last, now)
            });
        }
        for peer in new {
            self.record_progress(peer);
        }
    }

    /// Tells servers that have left that their removal is committed, and stops tracking them. The
    /// message queues behind the entries of the removal.
    fn let_go(&mut self) {
        let members = self.membership().members();
        let Role::Leader(leader) = &mut self.role else { return };
        let gone: Vec<NodeId> =
            leader.progress.keys().copied().filter(|peer| !members.contains(peer)).collect();
        for peer in gone {
            self.ask_in_line(peer);
            if let Role::Leader(leader) = &mut self.role {
                leader.progress.remove(&peer);
            }
            self.recorder.emit(|| EventKind::PeerDismissed { peer });
        }
    }
}

impl Node {
    /// Replaces the log's configuration with a snapshot's. A snapshot does not say when a server
    /// was promoted, so it does not promote a stranger. It need not: a promoted server durably
    /// holds the entries before, and is no longer a stranger.
    pub(super) fn install_configuration(
        &mut self,
        last: LogPosition,
        membership: &Membership,
        keep_later: bool,
    ) {
        self.configurations.install(last.index, membership.clone(), keep_later);
    }
}
