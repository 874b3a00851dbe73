//! Leader election (§5.2, §5.4.1) with pre-votes (dissertation §9.6).

use super::gate::Needs;
use super::role::{Candidate, Role};
use super::{Node, RoleReason};
use crate::event::EventKind;
use crate::message::{Body, Message};
use crate::rules::{VoteRequest, Voter};
use crate::types::{LogPosition, NodeId, Term};

impl Node {
    /// Handles an election timeout: no leader was heard, or a candidate got no majority.
    pub(super) fn election_timeout(&mut self) {
        self.give_up_hand_over_in_time();
        let timeout = self.config.election_timeout_max;
        let stalled = self.rules.disk_stalled(self.gate.idle_since(), self.now, timeout);
        let promised = self.promise.holds(self.now);
        if self.rules.keeps_quiet(self.config.lease_reads, promised) {
            self.set_election_timer();
            return;
        }
        if stalled || !self.may_campaign() {
            // A server whose own disk hangs could not stay leader.
            self.lose_leader();
            self.set_election_timer();
            return;
        }
        if self.rules.asks_before_campaign() {
            self.become_candidate(true, RoleReason::ElectionTimeout);
            let body =
                Body::PreVote { next_term: self.current_term().next(), last_log: self.log.last() };
            self.ask_all(&body);
            // Its own pre-vote need not be durable.
            self.count_vote(self.id, true);
        } else {
            self.campaign(RoleReason::ElectionTimeout, false);
        }
    }

    /// Forgets the leader on a server that cannot campaign. Its clients must not wait for that
    /// leader or be sent to it.
    fn lose_leader(&mut self) {
        let Role::Follower(follower) = &mut self.role else { return };
        let news = follower.leader.take().is_some();
        let reads = std::mem::take(&mut follower.reads);
        if news {
            self.record_role(RoleReason::ElectionTimeout);
        }
        self.refuse_reads(reads.into_requests());
    }

    /// Whether this server may campaign: it is a voter and no stranger. A server whose removal is
    /// not committed may campaign: it may be the only server that can commit the removal
    /// (dissertation §4.2.2, figure 4.6). Its own vote does not count then.
    pub(super) fn may_campaign(&self) -> bool {
        let voter = self.membership().is_voter(self.id)
            || self.configurations.at(self.commit_index).is_voter(self.id);
        voter && self.hard_state.stranger_until.is_none()
    }

    /// Starts an election in a new term. The requests leave, and the server's own vote counts, once
    /// term and vote are durable (figure 2).
    pub(super) fn campaign(&mut self, why: RoleReason, transfer: bool) {
        self.become_candidate(false, why);
        let body = Body::RequestVote { last_log: self.log.last(), transfer };
        self.ask_all(&body);
        self.count_own_vote();
    }

    fn ask_all(&mut self, body: &Body) {
        let peers: Vec<NodeId> =
            self.membership().all_voters().filter(|voter| *voter != self.id).collect();
        for peer in peers {
            self.send(peer, body.clone(), Needs::HardState);
        }
    }

    // Voters

    /// Rejects a vote request before its term is looked at, if the rules say so. Returns whether it
    /// did.
    pub(super) fn refuse_unheard(&mut self, message: &Message) -> bool {
        let (term, pre, transfer, reply) = match &message.body {
            Body::PreVote { next_term, .. } => {
                let reply = Body::PreVoteReply { next_term: *next_term, granted: false };
                (*next_term, true, false, reply)
            }
            Body::RequestVote { transfer, .. } => {
                (message.term, false, *transfer, Body::RequestVoteReply { granted: false })
            }
            Body::PreVoteReply { .. }
            | Body::RequestVoteReply { .. }
            | Body::AppendEntries { .. }
            | Body::AppendEntriesReply { .. }
            | Body::InstallSnapshot { .. }
            | Body::InstallSnapshotReply { .. }
            | Body::TimeoutNow
            | Body::ReadIndex { .. }
            | Body::ReadIndexReply { .. }
            | Body::StateDigest { .. } => return false,
        };
        let promised = self.promise.binds(term, transfer, self.now);
        // A leader counts as active itself, unless it asked for the election. It steps down once it
        // hears from no majority.
        let leads = self.is_leader() && !transfer;
        let owed = self.promise.to().filter(|_| promised);
        let leader = if leads { Some(self.id) } else { owed };
        let Some(why) = self.rules.refuse_unheard(leader, promised) else {
            return false;
        };
        let candidate = message.from;
        self.recorder.emit(|| EventKind::VoteRefused { candidate, term, pre, why });
        self.send(candidate, reply, Needs::HardState);
        true
    }

