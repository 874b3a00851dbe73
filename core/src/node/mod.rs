//! One Raft server without input or output.
//!
//! A [`Node`] changes only in steps, between [`Node::begin`] and [`Node::finish`], and queues its
//! outputs. It has no clock (time is an argument), no randomness except its seed, and no knowledge
//! of keys and values. The [`crate::replica::Replica`] around it connects it with the state
//! machine.
//!
//! The protocol, in the paper's order: [`election`] (§5.2, §5.4.1), [`leader`] and [`follower`]
//! (§5.3, §5.4.2), [`membership`] (§6), [`snapshot`] (§7), [`read`] (§8), and [`transfer`]
//! (dissertation §3.10). [`gate`] holds messages back until what they depend on is
//! durable. [`promise`] keeps a voter's promise to its leader, [`sanity`] refuses messages that no
//! correct peer sends, and [`crate::rules`] makes every decision.

#[cfg(feature = "sim")]
mod canonical;
mod compare;
mod configurations;
mod election;
mod follower;
pub(crate) mod gate;
mod leader;
mod membership;
mod progress;
mod promise;
mod read;
mod recorder;
pub(crate) mod role;
mod sanity;
mod snapshot;
mod transfer;

pub(crate) use compare::ReceivedDigest;
use configurations::Configurations;
use gate::{Gate, Needs};
use promise::Promise;
use read::Reader;
pub(crate) use recorder::Recorder;
use role::{Follower, Leader, Role};
use sanity::Refused;
pub(crate) use snapshot::{ChunkRequest, ReceivedChunk};
use transfer::{HandedOver, Transfer};

use crate::config::Config;
use crate::durable::{HardState, Write};
use crate::event::{DropReason, EventKind, Outcome, RoleReason, TermReason, Timer};
use crate::log::Log;
use crate::membership::Membership;
use crate::message::{Body, Message, SnapshotChunk};
use crate::random::Random;
use crate::rules::Rules;
use crate::types::{EventId, LogIndex, Micros, NodeId, RequestId, Term, Time, WriteId};

/// What the driver should do for a node.
#[derive(Clone, Debug)]
pub(crate) enum NodeOutput {
    Persist(Write),
    Send(Message),
    Respond(RequestId, Outcome),
}

/// The running timer. Every role has exactly one timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArmedTimer {
    pub(crate) timer: Timer,
    pub(crate) due: Time,
    pub(crate) span: Micros,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    config: Config,
    rules: Rules,
    random: Random,
    now: Time,
    pub(crate) hard_state: HardState,
    configurations: Configurations,
    pub(crate) log: Log,
    pub(crate) commit_index: LogIndex,
    role: Role,
    pub(crate) timer: ArmedTimer,
    gate: Gate,
    /// The promise to the leader that it last heard.
    promise: Promise,
    /// A leadership transfer whose result is not known yet.
    handed_over: Option<HandedOver>,
    /// Messages that no correct peer sends.
    pub(crate) refused: Refused,
    /// Set once the disk fails, a committed command is unknown, or the state differs from a
    /// majority's. From then on the node does nothing.
    pub(crate) halted: bool,
    pub(crate) recorder: Recorder,
    pub(crate) outputs: Vec<NodeOutput>,
    /// Chunks that followers need, for the replica to build.
    pub(crate) chunk_requests: Vec<ChunkRequest>,
    /// Chunks from the leader, for the replica to install.
    pub(crate) received_chunks: Vec<ReceivedChunk>,
    /// Digests from peers, for the replica to compare.
    pub(crate) received_digests: Vec<ReceivedDigest>,
}

/// What a node starts from.
pub(crate) struct NodeStart {
    pub(crate) id: NodeId,
    pub(crate) config: Config,
    pub(crate) rules: Rules,
    pub(crate) seed: u64,
    pub(crate) hard_state: HardState,
    pub(crate) membership: Membership,
    pub(crate) log: Log,
    pub(crate) commit_index: LogIndex,
    pub(crate) recorder: Recorder,
}

