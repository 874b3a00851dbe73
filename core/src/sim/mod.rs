//! A whole cluster in one thread: replicas, network, disks and clients, with one clock and one
//! seed.
//!
//! The simulation does not poll: it jumps to the next queued happening. The seed, the configuration
//! and the journal of [`Action`]s determine the whole run. The same three give exactly the same
//! events, natively and in wasm.

mod action;
mod client;
mod clock;
mod disk;
mod fault;
mod messages;
mod network;
mod queue;
mod run;
mod server;
mod shrink;
mod swarm;
mod timeline;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

pub use action::{Action, ActionError, MAX_SERVERS};
use client::Clients;
pub use client::Reading;
pub use disk::DiskConfig;
use disk::SyncEnd;
use network::Network;
pub use network::{Flying, NetworkConfig};
use queue::{Happening, Queue};
pub use run::{JournalEntry, Moment, SimConfig};
use server::Server;
pub use shrink::shrink;
pub use swarm::{Failure, Outcome, Swarm, judge};
pub use timeline::{BranchId, BranchInfo, Difference, Timeline};

use crate::digest::StableHasher;
use crate::durable::Bootstrap;
use crate::event::{Event, EventKind, Fault, Timer};
use crate::history::Operation;
use crate::invariant::{Checker, Violation};
use crate::membership::Membership;
use crate::node::Recorder;
use crate::random::Random;
use crate::replica::{Input, Output, Replica};
use crate::rules::Rules;
use crate::snapshot::SnapshotMeta;
use crate::types::{EventId, LogIndex, NodeId, RequestId, Time};

/// A simulated cluster with its network, disks and clients.
#[derive(Clone, Debug)]
pub struct Simulation {
    config: SimConfig,
    now: Time,
    queue: Queue,
    servers: BTreeMap<NodeId, Server>,
    network: Network,
    clients: Clients,
    random: Random,
    /// Records the events of the environment.
    world: Recorder,
    events: Vec<Event>,
    digest: StableHasher,
    checker: Checker,
    journal: Vec<JournalEntry>,
    /// How many happenings were processed.
    happened: u64,
    /// The requests without an answer, each with the server that owes it and that server's run.
    waiting: BTreeMap<RequestId, (NodeId, u64)>,
}

impl Simulation {
    /// A cluster at time 0, with all servers just started.
    ///
    /// # Panics
    /// When the configuration is invalid (see [`crate::config::Config::validate`]) or has no
    /// servers.
    pub fn new(config: SimConfig) -> Self {
        config.node.validate().expect("the caller has validated the configuration");
        assert!(config.servers > 0, "a cluster has at least one server");
        let random = Random::new(config.seed);
        let ids = (1..=config.servers).map(NodeId);
        let servers = ids.map(|id| (id, Server::new(id, config.disk))).collect();
        let mut simulation = Self {
            now: Time(0),
            queue: Queue::default(),
            servers,
            network: Network::new(config.network),
            clients: Clients::default(),
            random,
            world: Recorder::new(NodeId::ENVIRONMENT, 1, true, Time(0)),
            events: Vec::new(),
            digest: StableHasher::default(),
            checker: Checker::default(),
            journal: Vec::new(),
            happened: 0,
            waiting: BTreeMap::new(),
            config,
        };
        for id in simulation.ids() {
            simulation.start(id);
        }
        simulation
    }

    /// Replays a journal up to `until`.
    pub fn replay(config: SimConfig, journal: &[JournalEntry], until: Moment) -> Self {
        let mut simulation = Self::new(config);
        for entry in journal.iter().take_while(|entry| entry.at <= until) {
            simulation.run_to(entry.at);
            // Only a journal that was tampered with holds impossible actions. They are skipped.
            let _ = simulation.act(entry.action.clone());
        }
        simulation.run_to(until);
        simulation
    }

    // Queries

    /// The simulated time.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The current point of the run.
    pub const fn moment(&self) -> Moment {
        Moment { happened: self.happened, time: self.now }
    }

    /// The configuration of the run.
    pub const fn config(&self) -> &SimConfig {
        &self.config
    }

