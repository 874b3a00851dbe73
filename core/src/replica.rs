//! A server as a driver sees it: consensus, the state machine, and the requests that wait.
//!
//! The driver hands in [`Input`]s and carries out [`Output`]s in the order in which they come. All
//! ordering rules live in here: whatever needs the disk is held back until the driver has reported
//! [`Input::Persisted`].

mod compaction;
mod status;
mod timekeeper;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use compaction::Compaction;
pub use status::Status;
use timekeeper::Timekeeper;

use crate::config::Config;
use crate::durable::{Bootstrap, Recovered, Write};
use crate::event::{CommitReason, Event, EventKind, Operation, Outcome};
use crate::kv::{Command, KvStore, Snapshot};
use crate::log::{Entry, Log, Payload};
use crate::membership::MembershipChange;
use crate::message::{Message, SnapshotMeta};
use crate::node::{Node, NodeOutput, NodeStart, Recorder};
use crate::rules::Rules;
use crate::types::{LogIndex, LogPosition, NodeId, RequestId, Term, Time, WriteId};

/// What a driver tells a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// The [`Replica::deadline`] has passed.
    Tick,
    /// A message came from a peer.
    Receive(Message),
    /// A client wants other members (§6).
    ChangeMembership {
        /// Names it in the answer.
        request: RequestId,
        /// Which.
        change: MembershipChange,
    },
    /// A client wants another leader (dissertation §3.10).
    TransferLeadership {
        /// Names it in the answer.
        request: RequestId,
        /// Which server; `None` for the one whose log is furthest.
        to: Option<NodeId>,
    },
    /// Clients want changes. All that wait should come at once: they share a batch on disk and a
    /// message to each peer.
    Propose(Vec<Proposal>),
    /// A client wants a linearizable read (§8), of a leader or of a follower.
    Read {
        /// Names it in the answer.
        request: RequestId,
        /// Whether a leader may answer by its lease, trusting that clocks keep their stated bounds
        /// ([`Config::lease_reads`]); without a lease it asks as for any other read.
        lease: bool,
    },
    /// A batch, and all before it, is durable.
    Persisted(WriteId),
    /// A batch could not be made durable. The replica stops.
    PersistFailed(WriteId),
    /// Takes a snapshot now, if there is anything that it would spare.
    Compact,
    /// The snapshot of [`Output::SaveSnapshot`] is durable.
    SnapshotSaved(SnapshotMeta),
    /// The snapshot of [`Output::SaveSnapshot`] could not be saved; it will be tried again later.
    SnapshotFailed(SnapshotMeta),
    /// Something that was sent to this peer may be lost: a connection to it broke, or its queue had
    /// to drop messages. Whether anything is, the replica finds out by asking the peer, so a word too
    /// many costs a small message. Without any word it asks after an election timeout.
    SendFailed(NodeId),
}

/// A client's change.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Names it in the answer.
    pub request: RequestId,
    /// The [`Command`], encoded.
    pub command: Bytes,
}

/// What a replica asks of its driver.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make this batch durable; answer with [`Input::Persisted`] or [`Input::PersistFailed`].
    Persist(Write),
    /// Send this message; it may get lost.
    Send(Message),
    /// Answer a client.
    Respond(RequestId, Outcome),
    /// Make this state durable at leisure; answer with [`Input::SnapshotSaved`] or
    /// [`Input::SnapshotFailed`]. One at a time.
    SaveSnapshot(Box<Snapshot>),
}