impl Node {
    /// Creates a follower with what its disk held.
    pub(crate) fn new(start: NodeStart, now: Time) -> Self {
        assert!(start.id != NodeId::ENVIRONMENT, "server numbers start at 1");
        let gate = Gate::new(start.log.base().index, start.log.last().index);
        let entries = start.log.iter();
        let configurations = Configurations::new(start.commit_index, start.membership, entries);
        let promise = Promise::at_start(&start.config, start.hard_state.current_term, now);
        let mut node = Self {
            id: start.id,
            config: start.config,
            rules: start.rules,
            random: Random::new(start.seed),
            now,
            hard_state: start.hard_state,
            configurations,
            log: start.log,
            commit_index: start.commit_index,
            role: Role::Follower(Follower::default()),
            timer: ArmedTimer { timer: Timer::Election, due: now, span: 0 },
            gate,
            promise,
            handed_over: None,
            refused: Refused::default(),
            halted: false,
            recorder: start.recorder,
            outputs: Vec::new(),
            chunk_requests: Vec::new(),
            received_chunks: Vec::new(),
            received_digests: Vec::new(),
        };
        // The timer is not recorded: the start event contains it.
        let span = node.draw_election_timeout();
        node.timer = ArmedTimer { timer: Timer::Election, due: now.after(span), span };
        node
    }

    // Accessors

    pub(crate) const fn current_term(&self) -> Term {
        self.hard_state.current_term
    }

    pub(crate) const fn role(&self) -> &Role {
        &self.role
    }

    pub(crate) const fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    pub(crate) const fn durable_index(&self) -> LogIndex {
        self.gate.durable_index()
    }

