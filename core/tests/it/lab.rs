//! Shared helpers of the tests: a simulated cluster, and a single replica whose disk and network
//! the test plays itself.

use std::collections::BTreeSet;

use raft_core::config::Config;
use raft_core::durable::{Bootstrap, HardState, Recovered, Write};
use raft_core::event::{Event, Outcome, RoleName};
use raft_core::kv::{Command, KvStore, Snapshot};
use raft_core::limits::Semantics;
use raft_core::membership::Membership;
use raft_core::message::{Body, Message};
use raft_core::replica::{Input, Output, Proposal, Replica, Start};
use raft_core::sim::{Action, SimConfig, Simulation};
use raft_core::snapshot::SnapshotMeta;
use raft_core::types::{MILLISECOND, Micros, NodeId, RequestId, SECOND, Term, Time};

/// Marks a test that runs natively and in wasm.
#[cfg(not(target_family = "wasm"))]
pub(crate) use core::prelude::v1::test as check;
#[cfg(target_family = "wasm")]
pub(crate) use wasm_bindgen_test::wasm_bindgen_test as check;

pub(crate) const S1: NodeId = NodeId(1);
pub(crate) const S2: NodeId = NodeId(2);
pub(crate) const S3: NodeId = NodeId(3);

/// How long a test waits for an event, in simulated time.
const PATIENCE: Micros = 10 * SECOND;

/// A simulated cluster.
pub(crate) struct Cluster {
    pub(crate) sim: Simulation,
    pub(crate) events: Vec<Event>,
}

impl Cluster {
    pub(crate) fn new(config: SimConfig) -> Self {
        Self { sim: Simulation::new(config), events: Vec::new() }
    }

    /// A cluster of this many servers whose leader has committed.
    pub(crate) fn led(servers: u64, seed: u64) -> Self {
        let mut cluster = Self::new(SimConfig { seed, servers, ..SimConfig::default() });
        cluster.await_leader();
        cluster
    }

    pub(crate) fn act(&mut self, action: Action) -> Option<RequestId> {
        self.sim.act(action).expect("the test does what is possible")
    }

    /// Runs until `done` holds; panics after [`PATIENCE`].
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&Simulation) -> bool) {
        let limit = self.sim.now().after(PATIENCE);
        let came = self.sim.run_while(limit, |sim| !done(sim));
        self.events.extend(self.sim.take_events());
        assert!(came, "seed {}: {what} did not come", self.sim.config().seed);
        assert_eq!(self.sim.violations(), [], "seed {}", self.sim.config().seed);
    }

    pub(crate) fn pass(&mut self, span: Micros) {
        self.sim.run_until(self.sim.now().after(span));
        self.events.extend(self.sim.take_events());
        assert_eq!(self.sim.violations(), [], "seed {}", self.sim.config().seed);
    }

    /// Runs until a leader has committed in its own term.
    pub(crate) fn await_leader(&mut self) -> NodeId {
        self.until("a leader", |sim| {
            let leader = sim.leader().and_then(|leader| sim.replica(leader));
            leader.is_some_and(|it| it.last_applied().term == it.status().term)
        });
        self.sim.leader().expect("just seen")
    }

    /// Writes at the leader and waits until it has applied the write.
    pub(crate) fn put(&mut self, key: &'static str, value: &'static str) {
        let node = self.await_leader();
        self.act(Action::Write { node, command: Command::put(key, value) });
        self.until("the write", |sim| value_at(sim, node, key).as_deref() == Some(value));
    }

    /// Runs until these servers hold the value.
    pub(crate) fn await_value(&mut self, nodes: &[NodeId], key: &str, value: &str) {
        self.until("the value", |sim| {
            nodes.iter().all(|node| value_at(sim, *node, key).as_deref() == Some(value))
        });
    }

    pub(crate) fn others(&self, node: NodeId) -> Vec<NodeId> {
        self.sim.ids().into_iter().filter(|other| *other != node).collect()
    }

    pub(crate) fn isolate(&mut self, node: NodeId) {
        self.act(Action::Partition(vec![BTreeSet::from([node])]));
    }
}

pub(crate) fn value_at(sim: &Simulation, node: NodeId, key: &str) -> Option<String> {
    let value = sim.replica(node)?.store().get(key.as_bytes())?;
    Some(String::from_utf8_lossy(&value.value).into_owned())
}

/// One replica of three. The test plays its disk, its network and its clock.
pub(crate) struct Alone {
    pub(crate) replica: Replica,
    pub(crate) now: Time,
    pub(crate) events: Vec<Event>,
    pub(crate) sent: Vec<Message>,
    pub(crate) writes: Vec<Write>,
    pub(crate) answers: Vec<(RequestId, Outcome)>,
    pub(crate) snapshots: Vec<Snapshot>,
    /// The hard state of the latest write.
    pub(crate) hard_state: HardState,
}

impl Alone {
    pub(crate) fn new() -> Self {
        Self::recovered(Recovered::default(), None, Config::default())
    }

    pub(crate) fn recovered(
        recovered: Recovered,
        snapshot: Option<Snapshot>,
        config: Config,
    ) -> Self {
        let membership = Membership::of([S1, S2, S3]);
        Self::started(membership, recovered, snapshot, config)
    }

