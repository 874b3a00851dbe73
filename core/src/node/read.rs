//! Linearizable reads without a log entry (§8; dissertation §6.4).
//!
//! A read may be answered from the leader's state once a majority has acknowledged a heartbeat
//! round that began after the read came: then no newer leader had been elected by that time, and
//! everything committed before is in this leader's log. One round confirms all the reads that
//! waited for it. A follower asks its leader for that index and answers once it has applied so far.
//!
//! By its lease a leader answers at once (dissertation §6.4.1): whoever acknowledged a round refuses
//! every candidate for the shortest election timeout, so nobody else can lead for that long, less
//! what the clocks may differ.

use std::collections::VecDeque;

use super::Node;
use super::gate::Needs;
use super::role::Role;
use crate::event::{EventKind, Outcome};
use crate::message::Body;
use crate::types::{LogIndex, NodeId, RequestId, Time};

/// A read on its way to a safe answer (§8).
#[derive(Clone, Debug)]
pub(crate) struct PendingRead {
    pub(crate) reader: Reader,
    /// The first round that began after it came.
    pub(crate) round: u64,
}

/// Who waits for a leader's confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Client(RequestId),
    /// A follower with reads of its own clients.
    Follower {
        node: NodeId,
        question: u64,
    },
}

/// Until when a leader is sure to be the only one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lease {
    /// When each round began that no majority has acknowledged yet.
    rounds: VecDeque<(u64, Time)>,
    /// When the latest round began that a majority has acknowledged.
    confirmed_at: Option<Time>,
    /// Set when this leader told another server to campaign: voters no longer protect it.
    pub(crate) revoked: bool,
}

impl Lease {
    pub(super) fn round_began(&mut self, round: u64, now: Time) {
        self.rounds.push_back((round, now));
    }

    fn confirm(&mut self, round: u64) {
        while let Some((_, began)) = self.rounds.pop_front_if(|(own, _)| *own <= round) {
            self.confirmed_at = Some(began);
        }
    }
}

/// The reads of a follower's clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct FollowerReads {
    /// Came after the question under way was asked.
    waiting: Vec<RequestId>,
    asked: Option<Question>,
    /// May be answered once this index is committed here.
    confirmed: VecDeque<(LogIndex, Vec<RequestId>)>,
}

#[derive(Clone, Debug)]
struct Question {
    /// Unique over all runs of this server, so that a late answer to another is recognised.
    number: u64,
    requests: Vec<RequestId>,
    asked_at: Time,
}

impl FollowerReads {
    /// All the requests that wait.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        let asked = self.asked.into_iter().flat_map(|question| question.requests);
        let confirmed = self.confirmed.into_iter().flat_map(|(_, requests)| requests);
        confirmed.chain(asked).chain(self.waiting)
    }

    /// Whether nobody waits.
    #[cfg(feature = "sim")]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_none() && self.confirmed.is_empty()
    }

    /// The same reads for another leader to confirm.
    pub(super) fn ask_anew(self) -> Self {
        Self { waiting: self.into_requests().collect(), ..Self::default() }
    }
}

impl Node {
    /// A client wants to read. With `lease` a leader may answer without asking, where it has one.
    pub(crate) fn read(&mut self, request: RequestId, lease: bool) {
        if lease && self.lease_holds() {
            self.recorder.emit(|| EventKind::LeaseRead { request });
            let read_index = self.commit_index;
            self.respond(request, Outcome::ReadReady { read_index });
            return;
        }
        match &mut self.role {
            Role::Leader(_) => self.queue_read(Reader::Client(request)),
            Role::Follower(follower) if follower.leader.is_some() => {
                follower.reads.waiting.push(request);
                self.ask_for_read_index();
            }
            Role::Follower(_) | Role::Candidate(_) => {
                self.respond(request, Outcome::NotLeader { leader: None });
            }
        }
    }

    // The leader's side

    fn queue_read(&mut self, reader: Reader) {
        let Role::Leader(leader) = &mut self.role else { return };
        let round = leader.round + 1;
        leader.reads.push_back(PendingRead { reader, round });
        if self.rules.confirms_reads() {
            self.answer_confirmed_reads();
        } else {
            self.answer_reads_up_to(u64::MAX);
        }
    }