    /// Whether the current term, vote and stranger mark are durable.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.gate.hard_state_is_durable()
    }

    pub(crate) const fn now(&self) -> Time {
        self.now
    }

    pub(crate) const fn rules(&self) -> Rules {
        self.rules
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// The leader of the current term, as far as this server knows.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.id),
        }
    }

    /// When the next tick is due.
    pub(crate) fn deadline(&self) -> Option<Time> {
        (!self.halted).then_some(self.timer.due)
    }

    // Steps

    /// Starts a step at `now`. If the clock goes back, the node's time stands still.
    pub(crate) fn begin(&mut self, now: Time) {
        self.now = self.now.max(now);
        self.recorder.begin(self.now);
    }

    /// Handles the timer if it has expired.
    pub(crate) fn tick(&mut self) {
        if self.now < self.timer.due {
            return;
        }
        let timer = self.timer.timer;
        self.recorder.emit_cause(|| EventKind::TimerFired { timer });
        match timer {
            Timer::Election => self.election_timeout(),
            Timer::Heartbeat => self.heartbeat_timeout(),
        }
    }

    /// Handles a message that was in transit for `age`. Drops what does not concern this server or
    /// its term.
    pub(crate) fn receive(&mut self, message: Message, age: Micros) {
        let (id, name) = (message.id(), message.body.name());
        self.recorder.set_cause(Some(id));
        self.recorder.emit_cause(|| EventKind::MessageReceived { message: id, name });
        // Messages of unknown members are accepted too: this server's configuration may be
        // outdated.
        if let Some(why) = self.refusal(&message) {
            let count = self.refused.count.saturating_add(1);
            self.refused = Refused { count, latest: Some((message.from, why)) };
            let why = DropReason::Refused(why);
            self.recorder.emit(|| EventKind::MessageDropped { message: id, why });
            return;
        }
        if self.take_digest(&message) {
            return;
        }
        let late = self.rules.is_late(age, self.config.election_timeout_min);
        if self.refuse_unheard(&message) {
            return;
        }
        if message.term > self.current_term() {
            self.adopt_term(message.term);
        }
        let Message { from, term, body, .. } = message;
        if term < self.current_term() {
            self.answer_stale(from, term, &body);
            return;
        }
        match body {
            Body::PreVote { next_term, last_log } => self.on_pre_vote(from, next_term, last_log),
            Body::PreVoteReply { next_term, granted } => {
                self.on_pre_vote_reply(from, next_term, granted);
            }
            Body::RequestVote { last_log, .. } => self.on_request_vote(from, last_log),
            Body::RequestVoteReply { granted } => self.on_vote_reply(from, granted),
            Body::AppendEntries { prev_log, entries, leader_commit, round } => {
                // A late message confirms no leader: its round is long over.
                let round = if late { 0 } else { round };
                self.follow(from, late);
                self.on_append_entries(from, prev_log, entries, leader_commit, round);
            }
            Body::AppendEntriesReply { round, result } => {
                self.on_append_reply(from, round, &result);
            }
            Body::InstallSnapshot { chunk, round } => {
                let SnapshotChunk { meta, cursor, data, next } = *chunk;
                let round = if late { 0 } else { round };
                self.follow(from, late);
                self.on_install_snapshot(ReceivedChunk { from, meta, cursor, data, next, round });
            }
            Body::InstallSnapshotReply { last, round, result } => {
                self.on_snapshot_reply(from, last, round, result);
            }
            // The leader gave up a late transfer long ago.
            Body::TimeoutNow if late => {}
            Body::TimeoutNow => self.on_timeout_now(from),
            Body::ReadIndex { question } => self.on_read_index(from, question),
            Body::ReadIndexReply { question, read_index } => {
                self.on_read_index_reply(question, read_index);
            }
            // Handled above.
            Body::StateDigest { .. } => {}
        }
    }

    /// Records that a batch is durable, and does what waited for it.
    pub(crate) fn persisted(&mut self, write: WriteId) {
        if !self.gate.persisted(write, self.now) {
            return;
        }
        let durable_index = self.gate.durable_index();
        self.recorder.set_cause(self.gate.durable_cause());
        self.recorder.emit_cause(|| EventKind::WritePersisted { write, durable_index });
        let term = self.current_term();
        while let Some(held) = self.gate.release(term) {
            self.send_now(held.to, held.body);
        }
        match &self.role {
            Role::Follower(_) => {}
            Role::Candidate(_) => self.count_own_vote(),
            Role::Leader(_) => self.advance_commit_index(),
        }
    }

    /// Records that a message to a peer may be lost.
    pub(crate) fn send_failed(&mut self, peer: NodeId) {
        if let Role::Leader(leader) = &mut self.role
            && let Some(progress) = leader.progress.get_mut(&peer)
        {
            progress.doubt();
        }
    }

    /// Stops because the disk failed to write a batch: the server's messages cannot be trusted any
    /// more.
    pub(crate) fn persist_failed(&mut self, write: WriteId) {
        self.recorder.emit_cause(|| EventKind::WriteFailed { write });
        self.halt(RoleReason::DiskFailed);
    }

    /// Stops for good: the server's messages cannot be trusted any more.
    pub(crate) fn halt(&mut self, why: RoleReason) {
        self.become_follower(why);
        self.end_hand_over(|_| Outcome::Unknown);
        self.gate.forget_held();
        self.outputs.retain(|output| matches!(output, NodeOutput::Respond(..)));
        self.halted = true;
    }

    /// Ends a step and submits its changes to the disk as one batch.
    pub(crate) fn finish(&mut self) {
        if self.halted {
            return;
        }
        let mut hard_state = self.hard_state;
        if !self.rules.vote_is_durable() {
            hard_state.voted_for = None;
        }
        let (last_index, cause) = (self.log.last().index, self.recorder.cause());
        let write = self.gate.submit(hard_state, last_index, self.commit_index, self.now, cause);
        if let Some(write) = write {
            self.recorder.emit(|| EventKind::WriteStarted { write: write.id, last_index });
            self.outputs.push(NodeOutput::Persist(write));
        }
    }

    // Terms and roles. Only the functions in this section change them.

    /// Adopts a higher term that was seen (§5.1).
    fn adopt_term(&mut self, term: Term) {
        self.advance_term(term, TermReason::SeenInMessage);
        self.become_follower(RoleReason::HigherTerm);
    }

    fn advance_term(&mut self, term: Term, why: TermReason) {
        let from = self.current_term();
        assert!(term > from, "terms only increase");
        // A stranger's index is valid only for the leader that sent it.
        let stranger_until = self.hard_state.stranger_until.map(|_| LogIndex::default());
        self.hard_state = HardState { current_term: term, voted_for: None, stranger_until };
        self.gate.hard_state_changed();
        self.gate.forget_held();
        self.recorder.emit(|| EventKind::TermChanged { from, to: term, why });
    }

    fn vote_for(&mut self, candidate: NodeId) {
        self.hard_state.voted_for = Some(candidate);
        self.gate.hard_state_changed();
    }

    /// Becomes a follower without a leader. Gives up requests that only a leader can answer.
    fn become_follower(&mut self, why: RoleReason) {
        match std::mem::replace(&mut self.role, Role::Follower(Follower::default())) {
            Role::Follower(old) => {
                // The next leader may confirm the pending reads.
                let reads = old.reads.ask_anew();
                self.role = Role::Follower(Follower { reads, ..Follower::default() });
            }
            Role::Candidate(_) => self.record_role(why),
            Role::Leader(old) => {
                self.record_role(why);
                self.release_requests(old);
                self.set_election_timer();
            }
        }
    }

    /// Answers a former leader's requests that wait for more than a commit.
    fn release_requests(&mut self, old: Leader) {
        for read in old.reads {
            match read.reader {
                Reader::Client(request) => {
                    self.respond(request, Outcome::NotLeader { leader: None });
                }
                // The follower asks the next leader.
                Reader::Follower { .. } => {}
            }
        }
        if let Some(request) = old.change.and_then(|change| change.request) {
            self.respond(request, Outcome::Unknown);
        }
        match old.transfer {
            Some(Transfer { request, told: true, to, named, since }) => {
                let wanted = named.then_some(to);
                self.handed_over = Some(HandedOver { request, wanted, since });
            }
            Some(Transfer { request, .. }) => {
                self.respond(request, Outcome::NotLeader { leader: None });
            }
            None => {}
        }
    }

    fn become_candidate(&mut self, pre: bool, why: RoleReason) {
        if !pre {
            self.advance_term(self.current_term().next(), TermReason::Campaign);
            self.vote_for(self.id);
            let (candidate, term) = (self.id, self.current_term());
            self.recorder.emit(|| EventKind::VoteGranted { candidate, term, pre: false });
        }
        let candidate = role::Candidate { pre, ..role::Candidate::default() };
        let old = std::mem::replace(&mut self.role, Role::Candidate(candidate));
        self.record_role(why);
        self.set_election_timer();
        if let Role::Follower(old) = old {
            self.refuse_reads(old.reads.into_requests());
        }
    }

    fn become_leader(&mut self) {
        self.role = Role::Leader(self.new_leader());
        self.record_role(RoleReason::VotesWon);
        self.leader_is_known(self.id);
        self.set_heartbeat_timer();
        self.append_noop();
    }

    /// Records the role as the cause of the events that follow.
    fn record_role(&mut self, why: RoleReason) {
        let (role, term) = (self.role.name(), self.current_term());
        self.recorder.emit_cause(|| EventKind::RoleChanged { role, term, why });
    }

    // Timers

    fn set_election_timer(&mut self) {
        let span = self.draw_election_timeout();
        self.set_timer(Timer::Election, span);
    }

    fn draw_election_timeout(&mut self) -> Micros {
        let (min, max) = (self.config.election_timeout_min, self.config.election_timeout_max);
        let drawn = self.random.between(min, max);
        self.rules.election_timeout(drawn, min)
    }

    fn set_heartbeat_timer(&mut self) {
        self.set_timer(Timer::Heartbeat, self.config.heartbeat_interval);
    }

    fn set_timer(&mut self, timer: Timer, span: Micros) {
        let due = self.now.after(span);
        self.timer = ArmedTimer { timer, due, span };
        self.recorder.emit(|| EventKind::TimerArmed { timer, due });
    }

    // Messages and answers

    /// Sends a message once what it depends on is durable.
    fn send(&mut self, to: NodeId, body: Body, needs: Needs) {
        let waits = match needs {
            Needs::HardState => self.rules.vote_is_durable(),
            Needs::Log => self.rules.acknowledges_durable_only(),
        };
        let term = self.current_term();
        let ready = if waits { self.gate.hold(to, term, body, needs) } else { Some(body) };
        if let Some(body) = ready {
            self.send_now(to, body);
        }
    }

    fn send_now(&mut self, to: NodeId, body: Body) {
        let seq = self.recorder.next_seq();
        let message = Message { from: self.id, to, seq, term: self.current_term(), body };
        let id = self.recorder.emit(|| EventKind::MessageSent(message.clone()));
        assert_eq!(id, EventId { node: self.id, seq }, "a message has the number of its sending");
        self.outputs.push(NodeOutput::Send(message));
    }

    pub(crate) fn respond(&mut self, request: RequestId, outcome: Outcome) {
        self.recorder.emit(|| EventKind::ClientAnswer { request, outcome: outcome.clone() });
        self.outputs.push(NodeOutput::Respond(request, outcome));
    }
}
