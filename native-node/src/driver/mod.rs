//! The driver, the only owner of the [`Replica`]: it collects inputs, lets the core decide, and
//! carries out the decisions.
//!
//! All inputs come through one channel, and their sources limit it. [`crate::admission`] limits
//! clients, each peer's connection limits its frames in flight, and the disk only answers what it
//! was given. All waiting inputs are taken together. All waiting proposals therefore share one
//! batch on disk and one message to each peer (group commit).
//!
//! After each batch the driver publishes the server's status, and only then answers requests. A
//! read is answered with the state itself, an immutable map that costs one pointer to hand out.
//! Readers never wait for writers, nor writers for readers.

mod alarms;
pub mod handle;
mod inbox;
mod peers;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use raft_core::event::RoleName;
use raft_core::limits::Semantics;
use raft_core::message::{Body, Message};
use raft_core::replica::{Halt, Input, Output, Proposal, Replica, Status};
use raft_core::types::{NodeId, RequestId, Time};
use storage::{Acceptance, Storage, StorageError, StorageEvent};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::metrics::DriverMetrics;
use crate::supervise::Pulse;
use crate::trace::Tracer;
use crate::watch::Feed;
use alarms::Alarms;
use handle::{Quota, RequestError};
pub use inbox::Inbox;
pub use peers::Peers;
use waiting::{Waiting, WaitingList};

/// The maximum number of inputs taken from the channel at once.
const MAX_BATCH: usize = 4096;

/// The maximum bytes of the commands that share a record on disk, unless a single command is
/// larger. A record can hold far more.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// The driver and everything that it owns.
pub struct Driver {
    /// The core.
    pub replica: Replica,
    /// The core's time.
    pub clock: Clock,
    /// Its inputs.
    pub inbox: mpsc::UnboundedReceiver<Inbox>,
    /// The storage.
    pub storage: Arc<Storage>,
    /// The connections to other servers.
    pub peers: Peers,
    /// The status that other tasks read.
    pub status: Arc<ArcSwap<Status>>,
    /// Notifies tasks that wait for a revision of the state.
    pub revisions: watch::Sender<u64>,
    /// Above this many bytes of commands with unknown outcome, new commands are refused. Commands
    /// stay in memory until their outcome is known, even if no client waits for it.
    pub max_uncommitted_bytes: usize,
    /// Publishes changes to the watchers of keys.
    pub feed: Feed,
    /// Passes events to their subscribers.
    pub tracer: Tracer,
    /// The driver's metrics.
    pub metrics: DriverMetrics,
    /// The state size, in bytes, from which the leader refuses commands that enlarge the state.
    pub quota: Quota,
    /// Shows the watchdog that the driver's loop runs.
    pub pulse: Pulse,
}

/// Why the driver ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to stop; the caller closes the storage.
    Stopped(Arc<Storage>),
    /// The disk failed. What was not durable by then is lost, and none of it was acknowledged.
    DiskFailed(Arc<StorageError>),
    /// The core stopped for another reason.
    Halted(Halt),
}

/// A running driver.
struct Run {
    driver: Driver,
    now: Time,
    waiting: WaitingList,
    known_leader: Option<NodeId>,
    /// Whether the state has reached the quota.
    full: bool,
    /// The rules that all members know, as last reported to the core.
    members_know: Semantics,
    alarms: Alarms,
    proposals: Vec<Proposal>,
    reads: Vec<(RequestId, bool)>,
    /// The bytes of a leader's entries that this batch accepted and that the disk does not know of
    /// yet.
    unsubmitted: u64,
    /// The deadline that the timer is set to.
    armed: Option<Time>,
    end: Option<End>,
}

enum End {
    Stop,
    DiskFailed(Arc<StorageError>),
    Halted(Halt),
}