    /// The actions that were taken, and when.
    pub fn journal(&self) -> &[JournalEntry] {
        &self.journal
    }

    /// A hash over all events so far.
    pub fn digest(&self) -> u64 {
        std::hash::Hasher::finish(&self.digest)
    }

    /// The violations of properties that were found, first to last.
    pub fn violations(&self) -> &[Violation] {
        self.checker.violations()
    }

    /// The operations of clients, for the linearizability check.
    pub fn history(&self) -> Vec<Operation> {
        self.clients.history()
    }

    /// The results of reads, oldest first.
    pub fn readings(&self) -> &[Reading] {
        self.clients.readings()
    }

    /// The ids of all servers.
    pub fn ids(&self) -> Vec<NodeId> {
        self.servers.keys().copied().collect()
    }

    /// How many servers have a damaged disk, which must be wiped before they can start again.
    pub fn damaged(&self) -> u64 {
        self.servers.values().filter(|server| server.disk.is_damaged()).count() as u64
    }

    /// Whether a server's disk is damaged and must be wiped before the server can start again.
    pub fn is_damaged(&self, id: NodeId) -> bool {
        self.servers.get(&id).is_some_and(|server| server.disk.is_damaged())
    }

    /// The servers whose disks were wiped at some time. An added server does not count as wiped.
    pub fn wiped(&self) -> impl Iterator<Item = NodeId> {
        self.servers.iter().filter(|(_, server)| server.wiped.is_some()).map(|(id, _)| *id)
    }

    /// Whether the cluster has removed a server since the server lost its disk.
    fn has_left(&self, node: NodeId) -> bool {
        let wiped = self.servers.get(&node).and_then(|server| server.wiped);
        wiped.is_some_and(|wiped| wiped.left)
    }

    /// A server's replica; `None` while the server is down.
    pub fn replica(&self, id: NodeId) -> Option<&Replica> {
        self.servers.get(&id)?.replica.as_ref()
    }

    /// The requests that running servers accepted and have not answered.
    pub fn unanswered(&self) -> impl Iterator<Item = (RequestId, NodeId)> {
        let owed = self.waiting.iter().filter(|(_, (node, run))| self.is_run(*node, *run));
        owed.map(|(request, (node, _))| (*request, *node))
    }

    /// How many bytes one server has sent to another; 0 without [`SimConfig::through_bytes`].
    pub fn sent_bytes(&self, from: NodeId, to: NodeId) -> u64 {
        self.network.sent_bytes(from, to)
    }

    /// The running leader with the highest term.
    pub fn leader(&self) -> Option<NodeId> {
        let running = self.servers.values().filter_map(|server| server.replica.as_ref());
        running
            .map(Replica::status)
            .filter(|status| status.role == crate::event::RoleName::Leader)
            .max_by_key(|status| status.term)
            .map(|status| status.id)
    }

    /// The events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    // Time

    /// When the next happening is due; `None` if nothing is queued.
    pub fn next_at(&self) -> Option<Time> {
        self.queue.next_at()
    }

    /// Processes the next happening. Returns false if nothing is queued.
    pub fn step(&mut self) -> bool {
        let Some((time, happening)) = self.queue.pop() else { return false };
        assert!(time >= self.now, "time does not go back");
        self.now = time;
        self.happened += 1;
        self.happen(happening);
        true
    }

    /// Processes everything up to and including `time`, which becomes the present.
    pub fn run_until(&mut self, time: Time) {
        while self.next_at().is_some_and(|next| next <= time) {
            self.step();
        }
        self.now = self.now.max(time);
    }

    /// Processes everything up to a moment of this run.
    fn run_to(&mut self, moment: Moment) {
        while self.happened < moment.happened && self.step() {}
        self.now = self.now.max(moment.time);
    }