    /// A server with an empty disk that knows no members.
    pub(crate) fn stranger() -> Self {
        Self::started(Membership::default(), Recovered::default(), None, Config::default())
    }

    fn started(
        membership: Membership,
        recovered: Recovered,
        snapshot: Option<Snapshot>,
        config: Config,
    ) -> Self {
        let bootstrap = Bootstrap { membership };
        let hard_state = recovered.hard_state;
        let semantics = Semantics::LATEST;
        let (seed, first_seq) = (7, 1);
        let start =
            Start { id: S1, config, bootstrap, recovered, snapshot, semantics, seed, first_seq };
        let replica = Replica::new(start, Time(0), true);
        let mut alone = Self {
            replica,
            now: Time(0),
            events: Vec::new(),
            sent: Vec::new(),
            writes: Vec::new(),
            answers: Vec::new(),
            snapshots: Vec::new(),
            hard_state,
        };
        alone.take();
        alone
    }

    /// A leader of term 1 whose no-op is committed.
    pub(crate) fn leader() -> Self {
        Self::leader_with(Config::default())
    }

    /// The same with this configuration.
    pub(crate) fn leader_with(config: Config) -> Self {
        Self::recovered(Recovered::default(), None, config).elected()
    }

    /// The same with a state that follows these rules.
    pub(crate) fn leader_under(semantics: Semantics) -> Self {
        let membership = Membership::of([S1, S2, S3]);
        let meta = SnapshotMeta { membership, ..SnapshotMeta::default() };
        let snapshot = Snapshot { meta, store: KvStore::under(semantics) };
        Self::recovered(Recovered::default(), Some(snapshot), Config::default()).elected()
    }

    fn elected(self) -> Self {
        self.elected_in(1)
    }

    /// Makes it the leader of this term, with its no-op committed.
    pub(crate) fn elected_in(self, term: u64) -> Self {
        let mut alone = self;
        alone.time_out();
        alone.receive(S2, term - 1, Body::PreVoteReply { next_term: Term(term), granted: true });
        alone.persist_all();
        alone.receive(S2, term, Body::RequestVoteReply { granted: true });
        alone.persist_all();
        let status = alone.replica.status();
        assert_eq!(status.role, RoleName::Leader);
        alone.accept(S2, status.last.index.0);
        alone.sent.clear();
        alone.events.clear();
        alone
    }

    pub(crate) fn step(&mut self, input: Input) {
        self.replica.step(self.now, input);
        self.take();
    }

    fn take(&mut self) {
        self.events.extend(self.replica.events());
        for output in self.replica.outputs() {
            match output {
                Output::Persist(write) => {
                    self.hard_state = write.hard_state;
                    self.writes.push(write);
                }
                Output::Send(message) => self.sent.push(message),
                Output::Respond(request, outcome) => self.answers.push((request, outcome)),
                Output::SaveSnapshot(snapshot) => self.snapshots.push(*snapshot),
            }
        }
    }

    /// Advances to the deadline and fires the timer.
    pub(crate) fn time_out(&mut self) {
        self.now = self.replica.deadline().expect("a timer runs").max(self.now);
        self.step(Input::Tick);
    }

    pub(crate) fn pass(&mut self, span: Micros) {
        self.now = self.now.after(span);
        while self.replica.deadline().is_some_and(|due| due <= self.now) {
            self.step(Input::Tick);
        }
    }

    pub(crate) fn receive(&mut self, from: NodeId, term: u64, body: Body) {
        let message = Message { from, to: S1, seq: 0, term: Term(term), body };
        self.step(Input::Receive(message));
    }

    /// The same for a message that was in flight for `age`.
    pub(crate) fn receive_aged(&mut self, from: NodeId, term: u64, body: Body, age: Micros) {
        let message = Message { from, to: S1, seq: 0, term: Term(term), body };
        self.step(Input::ReceiveAged { message, age });
    }

    /// `from` accepts up to `index`, in the leader's latest round.
    pub(crate) fn accept(&mut self, from: NodeId, index: u64) {
        let rounds = self.sent.iter().filter_map(|message| match &message.body {
            Body::AppendEntries { round, .. } => Some(*round),
            _ => None,
        });
        let round = rounds.max().unwrap_or(0);
        let term = self.replica.status().term.0;
        let result = raft_core::message::AppendResult::Accepted { match_index: index.into() };
        self.receive(from, term, Body::AppendEntriesReply { round, result });
    }

    pub(crate) fn propose(&mut self, request: u64, key: &'static str, value: &'static str) {
        let command = Command::put(key, value).encode();
        let proposal = Proposal { request: RequestId(request), command };
        self.step(Input::Propose(vec![proposal]));
    }

    /// Completes all pending writes.
    pub(crate) fn persist_all(&mut self) {
        for write in std::mem::take(&mut self.writes) {
            self.step(Input::Persisted(write.id));
        }
    }

    pub(crate) fn take_sent(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.sent)
    }
}

/// Half of the shortest election timeout.
pub(crate) const SHORT: Micros = 75 * MILLISECOND;