impl Driver {
    /// Runs until it is told to stop, the disk fails or the core halts.
    pub async fn run(self) -> Ended {
        let now = self.clock.now();
        let mut run = Run {
            known_leader: self.replica.status().leader,
            members_know: Semantics::FIRST,
            alarms: Alarms::default(),
            driver: self,
            now,
            full: false,
            waiting: WaitingList::default(),
            proposals: Vec::new(),
            reads: Vec::new(),
            unsubmitted: 0,
            armed: None,
            end: None,
        };
        // Carry out what the core decided at its start, such as to campaign in a cluster of one.
        run.finish_batch();
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            match run.end.take() {
                None => {}
                Some(End::Stop) => return Ended::Stopped(run.driver.storage),
                Some(End::DiskFailed(error)) => return Ended::DiskFailed(error),
                Some(End::Halted(why)) => return run.driver.halted(why),
            }
            run.driver.pulse.turn();
            run.arm(timer.as_mut());
            tokio::select! {
                biased;
                taken = run.driver.inbox.recv_many(&mut batch, MAX_BATCH) => {
                    if taken == 0 {
                        run.end = Some(End::Stop);
                    }
                }
                () = timer.as_mut() => {}
            }
            run.take(&mut batch);
        }
    }
}

impl Driver {
    /// The core has halted. A wrong state is marked on disk, to not serve it after a restart.
    fn halted(&self, why: Halt) -> Ended {
        if let Halt::StateDiffers { .. } = &why
            && let Err(error) = self.storage.note_difference(&why.to_string())
        {
            tracing::error!("cannot mark the state of this server as wrong: {error}");
        }
        Ended::Halted(why)
    }
}

impl Run {
    /// Sets the timer to the core's deadline. A timer that fires earlier stays: it finds nothing to
    /// do and is set again, which is cheaper than moving it with each message.
    fn arm(&mut self, timer: std::pin::Pin<&mut tokio::time::Sleep>) {
        let Some(deadline) = self.driver.replica.deadline() else { return };
        if timer.is_elapsed() || self.armed.is_none_or(|armed| deadline < armed) {
            timer.reset(self.driver.clock.instant(deadline));
            self.armed = Some(deadline);
        }
    }