    /// Processes happenings while `goes_on` returns true, but none after `limit`. Returns whether
    /// `goes_on` became false.
    pub fn run_while(&mut self, limit: Time, mut goes_on: impl FnMut(&Self) -> bool) -> bool {
        while goes_on(self) {
            if self.next_at().is_none_or(|next| next > limit) {
                return false;
            }
            self.step();
        }
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { message } => self.arrive(message),
            Happening::Vanish { message, why } => self.dropped(message, why),
            Happening::SendFailed { node, run, peer } => {
                if self.is_run(node, run) {
                    self.input(node, Input::SendFailed(peer));
                }
            }
            Happening::Tick { node, run } => self.tick(node, run),
            Happening::Synced { node, run } => self.synced(node, run),
            Happening::SnapshotSaved { node, run, meta } => self.snapshot_saved(node, run, meta),
        }
    }

    // Servers

    fn is_run(&self, node: NodeId, run: u64) -> bool {
        self.servers.get(&node).is_some_and(|server| server.run == run && server.replica.is_some())
    }

    /// Starts a server from its disk.
    fn start(&mut self, id: NodeId) {
        // The founders know each other from the start. All other servers must be added.
        let founders = (1..=self.config.servers).map(NodeId);
        let seed = self.random.any();
        let rules = Rules::breaking(self.config.mutation);
        let (config, semantics) = (self.config.node.clone(), self.config.semantics);
        let Some(server) = self.servers.get_mut(&id) else { return };
        let membership =
            if server.stranger { Membership::default() } else { Membership::of(founders) };
        server.start(config, Bootstrap { membership }, semantics, rules, seed, self.now);
        self.after_step(id);
    }

    /// Starts a server with an empty disk that is not a member of the cluster.
    fn add_server(&mut self, id: NodeId) {
        let disk = self.servers.values().next().map_or(self.config.disk, |it| it.disk.config);
        let mut server = Server::new(id, disk);
        server.stranger = true;
        self.servers.insert(id, server);
        self.start(id);
    }

    /// Passes an input to a server, or keeps it while the server is frozen.
    fn input(&mut self, id: NodeId, input: Input) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        let Some(replica) = &mut server.replica else { return };
        if server.frozen {
            server.inbox.push((self.now, input));
            return;
        }
        replica.step(server.clock.local(self.now), input);
        self.after_step(id);
    }

    /// Changes a server's state without a log entry.
    fn spoil_state(&mut self, id: NodeId) {
        let replica = self.servers.get_mut(&id).and_then(|server| server.replica.as_mut());
        if let Some(replica) = replica {
            replica.spoil_state();
        }
    }

    /// Collects the events of a server's step, and carries out its outputs.
    fn after_step(&mut self, id: NodeId) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        let Some(replica) = &mut server.replica else { return };
        let events: Vec<Event> = replica.events().collect();
        let outputs: Vec<Output> = replica.outputs().collect();
        let due = replica.deadline().filter(|_| !waits_for_command(&self.config, replica));
        let due = due.map(|due| server.clock.truly(due).max(self.now));
        let (run, next_tick) = (server.run, server.tick_at);
        if let Some(due) = due.filter(|due| next_tick.is_none_or(|next| *due < next)) {
            server.tick_at = Some(due);
            self.queue.push(due, Happening::Tick { node: id, run });
        }
        for event in events {
            if let EventKind::ConfigurationCommitted { index, membership } = &event.kind {
                self.note_departures(*index, membership);
            }
            Self::observe(&mut self.digest, &mut self.checker, &mut self.events, event);
        }
        for output in outputs {
            self.carry_out(id, output);
        }
    }

    /// Handles a configuration that was committed at `index`. A server has left if it lost its disk
    /// before and is not a voter there.
    fn note_departures(&mut self, index: LogIndex, membership: &Membership) {
        for (id, server) in &mut self.servers {
            if let Some(wiped) = &mut server.wiped {
                wiped.left |= index > wiped.at && !membership.is_voter(*id);
            }
        }
    }

    fn carry_out(&mut self, id: NodeId, output: Output) {
        match output {
            Output::Send(message) => self.send(message),
            Output::Respond(request, outcome) => {
                self.waiting.remove(&request);
                let store = self.servers.get(&id).and_then(|it| it.replica.as_ref());
                self.clients.answered(self.now, request, &outcome, store.map(Replica::store));
            }
            Output::Persist(write) => {
                let Some(server) = self.servers.get_mut(&id) else { return };
                let write =
                    if self.config.goes_through_bytes() { wire::write(&write) } else { write };
                server.disk.submit(write);
                self.sync(id);
            }
            Output::SaveSnapshot(snapshot) => {
                let Some(server) = self.servers.get_mut(&id) else { return };
                let snapshot = if self.config.goes_through_bytes() {
                    wire::snapshot(&snapshot, self.config.node.max_chunk_bytes)
                } else {
                    *snapshot
                };
                let span = server.disk.save_time(&snapshot, &mut self.random);
                let meta = server.disk.save_snapshot(snapshot);
                let due = self.now.after(span);
                let run = server.run;
                self.queue.push(due, Happening::SnapshotSaved { node: id, run, meta });
            }
        }
    }

    fn tick(&mut self, id: NodeId, run: u64) {
        if !self.is_run(id, run) {
            return;
        }
        let Some(server) = self.servers.get_mut(&id) else { return };
        if server.tick_at != Some(self.now) {
            // The timer was reset to an earlier time, for which another tick is queued.
            return;
        }
        server.tick_at = None;
        let due = server.replica.as_ref().and_then(Replica::deadline);
        if due.is_some_and(|due| due <= server.clock.local(self.now)) {
            self.input(id, Input::Tick);
        } else {
            self.after_step(id);
        }
    }

    // Disks

    /// Starts a sync of waiting batches, unless a sync is already running.
    fn sync(&mut self, id: NodeId) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        if server.disk.begin_sync() {
            let due = self.now.after(server.disk.sync_time(&mut self.random));
            self.queue.push(due, Happening::Synced { node: id, run: server.run });
        }
    }

    fn synced(&mut self, id: NodeId, run: u64) {
        if !self.is_run(id, run) {
            return;
        }
        let Some(server) = self.servers.get_mut(&id) else { return };
        if server.disk.faults.stalled {
            server.disk.late.push(Happening::Synced { node: id, run });
            return;
        }
        match server.disk.end_sync() {
            Some(SyncEnd::Durable(write)) => {
                self.sync(id);
                self.input(id, Input::Persisted(write));
            }
            Some(SyncEnd::Failed(write)) => self.input(id, Input::PersistFailed(write)),
            None => {}
        }
    }

    fn snapshot_saved(&mut self, id: NodeId, run: u64, meta: SnapshotMeta) {
        if !self.is_run(id, run) {
            return;
        }
        let Some(server) = self.servers.get_mut(&id) else { return };
        if server.disk.faults.stalled {
            server.disk.late.push(Happening::SnapshotSaved { node: id, run, meta });
        } else if server.disk.end_save(&meta) {
            self.input(id, Input::SnapshotSaved(meta));
        } else {
            self.record(None, EventKind::Fault(Fault::SnapshotNotSaved { node: id }));
            self.input(id, Input::SnapshotFailed(meta));
        }
    }

    // Events

    /// Records an event of the environment.
    fn record(&mut self, cause: Option<EventId>, kind: EventKind) -> EventId {
        self.world.begin(self.now);
        self.world.set_cause(cause);
        let id = self.world.emit(|| kind);
        for event in self.world.events.drain(..) {
            Self::observe(&mut self.digest, &mut self.checker, &mut self.events, event);
        }
        id
    }

    fn observe(
        digest: &mut StableHasher,
        checker: &mut Checker,
        events: &mut Vec<Event>,
        event: Event,
    ) {
        event.hash(digest);
        checker.observe(&event);
        events.push(event);
    }
}

/// Whether the running timer is an election timer that only an action lets expire.
fn waits_for_command(config: &SimConfig, replica: &Replica) -> bool {
    config.manual_elections && replica.running_timer() == Timer::Election
}

/// The directed pairs of servers that a partition separates.
fn pairs_apart(groups: &[BTreeSet<NodeId>], ids: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    let side = |id: &NodeId| groups.iter().position(|group| group.contains(id));
    let pairs = ids.iter().flat_map(|from| ids.iter().map(move |to| (*from, *to)));
    pairs.filter(|(from, to)| from != to && side(from) != side(to)).collect()
}