    /// Whether nobody else can lead now. Not before the first commit of the term (§8), and not once
    /// another server was told to campaign.
    fn lease_holds(&self) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let (min, drift) = (self.config.election_timeout_min, self.config.max_clock_drift_permille);
        let span = self.rules.lease_span(min, drift);
        let fresh = leader.lease.confirmed_at.is_some_and(|at| self.now.since(at) < span);
        let given_away = leader.lease.revoked || leader.transfer.is_some();
        let alone = self.membership().peers_of(self.id).next().is_none();
        self.config.lease_reads
            && leader.knows_commit(self.commit_index)
            && (fresh || alone)
            && self.rules.lease_survives_transfer(given_away)
    }

    /// A follower has clients who want to read. It asks one question at a time.
    pub(super) fn on_read_index(&mut self, node: NodeId, question: u64) {
        if let Role::Leader(leader) = &mut self.role {
            leader.reads.retain(
                |read| !matches!(read.reader, Reader::Follower { node: other, .. } if other == node),
            );
            self.queue_read(Reader::Follower { node, question });
        } else {
            self.send_read_index(node, question, None);
        }
    }

    fn send_read_index(&mut self, to: NodeId, question: u64, read_index: Option<LogIndex>) {
        self.send(to, Body::ReadIndexReply { question, read_index }, Needs::HardState);
    }

    /// Answers the reads that a majority has confirmed. When others wait for a round that has not
    /// begun, and none is under way, begins it. Before the first commit of its term a leader does
    /// not know what is committed, so until then all reads wait (§8).
    pub(super) fn answer_confirmed_reads(&mut self) {
        self.renew_lease();
        loop {
            let Role::Leader(leader) = &self.role else { return };
            let may = self.rules.may_read(leader.knows_commit(self.commit_index));
            if leader.reads.is_empty() || !may {
                return;
            }
            let (begun, confirmed) = (leader.round, self.confirmed_round());
            let waiting = leader.reads.back().is_some_and(|read| read.round > begun);
            self.answer_reads_up_to(confirmed);
            if !waiting || confirmed < begun {
                return;
            }
            self.begin_round();
        }
    }

    /// A majority may have acknowledged another round.
    fn renew_lease(&mut self) {
        if self.config.lease_reads && self.is_leader() {
            let confirmed = self.confirmed_round();
            if let Role::Leader(leader) = &mut self.role {
                leader.lease.confirm(confirmed);
            }
        }
    }

    /// The latest round that a majority has acknowledged; the leader acknowledges its own.
    fn confirmed_round(&self) -> u64 {
        let Role::Leader(leader) = &self.role else { return 0 };
        self.rules.majority_value(self.membership(), |voter: NodeId| {
            if voter == self.id {
                return leader.round;
            }
            leader.progress.get(&voter).map_or(0, |peer| peer.acked_round)
        })
    }

    fn answer_reads_up_to(&mut self, round: u64) {
        let Role::Leader(leader) = &mut self.role else { return };
        let confirmed = leader.reads.iter().take_while(|read| read.round <= round).count();
        if confirmed == 0 {
            return;
        }
        let safe: Vec<PendingRead> = leader.reads.drain(..confirmed).collect();
        let reads = safe.len() as u64;
        self.recorder.emit(|| EventKind::ReadsConfirmed { round, reads });
        let read_index = self.commit_index;
        for read in safe {
            match read.reader {
                Reader::Client(request) => {
                    self.respond(request, Outcome::ReadReady { read_index });
                }
                Reader::Follower { node, question } => {
                    self.send_read_index(node, question, Some(read_index));
                }
            }
        }
    }

    // The follower's side

    /// Asks the leader on behalf of all that wait, unless a question is under way.
    pub(super) fn ask_for_read_index(&mut self) {
        let (number, now) = (self.recorder.next_seq(), self.now);
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(leader) = follower.leader else { return };
        let reads = &mut follower.reads;
        if reads.asked.is_some() || reads.waiting.is_empty() {
            return;
        }
        let requests = std::mem::take(&mut reads.waiting);
        reads.asked = Some(Question { number, requests, asked_at: now });
        self.send(leader, Body::ReadIndex { question: number }, Needs::HardState);
    }

    /// A question or its answer may be lost: asks again when the leader is heard and the answer is
    /// overdue.
    pub(super) fn repeat_question(&mut self) {
        let (now, patience) = (self.now, 2 * self.config.heartbeat_interval);
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(leader) = follower.leader else { return };
        match &mut follower.reads.asked {
            Some(question) if now.since(question.asked_at) >= patience => {
                question.asked_at = now;
                let question = question.number;
                self.send(leader, Body::ReadIndex { question }, Needs::HardState);
            }
            Some(_) => {}
            None => self.ask_for_read_index(),
        }
    }

    pub(super) fn on_read_index_reply(&mut self, question: u64, read_index: Option<LogIndex>) {
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(asked) = follower.reads.asked.take_if(|asked| asked.number == question) else {
            return;
        };
        if let Some(index) = read_index {
            follower.reads.confirmed.push_back((index, asked.requests));
            self.answer_follower_reads();
        } else {
            self.refuse_reads(asked.requests);
        }
        self.ask_for_read_index();
    }

    /// Answers the reads whose index is committed here, and so applied by the end of this step.
    pub(super) fn answer_follower_reads(&mut self) {
        loop {
            let commit_index = self.commit_index;
            let Role::Follower(follower) = &mut self.role else { return };
            let ready = follower.reads.confirmed.pop_front_if(|(index, _)| *index <= commit_index);
            let Some((read_index, requests)) = ready else { return };
            for request in requests {
                self.respond(request, Outcome::ReadReady { read_index });
            }
        }
    }

    /// Reads that cannot be answered here any more: nothing happened, ask another server.
    pub(super) fn refuse_reads(&mut self, requests: impl IntoIterator<Item = RequestId>) {
        for request in requests {
            self.respond(request, Outcome::NotLeader { leader: self.leader() });
        }
    }
}