/// What a replica starts from.
#[derive(Clone, Debug)]
pub struct Start {
    /// Who it is.
    pub id: NodeId,
    /// The figures to run with.
    pub config: Config,
    /// The cluster's first members, for a server without a snapshot.
    pub bootstrap: Bootstrap,
    /// What its log on disk holds.
    pub recovered: Recovered,
    /// Its newest snapshot on disk.
    pub snapshot: Option<Snapshot>,
    /// Seeds its election timeouts; should differ between servers.
    pub seed: u64,
    /// The number of its first event; must be above all those of earlier runs.
    pub first_seq: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Replica {
    node: Node,
    store: KvStore,
    last_applied: LogPosition,
    /// Requests whose entry is in the log of this leader but not yet committed.
    pending: VecDeque<Pending>,
    compaction: Compaction,
    timekeeper: Option<Timekeeper>,
    /// The snapshots that followers are receiving; each transfer keeps the one it began with.
    transfers: BTreeMap<NodeId, Snapshot>,
    outputs: Vec<Output>,
}

#[derive(Clone, Debug)]
struct Pending {
    position: LogPosition,
    request: RequestId,
}

impl Replica {
    /// A replica as its disk left it.
    ///
    /// # Panics
    /// When the log begins after the end of the snapshot: the driver must not start on a gap.
    pub fn new(start: Start, now: Time, tracing: bool) -> Self {
        Self::with_rules(start, Rules::default(), now, tracing)
    }

    /// Like [`Self::new`], with rules that a simulation may have broken.
    pub fn with_rules(start: Start, rules: Rules, now: Time, tracing: bool) -> Self {
        let Start { id, config, bootstrap, mut recovered, snapshot, seed, first_seq } = start;
        let founder = !bootstrap.membership.voters.is_empty();
        if !founder && snapshot.is_none() && recovered == Recovered::default() {
            // It may have lost its disk: whatever it said before, it has forgotten.
            recovered.hard_state.stranger_until = Some(LogIndex(0));
        }
        let snapshot = snapshot.unwrap_or_else(|| Snapshot {
            meta: SnapshotMeta { last: LogPosition::ZERO, membership: bootstrap.membership },
            store: KvStore::default(),
        });
        let (log, replaced) = recovered_log(recovered.base, recovered.entries, &snapshot);
        let commit_index =
            recovered.commit_index.min(log.last().index).max(snapshot.meta.last.index);
        let node_start = NodeStart {
            id,
            config,
            rules,
            seed,
            hard_state: recovered.hard_state,
            membership: snapshot.meta.membership.clone(),
            log,
            commit_index: snapshot.meta.last.index,
            recorder: Recorder::new(id, first_seq, tracing, now),
        };
        let mut replica = Self {
            node: Node::new(node_start, now),
            store: snapshot.store.clone(),
            last_applied: snapshot.meta.last,
            pending: VecDeque::new(),
            compaction: Compaction::new(snapshot),
            timekeeper: None,
            transfers: BTreeMap::new(),
            outputs: Vec::new(),
        };
        replica.started(commit_index, replaced);
        replica
    }

    fn started(&mut self, commit_index: LogIndex, log_replaced: bool) {
        let state = Box::new(self.state());
        self.node.recorder.emit_cause(|| EventKind::Started(state));
        if log_replaced {
            self.node.replace_recovered_log();
        }
        self.node.commit_to(commit_index, || CommitReason::Recovered);
        self.finish();
    }

    /// Takes in what happened. Afterwards take [`Self::events`] and carry out [`Self::outputs`].
    /// Time may not go back; a time before the last one counts as the last one.
    pub fn step(&mut self, now: Time, input: Input) {
        self.node.begin(now);
        if self.node.halted {
            self.refuse(&input);
            return;
        }
        match input {
            Input::Tick => self.node.tick(),
            Input::Receive(message) => self.node.receive(message),
            Input::Propose(proposals) => self.propose(proposals),
            Input::Read { request, lease } => {
                self.record_request(request, || Operation::Read);
                self.node.read(request, lease);
            }
            Input::ChangeMembership { request, change } => {
                self.record_request(request, || Operation::ChangeMembership(change.clone()));
                self.node.change_membership(request, &change);
            }
            Input::TransferLeadership { request, to } => {
                self.record_request(request, || Operation::TransferLeadership(to));
                self.node.transfer_leadership(request, to);
            }
            Input::Persisted(write) => self.node.persisted(write),
            Input::PersistFailed(write) => self.node.persist_failed(write),
            Input::Compact => self.compact(),
            Input::SnapshotSaved(meta) => self.snapshot_saved(&meta),
            Input::SnapshotFailed(meta) => self.compaction.failed(&meta),
            Input::SendFailed(peer) => self.node.send_failed(peer),
        }
        self.finish();
    }

