//! A server as its driver sees it: consensus, the state machine, and pending requests.
//!
//! The driver passes [`Input`]s in and executes the [`Output`]s in order. The replica enforces all
//! ordering rules: it holds back what depends on a write until the driver reports
//! [`Input::Persisted`].

mod compaction;
mod comparison;
mod digests;
mod ports;
mod status;
mod timekeeper;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use compaction::Compaction;
use comparison::Comparison;
pub use comparison::Difference;
use digests::Digests;
pub use ports::{Halt, Input, Output, Proposal, Start};
pub use status::Status;
use timekeeper::Timekeeper;

use crate::durable::Recovered;
use crate::event::{CommitReason, Event, EventKind, Outcome, RequestKind, RoleReason};
use crate::kv::{Applied, Command, KvStore, Snapshot, UnknownCommand};
use crate::limits::{MAX_COMMAND_BYTES, Semantics};
use crate::log::{Entry, Log, Payload};
use crate::membership::Membership;
use crate::node::{Node, NodeOutput, NodeStart, Recorder};
use crate::rules::Rules;
use crate::snapshot::SnapshotMeta;
use crate::types::{LogIndex, LogPosition, NodeId, RequestId, Term, Time};

/// Consensus and the state machine of one server, without I/O.
#[derive(Clone, Debug)]
pub struct Replica {
    node: Node,
    store: KvStore,
    last_applied: LogPosition,
    /// Requests whose entry this leader has appended but not yet committed.
    pending: VecDeque<Pending>,
    compaction: Compaction,
    timekeeper: Option<Timekeeper>,
    /// The snapshots that followers are receiving: each transfer keeps its first one.
    transfers: BTreeMap<NodeId, Snapshot>,
    digests: Digests,
    comparison: Comparison,
    /// The last report of the driver: these members all know these rules.
    members_know: (Membership, Semantics),
    /// The term in which this leader last proposed later rules.
    raised_in: Term,
    /// Why the replica stopped, if it has.
    halt: Option<Halt>,
    outputs: Vec<Output>,
}

#[derive(Clone, Debug)]
struct Pending {
    position: LogPosition,
    request: RequestId,
}

impl Replica {
    /// Makes a replica from its recovered state.
    ///
    /// # Panics
    /// If the log begins after the end of the snapshot: the driver must not start with a gap.
    pub fn new(start: Start, now: Time, tracing: bool) -> Self {
        Self::with_rules(start, Rules::default(), now, tracing)
    }

