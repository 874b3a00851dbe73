//! Linearizable reads without a log entry (§8; dissertation §6.4).
//!
//! The leader may answer a read once a majority has acknowledged a heartbeat round that began after
//! the read arrived. Then no newer leader had been elected when the round began, so this leader's
//! log holds everything committed before. One round confirms all reads that waited for it. A
//! follower asks its leader for that index and answers once it has applied it.
//!
//! With a lease, a leader answers at once (dissertation §6.4.1). A voter that acknowledged a round
//! refuses every candidate for the minimum election timeout. No other server can lead for that
//! long, minus the clock drift.
//!
//! **Invariant:** A follower's question for a read carries the number of its next event. Such
//! numbers never repeat, not even after a restart. A late answer to an earlier question therefore
//! confirms no newer read.

use std::collections::VecDeque;

use super::Node;
use super::gate::Needs;
use super::role::Role;
use crate::event::{EventKind, Outcome};
use crate::message::Body;
use crate::types::{LogIndex, NodeId, RequestId, Time};

/// A read that waits for confirmation (§8).
#[derive(Clone, Debug)]
pub(crate) struct PendingRead {
    pub(crate) reader: Reader,
    /// The first round that begins after the read arrived.
    pub(crate) round: u64,
    /// When the read arrived.
    pub(crate) since: Time,
}

/// The client or follower that waits for a leader's confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    Client(RequestId),
    /// A follower with reads of its own clients.
    Follower {
        node: NodeId,
        question: u64,
    },
}

/// How long a leader is certain to be the only leader.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lease {
    /// The start of each round that no majority has acknowledged yet.
    rounds: VecDeque<(u64, Time)>,
    /// The start of the latest round that a majority has acknowledged.
    confirmed_at: Option<Time>,
    /// Set when this leader told another server to campaign: voters may then elect that server.
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

/// The reads of a follower's clients. Confirmed reads arrived before asked reads, and asked reads
/// before waiting reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct FollowerReads {
    /// Reads that arrived after the pending question was sent.
    waiting: Vec<ClientRead>,
    asked: Option<Question>,
    /// Reads that may be answered once this index is committed here.
    confirmed: VecDeque<(LogIndex, Vec<ClientRead>)>,
}

/// A client's read at a follower, and when it arrived.
#[derive(Clone, Copy, Debug)]
struct ClientRead {
    request: RequestId,
    since: Time,
}

#[derive(Clone, Debug)]
struct Question {
    /// Increases across restarts of this server, to recognise late answers to earlier questions.
    number: u64,
    reads: Vec<ClientRead>,
    asked_at: Time,
}

impl FollowerReads {
    /// All pending requests.
    pub(super) fn into_requests(self) -> impl Iterator<Item = RequestId> {
        let asked = self.asked.into_iter().flat_map(|question| question.reads);
        let confirmed = self.confirmed.into_iter().flat_map(|(_, reads)| reads);
        confirmed.chain(asked).chain(self.waiting).map(|read| read.request)
    }

    /// Whether no read is pending.
    #[cfg(feature = "sim")]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_none() && self.confirmed.is_empty()
    }

    /// Queues unconfirmed reads again, for another leader. Confirmed reads stay confirmed.
    pub(super) fn ask_anew(self) -> Self {
        let mut waiting = self.asked.map_or_else(Vec::new, |question| question.reads);
        waiting.extend(self.waiting);
        Self { waiting, asked: None, confirmed: self.confirmed }
    }

    /// When the oldest read arrived.
    fn oldest(&self) -> Option<Time> {
        let confirmed = self.confirmed.iter().flat_map(|(_, reads)| reads);
        let asked = self.asked.iter().flat_map(|question| &question.reads);
        confirmed.chain(asked).chain(&self.waiting).next().map(|read| read.since)
    }

    /// Removes and returns the reads that arrived at `limit` or before.
    fn take_since(&mut self, limit: Time) -> Vec<RequestId> {
        let mut taken = Vec::new();
        let mut keep = |read: &ClientRead| {
            if read.since <= limit {
                taken.push(read.request);
            }
            read.since > limit
        };
        self.confirmed.iter_mut().for_each(|(_, reads)| reads.retain(&mut keep));
        if let Some(question) = &mut self.asked {
            question.reads.retain(&mut keep);
        }
        self.waiting.retain(&mut keep);
        self.confirmed.retain(|(_, reads)| !reads.is_empty());
        self.asked.take_if(|question| question.reads.is_empty());
        taken
    }
}