    pub(super) fn on_pre_vote(&mut self, from: NodeId, next_term: Term, last_log: LogPosition) {
        let request = VoteRequest { candidate: from, term: next_term, last_log, pre: true };
        let granted = self.decide_vote(&request);
        self.send(from, Body::PreVoteReply { next_term, granted }, Needs::HardState);
    }

    pub(super) fn on_request_vote(&mut self, from: NodeId, last_log: LogPosition) {
        let term = self.current_term();
        let request = VoteRequest { candidate: from, term, last_log, pre: false };
        let granted = self.decide_vote(&request);
        if granted {
            if self.hard_state.voted_for != Some(from) {
                self.vote_for(from);
            }
            // Only a granted vote resets the election timer (§5.2).
            self.set_election_timer();
        }
        self.send(from, Body::RequestVoteReply { granted }, Needs::HardState);
    }

    /// Decides a vote by the rules and records the decision.
    fn decide_vote(&mut self, request: &VoteRequest) -> bool {
        let voter = Voter {
            current_term: self.current_term(),
            voted_for: self.hard_state.voted_for,
            last_log: self.log.last(),
            stranger: self.hard_state.stranger_until.is_some(),
        };
        let VoteRequest { candidate, term, pre, .. } = *request;
        let verdict = self.rules.grant_vote(&voter, request);
        self.recorder.emit(|| match verdict {
            Ok(()) => EventKind::VoteGranted { candidate, term, pre },
            Err(why) => EventKind::VoteRefused { candidate, term, pre, why },
        });
        verdict.is_ok()
    }

    // Candidates

    pub(super) fn on_pre_vote_reply(&mut self, from: NodeId, next_term: Term, granted: bool) {
        let asked = matches!(&self.role, Role::Candidate(candidate) if candidate.pre);
        if asked && self.membership().is_voter(from) && next_term == self.current_term().next() {
            self.count_vote(from, granted);
        }
    }

    pub(super) fn on_vote_reply(&mut self, from: NodeId, granted: bool) {
        let asked = matches!(&self.role, Role::Candidate(candidate) if !candidate.pre);
        if asked && self.membership().is_voter(from) {
            self.count_vote(from, granted);
        }
    }

    /// Counts a candidate's own vote once it is durable, like every vote.
    pub(super) fn count_own_vote(&mut self) {
        let Role::Candidate(candidate) = &self.role else { return };
        let counted = candidate.answers.contains_key(&self.id);
        let durable = self.gate.hard_state_is_durable() || !self.rules.vote_is_durable();
        if !candidate.pre && !counted && durable {
            self.count_vote(self.id, true);
        }
    }

    fn count_vote(&mut self, voter: NodeId, granted: bool) {
        let (rules, membership) = (self.rules, self.configurations.current().clone());
        let Role::Candidate(Candidate { pre, answers }) = &mut self.role else { return };
        // A granted vote stays granted, even if a repeated request is refused.
        let given = answers.get(&voter) == Some(&true);
        answers.insert(voter, granted || given);
        let pre = *pre;
        let says = |peer, yes| answers.get(&peer) == Some(&yes);
        let won = rules.has_majority(&membership, |peer| says(peer, true));
        let lost = rules.is_blocked(&membership, |peer| says(peer, false));
        let (yes, needed) = rules.tally(&membership, |peer| says(peer, true));
        self.recorder.emit(|| EventKind::VoteCounted { voter, granted, pre, votes: yes, needed });
        if won {
            if pre {
                self.campaign(RoleReason::PreVotesWon, false);
            } else {
                self.become_leader();
            }
        } else if lost {
            self.become_follower(RoleReason::VotesLost);
        }
    }
}