    /// Like [`Self::new`], with rules that a simulation may have changed.
    pub fn with_rules(start: Start, rules: Rules, now: Time, tracing: bool) -> Self {
        let Start { id, config, bootstrap, mut recovered, snapshot, semantics, seed, first_seq } =
            start;
        let founder = !bootstrap.membership.voters.is_empty();
        if !founder && snapshot.is_none() && recovered == Recovered::default() {
            // The server may have lost its disk, and with it its votes and acknowledgements.
            recovered.hard_state.stranger_until = Some(LogIndex(0));
        }
        let mut snapshot = snapshot.unwrap_or_else(|| Snapshot {
            meta: SnapshotMeta { last: LogPosition::ZERO, membership: bootstrap.membership },
            store: KvStore::under(semantics),
        });
        snapshot.store.forget_large_answers();
        let (log, replaced) = recovered_log(recovered.base, recovered.entries, &snapshot);
        let commit_index =
            recovered.commit_index.min(log.last().index).max(snapshot.meta.last.index);
        let digests = Digests::new(config.digest_every);
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
            store: snapshot.store,
            last_applied: snapshot.meta.last,
            pending: VecDeque::new(),
            compaction: Compaction::new(snapshot.meta),
            timekeeper: None,
            transfers: BTreeMap::new(),
            digests,
            comparison: Comparison::default(),
            members_know: (Membership::default(), Semantics::FIRST),
            raised_in: Term(0),
            halt: None,
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

    /// Processes one input. The driver then takes [`Self::events`] and executes [`Self::outputs`].
    /// A time before that of the last call counts as the last time. If leases are in use, the time
    /// must advance while the machine sleeps or the process is paused. Otherwise a leader would
    /// trust an expired lease.
    pub fn step(&mut self, now: Time, input: Input) {
        self.node.begin(now);
        if self.node.halted {
            self.refuse(&input);
            return;
        }
        match input {
            Input::Tick => self.node.tick(),
            Input::Receive(message) => self.node.receive(message, 0),
            Input::ReceiveAged { message, age } => self.node.receive(message, age),
            Input::Propose(proposals) => self.propose(proposals),
            Input::Read { request, lease } => {
                self.record_request(request, || RequestKind::Read);
                self.node.read(request, lease);
            }
            Input::ChangeMembership { request, change } => {
                self.record_request(request, || RequestKind::ChangeMembership(change.clone()));
                self.node.change_membership(request, &change);
            }
            Input::TransferLeadership { request, to } => {
                self.record_request(request, || RequestKind::TransferLeadership(to));
                self.node.transfer_leadership(request, to);
            }
            Input::Persisted(write) => self.node.persisted(write),
            Input::PersistFailed(write) => {
                self.node.persist_failed(write);
                self.halt = Some(Halt::DiskFailed);
            }
            Input::Compact => self.compact(),
            Input::SnapshotSaved(meta) => self.snapshot_saved(&meta),
            Input::SnapshotFailed(meta) => self.compaction.failed(&meta, self.node.now()),
            Input::SendFailed(peer) => self.node.send_failed(peer),
            Input::MembersKnow(semantics) => {
                self.members_know = (self.node.membership().clone(), semantics);
            }
        }
        self.finish();
    }

    fn finish(&mut self) {
        self.serve_transfers();
        self.take_chunks();
        self.apply();
        self.compare_states();
        self.raise_semantics();
        self.keep_time();
        self.compact_if_due();
        self.node.bound_log(self.last_applied.index);
        self.give_up_pending();
        self.node.finish();
        self.hand_over_snapshot();
        for output in self.node.outputs.drain(..) {
            self.outputs.push(match output {
                NodeOutput::Persist(write) => Output::Persist(write),
                NodeOutput::Send(message) => Output::Send(message),
                NodeOutput::Respond(request, outcome) => Output::Respond(request, outcome),
            });
        }
    }

    // For the driver

    /// The actions for the driver, in order.
    pub fn outputs(&mut self) -> std::vec::Drain<'_, Output> {
        self.outputs.drain(..)
    }