    /// Processes a batch: time first, then peers and disk, then clients.
    fn take(&mut self, batch: &mut Vec<Inbox>) {
        self.now = self.driver.clock.now();
        if self.driver.replica.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.step(Input::Tick);
        }
        for item in batch.drain(..) {
            self.take_one(item);
        }
        if !self.proposals.is_empty() {
            self.propose();
        }
        self.driver.metrics.reads.inc_by(self.reads.len() as u64);
        for (request, lease) in std::mem::take(&mut self.reads) {
            self.step(Input::Read { request, lease });
        }
        self.finish_batch();
    }

    fn take_one(&mut self, item: Inbox) {
        match item {
            Inbox::Propose { command, reply, permit } => {
                let (since, bytes) = (self.now, command.len());
                let request = self.waiting.add(Waiting::Write { reply, since, bytes }, permit);
                self.proposals.push(Proposal { request, command });
            }
            Inbox::Read { reply, lease, permit } => {
                let request = self.waiting.add(Waiting::Read(reply), permit);
                self.reads.push((request, lease));
            }
            Inbox::ChangeMembership { change, reply, permit } => {
                let request = self.waiting.add(Waiting::Membership(reply), permit);
                self.step(Input::ChangeMembership { request, change });
            }
            Inbox::TransferLeadership { to, reply, permit } => {
                let request = self.waiting.add(Waiting::Transfer(reply), permit);
                self.step(Input::TransferLeadership { request, to });
            }
            Inbox::Met(peer, address) => self.driver.peers.met(peer, address),
            Inbox::SendFailed(peer) => self.step(Input::SendFailed(peer)),
            Inbox::ReadLocal { reply, permit } => {
                // The client may have given up.
                drop(reply.send(Ok(self.driver.replica.store().clone())));
                drop(permit);
            }
            Inbox::Peer(delivery) => {
                self.driver.metrics.messages.inc_by(delivery.messages.len() as u64);
                if let Some(first) = delivery.messages.first() {
                    self.driver.peers.heard(first.from);
                }
                let age = delivery.age();
                for message in delivery.messages {
                    self.receive(message, age);
                }
            }
            Inbox::Storage(event) => self.take_storage_event(event),
            Inbox::Compact => self.step(Input::Compact),
            Inbox::Wake => {}
            // The caller may have given up.
            Inbox::Ping(reply) => {
                let _ = reply.send(());
            }
            Inbox::Stop => self.end = Some(End::Stop),
        }
    }

    /// Proposes all commands of the batch together, if the disk can take them.
    fn propose(&mut self) {
        let mut proposals = std::mem::take(&mut self.proposals);
        let new: usize = proposals.iter().map(|proposal| proposal.command.len()).sum();
        let uncommitted = self.waiting.write_bytes() - new;
        let refusal = match self.driver.storage.accepting() {
            Acceptance::Yes if uncommitted > self.driver.max_uncommitted_bytes => {
                Some(RequestError::Overloaded)
            }
            Acceptance::Yes => None,
            Acceptance::Backlogged => Some(RequestError::Overloaded),
            Acceptance::DiskFull => Some(RequestError::DiskFull),
            Acceptance::Failed => Some(RequestError::Halted),
        };
        if let Some(refusal) = refusal {
            let mut queued = 0;
            proposals.retain(|proposal| {
                let taken = self.driver.storage.takes_when_full(&proposal.command, queued);
                if taken {
                    queued += proposal.command.len() as u64;
                } else {
                    self.waiting.refuse(proposal.request, refusal);
                }
                taken
            });
            if proposals.is_empty() {
                return;
            }
        }
        self.driver.metrics.proposals.inc_by(proposals.len() as u64);
        #[expect(clippy::cast_precision_loss, reason = "a batch is far below 2^52")]
        self.driver.metrics.batch.observe(proposals.len() as f64);
        for batch in batches(proposals) {
            self.step(Input::Propose(batch));
        }
    }

    /// Processes a message that was in transit for `age`. Entries that the disk has no room for are
    /// dropped, as if the leader had sent fewer; it sends them again. The rest of the message still
    /// counts: it shows that the leader is alive and what is committed.
    fn receive(&mut self, mut message: Message, age: Duration) {
        if let Body::AppendEntries { entries, .. } = &mut message.body
            && !entries.is_empty()
        {
            let room = self.driver.storage.room_for(entries, self.unsubmitted);
            if room < entries.len() {
                self.driver.metrics.deferred.inc();
                *entries = entries.part(0..room);
            }
            self.unsubmitted += entries.iter().map(|entry| entry.size() as u64).sum::<u64>();
        }
        let age = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        self.step(Input::ReceiveAged { message, age });
    }

    /// Processes a storage event. The storage has already logged it.
    fn take_storage_event(&mut self, event: StorageEvent) {
        match event {
            StorageEvent::Persisted { id, bytes, sync } => {
                self.driver.metrics.fsync_duration.observe(sync.as_secs_f64());
                self.driver.metrics.log_bytes_written.inc_by(bytes);
                self.step(Input::Persisted(id));
            }
            StorageEvent::SnapshotSaved { meta, bytes, took } => {
                self.driver.metrics.snapshot.saved(bytes, took);
                self.driver.metrics.snapshot_duration.observe(took.as_secs_f64());
                self.step(Input::SnapshotSaved(meta));
            }
            StorageEvent::SnapshotFailed { meta, error: _ } => {
                self.driver.metrics.snapshot_failures.inc();
                self.step(Input::SnapshotFailed(meta));
            }
            StorageEvent::DiskFull => {
                // A snapshot allows old parts of the log to be deleted.
                self.step(Input::Compact);
                self.hand_over();
            }
            StorageEvent::DiskIsShort => {
                if self.driver.storage.is_worth_compacting() {
                    self.step(Input::Compact);
                }
                let full = self.driver.storage.accepting() == Acceptance::DiskFull;
                if full && self.waiting.own_transfer_failed() {
                    self.hand_over();
                }
            }
            StorageEvent::DiskHasSpace => {}
            StorageEvent::Failed { first_lost, error } => {
                if let Some(write) = first_lost {
                    self.step(Input::PersistFailed(write));
                }
                self.end = Some(End::DiskFailed(error));
            }
        }
    }

    /// Transfers leadership if this leader's disk is full: another server may have room. It is
    /// retried until it succeeds once. If all disks are full, leadership must not circulate.
    fn hand_over(&mut self) {
        if self.driver.replica.status().role == RoleName::Leader {
            tracing::info!("transferring leadership: another disk may have free space");
            let request = self.waiting.add_own_transfer();
            self.step(Input::TransferLeadership { request, to: None });
        }
    }

    /// Tells the core which rules all members know, and the transport which rules peers must know.
    fn settle_rules(&mut self) {
        let replica = &self.driver.replica;
        let rules = replica.store().semantics();
        self.driver.peers.require(rules);
        if rules < Semantics::LATEST {
            let known = self.driver.peers.know(replica.membership());
            if known > rules || self.members_know > rules {
                self.step(Input::MembersKnow(known));
            }
            self.members_know = known;
        }
    }

    fn step(&mut self, input: Input) {
        self.driver.replica.step(self.now, input);
    }

    /// Publishes the state, notifies watchers, and carries out what the core decided.
    fn finish_batch(&mut self) {
        self.settle_rules();
        let driver = &mut self.driver;
        let status = driver.replica.status();
        if status.leader != self.known_leader {
            driver.metrics.leader_changes.inc();
            let term = status.term.0;
            if let Some(leader) = status.leader {
                tracing::info!(%leader, term, "a leader is known");
            } else {
                tracing::warn!(term, "no leader is known");
            }
            self.known_leader = status.leader;
        }
        let full = driver.quota.is_used_up(status.state_memory);
        if full != std::mem::replace(&mut self.full, full) {
            let (bytes, quota) = (status.state_memory, driver.quota.bytes());
            if full {
                tracing::warn!(
                    bytes,
                    quota,
                    "the state has reached --quota-bytes: writes that enlarge it are rejected"
                );
            } else {
                tracing::info!(bytes, quota, "the state is smaller than --quota-bytes again");
            }
        }
        self.alarms.tell(&status, &driver.metrics);
        driver.storage.expect_snapshot_of(status.keys, status.state_bytes);
        let status = Arc::new(status);
        driver.status.store(Arc::clone(&status));
        driver.tracer.after_batch(&mut driver.replica, self.now);
        let mut answers = Vec::new();
        for output in driver.replica.outputs() {
            match output {
                Output::Persist(write) => driver.storage.submit(write),
                Output::Send(message) => driver.peers.send(message),
                Output::SaveSnapshot(snapshot) => driver.storage.save_snapshot(*snapshot),
                Output::Respond(request, outcome) => answers.push((request, outcome)),
            }
        }
        self.unsubmitted = 0;
        // After sending: a removed server still receives its last messages.
        driver.peers.update(&status, driver.replica.store());
        driver.feed.publish(&mut driver.replica);
        if driver.revisions.receiver_count() > 0 {
            driver.revisions.send_if_modified(|revision| {
                std::mem::replace(revision, status.revision) != status.revision
            });
        }
        for (request, outcome) in answers {
            let store = driver.replica.store();
            self.waiting.answer(request, outcome, store, self.now, &driver.metrics);
        }
        // If the disk failed, its own report has more details.
        match driver.replica.halt() {
            None | Some(Halt::DiskFailed) => {}
            Some(why @ (Halt::UnknownCommand { .. } | Halt::StateDiffers { .. })) => {
                self.end = Some(End::Halted(why.clone()));
            }
        }
    }
}

