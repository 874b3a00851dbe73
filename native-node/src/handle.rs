//! What the HTTP side knows of the driver: a way to ask, and the newest published figures.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use raft_core::event::{RequestRefusal, RoleName};
use raft_core::kv::{Applied, KvStore};
use raft_core::membership::{Membership, MembershipChange};
use raft_core::replica::Status;
use raft_core::types::{LogPosition, NodeId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::admission::{Admission, Permit};
use crate::driver::Inbox;
use crate::storage::{PATIENCE, Storage, Usage};
use crate::trace::{self, Hub};
use crate::watch::{Refused, Wanted, Watch, Watchers};

/// Why a request was not carried out, or not known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Nothing happened: another server leads, or none.
    NotLeader {
        /// Who leads, as far as this server knows.
        leader: Option<NodeId>,
    },
    /// Nothing happened: this server does not belong to the cluster.
    NotAMember {
        /// Who leads, as far as this server knows.
        leader: Option<NodeId>,
    },
    /// Nothing happened: too much is under way.
    Overloaded,
    /// Nothing happened: the disk is full.
    DiskFull,
    /// Nothing happened: the disk failed and the server is about to end.
    Halted,
    /// It was not answered in time, or leadership was lost: a write may have happened, happen yet,
    /// or never happen.
    Unknown,
    /// The committed command is one that this version does not know.
    Malformed,
    /// Nothing happened, or nothing of it remains: the leader says why.
    Refused(RequestRefusal),
}

/// Where and how a write was applied.
pub type Written = (LogPosition, Applied);

/// How a driver's answer comes back.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, RequestError>>;

/// How large the state may get, in bytes. It is looked at where a leader takes a request in, not when
/// it is applied: so replicas need not agree on it, and it may differ between servers or change at any
/// time. What was under way when it was used up still goes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota(u64);

impl Quota {
    /// So many bytes; 0 for any number.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number, 0 for none.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Whether a state of this size may not get larger.
    pub const fn is_used_up(self, bytes: u64) -> bool {
        self.0 > 0 && bytes >= self.0
    }
}

/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    inbox: mpsc::UnboundedSender<Inbox>,
    status: Arc<ArcSwap<Status>>,
    admission: Arc<Admission>,
    storage: Weak<Storage>,
    hub: Hub,
    revisions: watch::Sender<u64>,
    watchers: Watchers,
    request_timeout: Duration,
    quota: Quota,
}

impl Handle {
    #[expect(clippy::too_many_arguments, reason = "called once, where a server is put together")]
    pub(crate) fn new(
        inbox: mpsc::UnboundedSender<Inbox>,
        status: Arc<ArcSwap<Status>>,
        admission: Arc<Admission>,
        storage: Weak<Storage>,
        hub: Hub,
        revisions: watch::Sender<u64>,
        watchers: Watchers,
        request_timeout: Duration,
    ) -> Self {
        let quota = Quota::of_bytes(0);
        Self { inbox, status, admission, storage, hub, revisions, watchers, request_timeout, quota }
    }

    /// The same, with a bound on the size of the state.
    pub(crate) const fn within(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self
    }

    /// How large the state may get.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Whether the state is as large as it may be.
    pub fn is_full(&self) -> bool {
        self.quota.is_used_up(self.status().state_memory)
    }

    /// The server in figures, as they were after the last batch of inputs.
    pub fn status(&self) -> arc_swap::Guard<Arc<Status>> {
        self.status.load()
    }