    /// The events since the last call; empty if tracing is off.
    pub fn events(&mut self) -> std::vec::Drain<'_, Event> {
        self.node.recorder.events.drain(..)
    }

    /// Turns tracing on or off. Event numbers advance in both cases.
    pub const fn set_tracing(&mut self, on: bool) {
        self.node.recorder.listen(on);
    }

    /// Whether tracing is on.
    pub const fn tracing(&self) -> bool {
        self.node.recorder.listening()
    }

    /// Records an [`EventKind::Attached`] with the present state, from which a new subscriber
    /// starts.
    pub fn attach(&mut self, now: Time) {
        self.node.begin(now);
        let state = self.state();
        self.node.recorder.emit(|| EventKind::Attached(Box::new(state)));
    }

    /// Records that `events` events are missing from the stream, and the state after them.
    pub fn summarise(&mut self, now: Time, events: u64) {
        self.node.begin(now);
        self.node.recorder.emit(|| EventKind::Summarised { events });
        self.attach(now);
    }

    /// Hashes exactly what decides how the replica will behave, not how it reached its state. Times
    /// are ignored, so this is sound only if the clock stands still and every timer is always due.
    #[cfg(feature = "sim")]
    pub fn hash_behaviour<H: std::hash::Hasher>(&self, hasher: &mut H) {
        use std::hash::Hash;
        let Self {
            node,
            store,
            last_applied,
            pending,
            compaction,
            timekeeper,
            transfers,
            digests: _,
            comparison: _,
            members_know: _,
            raised_in: _,
            halt,
            outputs,
        } = self;
        assert!(matches!(halt, None | Some(Halt::DiskFailed)), "only the disk fails");
        assert!(timekeeper.is_none(), "leases and sessions are not explored");
        assert!(outputs.is_empty(), "the driver takes all outputs after each step");
        assert!(transfers.is_empty() && compaction.is_idle(), "no snapshot is being sent or saved");
        node.hash_behaviour(hasher);
        let snapshot = compaction.latest().last;
        (store.digest(), last_applied, snapshot, pending.len()).hash(hasher);
        for Pending { position, request } in pending {
            (position, request).hash(hasher);
        }
    }

    /// Makes the running timer due now.
    #[cfg(feature = "sim")]
    pub(crate) fn expire_timer(&mut self, now: Time) {
        self.node.timer.due = self.node.timer.due.min(now);
    }

    #[cfg(feature = "sim")]
    pub(crate) const fn running_timer(&self) -> crate::event::Timer {
        self.node.timer.timer
    }

    /// Whether the server began without the cluster's log and is not yet a member (pitfall 29).
    #[cfg(feature = "sim")]
    pub(crate) const fn is_stranger(&self) -> bool {
        self.node.hard_state.stranger_until.is_some()
    }

    /// The number of followers for which a snapshot is kept.
    #[cfg(feature = "sim")]
    pub(crate) fn transfers_under_way(&self) -> usize {
        self.transfers.len()
    }

    /// Records a fault of the environment among this server's own events.
    #[cfg(feature = "sim")]
    pub(crate) fn note(&mut self, now: Time, kind: EventKind) {
        self.node.begin(now);
        self.node.recorder.emit(|| kind);
    }

    /// When the next [`Input::Tick`] is due; `None` after the replica has stopped.
    pub fn deadline(&self) -> Option<Time> {
        let clock = self.clock_due();
        self.node.deadline().map(|due| clock.map_or(due, |clock| clock.min(due)))
    }

    /// The members of the cluster, as far as this server knows.
    pub fn membership(&self) -> &Membership {
        self.node.membership()
    }

    /// The state up to [`Self::last_applied`]. Cloning it is O(1).
    pub const fn store(&self) -> &KvStore {
        &self.store
    }

    /// Sets the revision up to which watchers have read the store's changes.
    pub fn set_changes_unread_after(&mut self, revision: u64) {
        self.store.set_changes_unread_after(revision);
    }

    /// The in-memory log, durable or not.
    pub const fn log(&self) -> &Log {
        &self.node.log
    }

    /// The last entry that was applied to the state.
    pub const fn last_applied(&self) -> LogPosition {
        self.last_applied
    }

    /// Why the replica stopped, if it has.
    pub const fn halt(&self) -> Option<&Halt> {
        self.halt.as_ref()
    }

    /// The digest of the state after this entry. It is known for the last applied entry and for
    /// some earlier ones. Servers whose digests differ at the same index have different states.
    pub fn digest_at(&self, index: LogIndex) -> Option<u64> {
        if index == self.last_applied.index {
            return Some(self.store.digest());
        }
        self.digests.at(index)
    }

    /// The entries before the last applied one for which [`Self::digest_at`] is known, and their
    /// digests, oldest first. All servers keep the digests of the same entries.
    pub fn digests(&self) -> impl Iterator<Item = (LogIndex, u64)> {
        self.digests.iter()
    }

    /// The number of the next event.
    pub const fn next_seq(&self) -> u64 {
        self.node.recorder.next_seq()
    }

    // Requests

    fn propose(&mut self, proposals: Vec<Proposal>) {
        for proposal in &proposals {
            let bytes = proposal.command.len();
            assert!(
                bytes <= MAX_COMMAND_BYTES,
                "the server must refuse a command of {bytes} bytes"
            );
            let operation = || RequestKind::Write(proposal.command.clone());
            self.record_request(proposal.request, operation);
        }
        let (requests, commands): (Vec<RequestId>, Vec<Bytes>) =
            proposals.into_iter().map(|proposal| (proposal.request, proposal.command)).unzip();
        let Some(first) = self.node.propose(commands) else {
            // A leader that is transferring leadership accepts no proposals; the next leader will.
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

    fn record_request(&mut self, request: RequestId, operation: impl FnOnce() -> RequestKind) {
        self.node
            .recorder
            .emit_cause(|| EventKind::ClientRequest { request, operation: operation() });
    }

    /// A stopped replica only rejects client requests.
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
            | Input::ReceiveAged { .. }
            | Input::Persisted(_)
            | Input::PersistFailed(_)
            | Input::Compact
            | Input::SnapshotSaved(_)
            | Input::SnapshotFailed(_)
            | Input::SendFailed(_)
            | Input::MembersKnow(_) => {}
        }
    }

    /// Applies committed entries in order and answers the clients that requested them (§5.3).
    fn apply(&mut self) {
        while self.last_applied.index < self.node.commit_index && !self.node.halted {
            let next = self.last_applied.index.next();
            // A committed entry can be missing from the log only if a rule is broken.
            let Some(entry) = self.node.log.get(next).cloned() else { break };
            match self.apply_entry(&entry) {
                Ok(applied) => self.applied(&entry, applied),
                // Replicas that know the command change their state. This replica must stop, not
                // diverge.
                Err(command) => {
                    let position = entry.position();
                    self.halt = Some(Halt::UnknownCommand { position, command });
                    self.node.halt(RoleReason::UnknownCommand);
                }
            }
        }
    }

    /// On an error the state is unchanged.
    fn apply_entry(&mut self, entry: &Entry) -> Result<Option<Applied>, UnknownCommand> {
        match &entry.payload {
            Payload::Noop | Payload::Membership(_) => Ok(None),
            Payload::Command(bytes) => {
                let command = Command::decode(bytes)?;
                self.store.apply_under(command, self.node.rules()).map(Some)
            }
        }
    }

    /// Records an applied entry and answers the pending requests up to it.
    fn applied(&mut self, entry: &Entry, mut applied: Option<Applied>) {
        let position = entry.position();
        self.last_applied = position;
        if applied.is_some() {
            self.compaction.applied(entry.size());
        }
        self.digests.applied(position.index, &self.store);
        let digest = || self.store.digest();
        let revision = self.store.revision();
        self.node.recorder.emit(|| EventKind::Applied { position, digest: digest(), revision });
        while let Some(pending) =
            self.pending.pop_front_if(|it| it.position.index <= position.index)
        {
            let outcome = match applied.take_if(|_| pending.position == position) {
                Some(applied) => Outcome::Applied { position, applied },
                // Another entry was committed at this index.
                None => Outcome::Unknown,
            };
            self.node.respond(pending.request, outcome);
        }
    }

    /// A leader activates later rules after all members know them. It does so with a log entry,
    /// which makes all replicas switch at the same index.
    fn raise_semantics(&mut self) {
        let term = self.node.current_term();
        let to = self.members_know.1.min(Semantics::LATEST);
        let leads = self.node.is_leader() && self.last_applied.term == term;
        let due = leads && self.store.semantics() < to && self.raised_in != term;
        // The report does not cover members that were added since.
        if due && self.members_know.0 == *self.node.membership() {
            let command = Command::RaiseSemantics { to }.encode();
            if self.node.propose(vec![command]).is_some() {
                self.raised_in = term;
            }
        }
    }

    /// Entries that were uncommitted when the leader stepped down may still be committed, or never.
    fn give_up_pending(&mut self) {
        let leads_in: Option<Term> = self.node.is_leader().then(|| self.node.current_term());
        while let Some(pending) = self.pending.pop_front_if(|it| Some(it.position.term) != leads_in)
        {
            self.node.respond(pending.request, Outcome::Unknown);
        }
    }
}

/// The log that goes with a snapshot, and whether it replaces the log on disk. A crash between
/// saving a snapshot and compacting the log leaves a log that ends before the snapshot or differs
/// from it (§7).
fn recovered_log(base: LogPosition, entries: Vec<Entry>, snapshot: &Snapshot) -> (Log, bool) {
    let last = snapshot.meta.last;
    assert!(base.index <= last.index, "the log begins at {base}, after the snapshot at {last}");
    let mut log = Log::new(base);
    log.recover(entries);
    if log.matches(last) { (log, false) } else { (Log::new(last), true) }
}