/// Splits proposals into batches of [`MAX_BATCH_BYTES`], in order.
fn batches(proposals: Vec<Proposal>) -> Vec<Vec<Proposal>> {
    let mut batches: Vec<Vec<Proposal>> = Vec::new();
    let mut bytes = usize::MAX;
    for proposal in proposals {
        bytes = bytes.saturating_add(proposal.command.len());
        match batches.last_mut() {
            Some(batch) if bytes <= MAX_BATCH_BYTES => batch.push(proposal),
            _ => {
                bytes = proposal.command.len();
                batches.push(vec![proposal]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn proposals(count: u64, bytes: usize) -> Vec<Proposal> {
        let command = Bytes::from(vec![0; bytes]);
        (0..count)
            .map(|number| Proposal { request: RequestId(number), command: command.clone() })
            .collect()
    }

    /// Guards the disk: many large values do not form a record that it cannot hold. Small values
    /// still share a record.
    #[test]
    fn large_commands_are_spread_over_batches() {
        let cut = batches(proposals(64, 1 << 20));
        assert_eq!(cut.iter().map(Vec::len).collect::<Vec<_>>(), [8; 8]);
        let numbers: Vec<u64> = cut.iter().flatten().map(|it| it.request.0).collect();
        assert_eq!(numbers, (0..64).collect::<Vec<_>>());
        assert_eq!(batches(proposals(4_096, 300)).len(), 1);
        assert_eq!(batches(proposals(2, MAX_BATCH_BYTES + 1)).len(), 2);
        assert!(batches(Vec::new()).is_empty());
    }
}