impl Node {
    /// Handles a client's read. With `lease`, a leader that holds a lease answers without a round.
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
                follower.reads.waiting.push(ClientRead { request, since: self.now });
                self.ask_for_read_index();
            }
            Role::Follower(_) | Role::Candidate(_) => {
                self.respond(request, Outcome::NotLeader { leader: None });
            }
        }
    }

    // The leader's side

    fn queue_read(&mut self, reader: Reader) {
        let since = self.now;
        let Role::Leader(leader) = &mut self.role else { return };
        let round = leader.round + 1;
        leader.reads.push_back(PendingRead { reader, round, since });
        if self.rules.confirms_reads() {
            self.answer_confirmed_reads();
        } else {
            self.answer_reads_up_to(u64::MAX);
        }
    }

    /// Whether no other server can lead now. False before the first commit of the term (§8), during
    /// a transfer, and once another server was told to campaign.
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

    /// Handles a follower's question for a read index. A follower asks one question at a time and
    /// repeats it until it is answered, so a pending question keeps its place.
    pub(super) fn on_read_index(&mut self, node: NodeId, question: u64) {
        let Role::Leader(leader) = &mut self.role else {
            self.send_read_index(node, question, None);
            return;
        };
        if !leader.progress.contains_key(&node) {
            self.send_read_index(node, question, None);
            return;
        }
        let pending = |read: &PendingRead| match read.reader {
            Reader::Follower { node: other, question } if other == node => Some(question),
            Reader::Follower { .. } | Reader::Client(_) => None,
        };
        let asked = leader.reads.iter().enumerate().find_map(|(at, it)| Some((at, pending(it)?)));
        match asked {
            Some((_, earlier)) if question <= earlier => return,
            // The follower has given up the earlier question.
            Some((at, _)) => {
                leader.reads.remove(at);
            }
            None => {}
        }
        self.queue_read(Reader::Follower { node, question });
    }

    /// Answers the reads that were not confirmed in time, to free their memory.
    pub(super) fn give_up_reads_in_time(&mut self) {
        let (now, patience) = (self.now, self.config.read_timeout);
        let late = |since: Time| now.since(since) >= patience;
        match &mut self.role {
            Role::Leader(leader) => {
                let given_up = leader.reads.iter().take_while(|read| late(read.since)).count();
                for read in leader.reads.drain(..given_up).collect::<Vec<_>>() {
                    match read.reader {
                        Reader::Client(request) => self.respond(request, Outcome::Unknown),
                        Reader::Follower { node, question } => {
                            self.send_read_index(node, question, None);
                        }
                    }
                }
            }
            Role::Follower(follower) => {
                if !follower.reads.oldest().is_some_and(late) {
                    return;
                }
                let limit = Time(now.0.saturating_sub(patience));
                for request in follower.reads.take_since(limit) {
                    self.respond(request, Outcome::Unknown);
                }
            }
            Role::Candidate(_) => {}
        }
    }

    fn send_read_index(&mut self, to: NodeId, question: u64, read_index: Option<LogIndex>) {
        self.send(to, Body::ReadIndexReply { question, read_index }, Needs::HardState);
    }

    /// Answers the reads that a majority has confirmed. Begins a new round if reads wait for it and
    /// no round is pending. Before the first commit of its term, a leader does not know what is
    /// committed, so all reads wait (§8).
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

    /// Extends the lease if a majority has acknowledged another round.
    pub(super) fn renew_lease(&mut self) {
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

    /// Asks the leader for the read index of all waiting reads, unless a question is pending.
    pub(super) fn ask_for_read_index(&mut self) {
        let (number, now) = (self.recorder.next_seq(), self.now);
        let Role::Follower(follower) = &mut self.role else { return };
        let Some(leader) = follower.leader else { return };
        let reads = &mut follower.reads;
        if reads.asked.is_some() || reads.waiting.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut reads.waiting);
        reads.asked = Some(Question { number, reads: waiting, asked_at: now });
        self.send(leader, Body::ReadIndex { question: number }, Needs::HardState);
    }

    /// Asks again when the leader is heard and the answer is overdue: the question or its answer
    /// may be lost.
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
            follower.reads.confirmed.push_back((index, asked.reads));
            self.answer_follower_reads();
        } else {
            self.refuse_reads(asked.reads.into_iter().map(|read| read.request));
        }
        self.ask_for_read_index();
    }

    /// Answers the reads whose index is committed here. The end of this step applies it.
    pub(super) fn answer_follower_reads(&mut self) {
        loop {
            let commit_index = self.commit_index;
            let Role::Follower(follower) = &mut self.role else { return };
            let ready = follower.reads.confirmed.pop_front_if(|(index, _)| *index <= commit_index);
            let Some((read_index, answerable)) = ready else { return };
            for read in answerable {
                self.respond(read.request, Outcome::ReadReady { read_index });
            }
        }
    }

    /// Refuses reads that this server cannot answer any more. Nothing happened, so clients may ask
    /// another server.
    pub(super) fn refuse_reads(&mut self, requests: impl IntoIterator<Item = RequestId>) {
        for request in requests {
            self.respond(request, Outcome::NotLeader { leader: self.leader() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::durable::HardState;
    use crate::log::Log;
    use crate::membership::Membership;
    use crate::node::{NodeOutput, NodeStart, Recorder};
    use crate::rules::Rules;

    /// Guards that started rounds do not accumulate: a single voter with a dead learner gets no
    /// answers that would confirm a round.
    #[test]
    fn a_leader_that_nobody_answers_remembers_no_rounds() {
        let learners = [NodeId(2)].into();
        let id = NodeId(1);
        let start = NodeStart {
            id,
            config: Config { lease_reads: true, ..Config::default() },
            rules: Rules::default(),
            seed: 1,
            hard_state: HardState::default(),
            membership: Membership { learners, ..Membership::of([id]) },
            log: Log::default(),
            commit_index: LogIndex(0),
            recorder: Recorder::new(id, 1, false, Time(0)),
        };
        let mut node = Node::new(start, Time(0));
        for _ in 0..1_000 {
            node.begin(node.deadline().expect("a timer runs"));
            node.tick();
            node.finish();
            for output in std::mem::take(&mut node.outputs) {
                if let NodeOutput::Persist(write) = output {
                    node.persisted(write.id);
                }
            }
            node.finish();
        }
        let Role::Leader(leader) = &node.role else { panic!("the only voter leads") };
        assert!(leader.round > 900);
        assert!(leader.lease.rounds.len() < 10, "{} rounds", leader.lease.rounds.len());
    }
}