    /// Whether this server leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.status().role == RoleName::Leader
    }

    /// Whether this server belongs to the cluster, as far as it knows. A leader that takes itself out
    /// does so until it leads no more.
    pub fn is_member(&self) -> bool {
        let status = self.status();
        status.membership.contains(status.id) || status.role == RoleName::Leader
    }

    /// Lets a request of so many bytes in, if there is room.
    pub fn admit(&self, bytes: usize) -> Result<Permit, RequestError> {
        self.admission.admit(bytes).ok_or(RequestError::Overloaded)
    }

    /// Requests under way.
    pub fn requests(&self) -> usize {
        self.admission.requests()
    }

    /// Replicates an encoded command; returns when it is committed and applied here.
    pub async fn propose(&self, command: Bytes, permit: Permit) -> Result<Written, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.send(Inbox::Propose { command, reply, permit });
        self.wait(answer, self.request_timeout).await
    }

    /// Replicates several commands, each by itself, and returns when the outcome of each is known. They
    /// are given to the driver together, so that they share its batches.
    pub async fn propose_all(&self, commands: Vec<Bytes>) -> Vec<Result<Written, RequestError>> {
        let send = |command: Bytes| {
            let permit = self.admit(0)?;
            let (reply, answer) = oneshot::channel();
            self.send(Inbox::Propose { command, reply, permit });
            Ok(answer)
        };
        let waiting: Vec<Result<_, RequestError>> = commands.into_iter().map(send).collect();
        let deadline = Instant::now() + self.request_timeout;
        let mut outcomes = Vec::with_capacity(waiting.len());
        for answer in waiting {
            outcomes.push(match answer {
                Err(refused) => Err(refused),
                Ok(answer) => match timeout_at(deadline, answer).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) | Err(_) => Err(RequestError::Unknown),
                },
            });
        }
        outcomes
    }

    /// The state with everything in it that was committed before the call (§8). Nobody changes it:
    /// it costs nothing to have, and writers never wait for who reads it. Any server may be asked; a
    /// leader may answer by its lease where `lease` allows it.
    pub async fn read(&self, lease: bool, permit: Permit) -> Result<KvStore, RequestError> {
        if !self.is_member() {
            // Nobody would confirm it.
            return Err(RequestError::NotAMember { leader: self.status().leader });
        }
        let (reply, answer) = oneshot::channel();
        self.send(Inbox::Read { reply, lease, permit });
        self.wait(answer, self.request_timeout).await
    }

    /// The state as this server has it.
    pub async fn read_local(&self, permit: Permit) -> Result<KvStore, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.send(Inbox::ReadLocal { reply, permit });
        self.wait(answer, self.request_timeout).await
    }

    /// Changes the members; returns when the change is complete and committed, with the members
    /// then.
    pub async fn change_membership(
        &self,
        change: MembershipChange,
        permit: Permit,
        within: Duration,
    ) -> Result<Membership, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.send(Inbox::ChangeMembership { change, reply, permit });
        self.wait(answer, within).await
    }

    /// Hands leadership over to a server, or to whoever is best; returns who leads then.
    pub async fn transfer_leadership(
        &self,
        to: Option<NodeId>,
        permit: Permit,
    ) -> Result<NodeId, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.send(Inbox::TransferLeadership { to, reply, permit });
        self.wait(answer, self.request_timeout).await
    }

    /// Takes a snapshot, if there is anything that it would spare.
    pub fn compact(&self) {
        self.send(Inbox::Compact);
    }

    /// Changes whenever the state's revision does, as long as somebody holds it.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    /// Begins to watch keys.
    pub async fn watch_keys(&self, wanted: Wanted) -> Result<Watch, Refused> {
        self.watchers.join(wanted, || self.send(Inbox::Wake)).await
    }

    /// How many watch keys, or wait to read a revision.
    pub fn key_watchers(&self) -> usize {
        self.watchers.count() + self.revisions.receiver_count()
    }

    /// What waits for those who watch keys, in bytes.
    pub fn key_watch_bytes(&self) -> usize {
        self.watchers.held_bytes()
    }

    /// Whether the driver answers within this time.
    pub async fn is_alive(&self, within: Duration) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(Inbox::Ping(reply));
        matches!(timeout(within, answer).await, Ok(Ok(())))
    }

    /// What the disk holds; `None` while the server ends.
    pub fn usage(&self) -> Option<Usage> {
        self.storage.upgrade().map(|storage| storage.usage())
    }

    /// Whether the log is written at once, or nearly so.
    pub fn writes_flow(&self) -> bool {
        let stall = self.storage.upgrade().and_then(|storage| storage.stall(PATIENCE));
        stall.is_none_or(|stall| !stall.blocks_writes)
    }

    /// Joins those who watch the events.
    pub fn watch(&self) -> tokio::sync::broadcast::Receiver<Arc<trace::Frame>> {
        let frames = self.hub.join();
        self.send(Inbox::Wake);
        frames
    }

    /// Asks for the state again after frames were lost.
    pub fn watch_again(&self) {
        self.hub.ask_for_state();
        self.send(Inbox::Wake);
    }

    /// How many watch the events.
    pub fn watchers(&self) -> usize {
        self.hub.watchers()
    }

    async fn wait<T>(
        &self,
        answer: oneshot::Receiver<Result<T, RequestError>>,
        within: Duration,
    ) -> Result<T, RequestError> {
        match timeout(within, answer).await {
            Ok(Ok(answer)) => answer,
            // In time or not: the driver may have begun with it.
            Ok(Err(_)) | Err(_) => Err(RequestError::Unknown),
        }
    }

    fn send(&self, request: Inbox) {
        // When the driver has ended, the reply's channel is dropped and tells so.
        drop(self.inbox.send(request));
    }
}