    fn finish(&mut self) {
        self.serve_transfers();
        self.take_chunks();
        self.apply();
        self.keep_time();
        self.compact_if_due();
        self.give_up_pending();
        self.node.finish();
        for output in self.node.outputs.drain(..) {
            self.outputs.push(match output {
                NodeOutput::Persist(write) => Output::Persist(write),
                NodeOutput::Send(message) => Output::Send(message),
                NodeOutput::Respond(request, outcome) => Output::Respond(request, outcome),
            });
        }
    }

    // What the driver takes

    /// What to do now, in order.
    pub fn outputs(&mut self) -> std::vec::Drain<'_, Output> {
        self.outputs.drain(..)
    }

    /// What happened since the last call; nothing unless tracing.
    pub fn events(&mut self) -> std::vec::Drain<'_, Event> {
        self.node.recorder.events.drain(..)
    }

    /// Starts or ends the building of events. Their numbers go on either way.
    pub const fn set_tracing(&mut self, on: bool) {
        self.node.recorder.listen(on);
    }

    /// Whether events are built.
    pub const fn tracing(&self) -> bool {
        self.node.recorder.listening()
    }

    /// Records an [`EventKind::Attached`] with the present state, for a watcher to start from.
    pub fn attach(&mut self, now: Time) {
        self.node.begin(now);
        let state = self.state();
        self.node.recorder.emit(|| EventKind::Attached(Box::new(state)));
    }

    /// Records that this many events are missing from the stream, and the state they led to.
    pub fn summarise(&mut self, now: Time, events: u64) {
        self.node.begin(now);
        self.node.recorder.emit(|| EventKind::Summarised { events });
        self.attach(now);
    }

    /// Hashes what decides how the replica will behave, and nothing else: states that are reached in
    /// different ways count as one. Times count for nothing, so it is sound only where the clock
    /// stands still and every timer is always due.
    #[cfg(feature = "sim")]
    pub fn hash_behaviour<H: std::hash::Hasher>(&self, hasher: &mut H) {
        use std::hash::Hash;
        let Self { node, store, last_applied, pending, compaction, timekeeper, transfers, outputs } =
            self;
        assert!(timekeeper.is_none(), "nothing ends with time");
        assert!(outputs.is_empty(), "the driver takes all outputs after each step");
        assert!(transfers.is_empty() && compaction.is_idle(), "no snapshot is on its way");
        node.hash_behaviour(hasher);
        let snapshot = compaction.latest().meta.last;
        (store.digest(), last_applied, snapshot, pending.len()).hash(hasher);
        for Pending { position, request } in pending {
            (position, request).hash(hasher);
        }
    }

    /// Lets the running timer be due now.
    #[cfg(feature = "sim")]
    pub(crate) fn expire_timer(&mut self, now: Time) {
        self.node.timer.due = self.node.timer.due.min(now);
    }

    /// The timer that runs.
    #[cfg(feature = "sim")]
    pub(crate) const fn running_timer(&self) -> crate::event::Timer {
        self.node.timer.timer
    }

    /// Whether it began without the cluster's log and was not made a member since (pitfall 29).
    #[cfg(feature = "sim")]
    pub(crate) const fn is_stranger(&self) -> bool {
        self.node.hard_state.stranger_until.is_some()
    }

    /// Records what the environment did to this server among its own events.
    #[cfg(feature = "sim")]
    pub(crate) fn note(&mut self, now: Time, kind: EventKind) {
        self.node.begin(now);
        self.node.recorder.emit(|| kind);
    }

    /// When the next [`Input::Tick`] is due; `None` once the replica has stopped.
    pub fn deadline(&self) -> Option<Time> {
        let clock = self.clock_due();
        self.node.deadline().map(|due| clock.map_or(due, |clock| clock.min(due)))
    }

    /// The state up to [`Self::last_applied`]. Cloning it is O(1).
    pub const fn store(&self) -> &KvStore {
        &self.store
    }

    /// The log as it is in memory, durable or not.
    pub const fn log(&self) -> &Log {
        &self.node.log
    }

    /// The last entry that the state holds.
    pub const fn last_applied(&self) -> LogPosition {
        self.last_applied
    }

    /// The number of the next event.
    pub const fn next_seq(&self) -> u64 {
        self.node.recorder.next_seq()
    }

    // Requests

    fn propose(&mut self, proposals: Vec<Proposal>) {
        for proposal in &proposals {
            let operation = || Operation::Write(proposal.command.clone());
            self.record_request(proposal.request, operation);
        }
        let (requests, commands): (Vec<RequestId>, Vec<Bytes>) =
            proposals.into_iter().map(|proposal| (proposal.request, proposal.command)).unzip();
        let Some(first) = self.node.propose(commands) else {
            // A leader that hands over takes nothing in: whoever comes next will.
            let leader = self.node.leader().filter(|leader| *leader != self.node.id);
            for request in requests {
                self.node.respond(request, Outcome::NotLeader { leader });
            }
            return;
        };
        let mut position = first;
        for request in requests {
            self.pending.push_back(Pending { position, request });
            position.index = position.index.next();
        }
    }

    fn record_request(&mut self, request: RequestId, operation: impl FnOnce() -> Operation) {
        self.node
            .recorder
            .emit_cause(|| EventKind::ClientRequest { request, operation: operation() });
    }

    /// A stopped replica answers requests, and nothing else.
    fn refuse(&mut self, input: &Input) {
        match input {
            Input::Propose(proposals) => {
                let halted =
                    proposals.iter().map(|each| Output::Respond(each.request, Outcome::Halted));
                self.outputs.extend(halted);
            }
            Input::Read { request, .. }
            | Input::ChangeMembership { request, .. }
            | Input::TransferLeadership { request, .. } => {
                self.outputs.push(Output::Respond(*request, Outcome::Halted));
            }
            Input::Tick
            | Input::Receive(_)
            | Input::Persisted(_)
            | Input::PersistFailed(_)
            | Input::Compact
            | Input::SnapshotSaved(_)
            | Input::SnapshotFailed(_)
            | Input::SendFailed(_) => {}
        }
    }

    /// Applies what is committed, in order, and answers those who asked for it (§5.3).
    fn apply(&mut self) {
        while self.last_applied.index < self.node.commit_index {
            let next = self.last_applied.index.next();
            // Only with a rule broken may a committed entry be missing from the log.
            let Some(entry) = self.node.log.get(next).cloned() else { break };
            self.apply_entry(&entry);
        }
    }

    fn apply_entry(&mut self, entry: &Entry) {
        let applied = match &entry.payload {
            Payload::Noop | Payload::Membership(_) => None,
            Payload::Command(bytes) => Command::decode(bytes).ok().map(|command| {
                self.compaction.applied(entry.size());
                self.store.apply_under(command, self.node.rules())
            }),
        };
        let position = entry.position();
        self.last_applied = position;
        let digest = || self.store.digest();
        let revision = self.store.revision();
        self.node.recorder.emit(|| EventKind::Applied { position, digest: digest(), revision });
        while let Some(pending) =
            self.pending.pop_front_if(|it| it.position.index <= position.index)
        {
            let outcome = match &applied {
                _ if pending.position != position => Outcome::Unknown,
                Some(applied) => Outcome::Applied { position, applied: applied.clone() },
                None => Outcome::Malformed,
            };
            self.node.respond(pending.request, outcome);
        }
    }

    /// What a leader had not committed when it lost its office may commit yet, or never.
    fn give_up_pending(&mut self) {
        let leads_in: Option<Term> = self.node.is_leader().then(|| self.node.current_term());
        while let Some(pending) = self.pending.pop_front_if(|it| Some(it.position.term) != leads_in)
        {
            self.node.respond(pending.request, Outcome::Unknown);
        }
    }
}

/// The log that goes with a snapshot, and whether the one on disk had to give way. A crash between
/// saving a snapshot and shortening the log leaves a log that ends before the snapshot or differs
/// from it (§7).
fn recovered_log(base: LogPosition, entries: Vec<Entry>, snapshot: &Snapshot) -> (Log, bool) {
    let last = snapshot.meta.last;
    assert!(base.index <= last.index, "the log begins at {base}, after the snapshot at {last}");
    let mut log = Log::new(base);
    log.recover(entries);
    if log.matches(last) { (log, false) } else { (Log::new(last), true) }
}
