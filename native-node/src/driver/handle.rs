//! The HTTP side's access to the driver: requests, and the latest published status.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use raft_core::event::{RequestRefusal, RoleName};
use raft_core::kv::{Applied, KvStore};
use raft_core::membership::{Membership, MembershipChange};
use raft_core::replica::Status;
use raft_core::types::{LogPosition, NodeId};
use storage::{PATIENCE, Storage, Usage};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::Inbox;
use crate::admission::{Admission, Permit};
use crate::trace::{self, Hub};
use crate::watch::{Refused, Wanted, Watch, Watchers};

/// Why a request was not carried out, or has an unknown outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// Nothing happened: another server leads, or no server does.
    NotLeader {
        /// The leader, as far as this server knows.
        leader: Option<NodeId>,
    },
    /// Nothing happened: this server is not a member of the cluster.
    NotAMember {
        /// The leader, as far as this server knows.
        leader: Option<NodeId>,
    },
    /// Nothing happened: too much is pending.
    Overloaded,
    /// Nothing happened: the disk is full.
    DiskFull,
    /// Nothing happened: the disk failed and the server is about to end.
    Halted,
    /// The request timed out, or leadership was lost. A write may have happened, may still happen,
    /// or may never happen.
    Unknown,
    /// This version does not know the committed command.
    Malformed,
    /// Nothing happened, or nothing of it remains: the leader gives the reason.
    Refused(RequestRefusal),
}

/// Where and how a write was applied.
pub type Written = (LogPosition, Applied);

/// The channel for the driver's answer.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, RequestError>>;

/// The maximum size of the state, in bytes. A leader checks it when it accepts a request, not when
/// an entry is applied. Replicas therefore need not agree on it: it may differ between servers and
/// change at any time. Requests that were pending when it was reached are still applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota(u64);

impl Quota {
    /// A limit in bytes; 0 for no limit.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The limit in bytes; 0 for no limit.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Whether a state of this size has reached the limit.
    pub const fn is_used_up(self, bytes: u64) -> bool {
        self.0 > 0 && bytes >= self.0
    }
}

/// The HTTP side's access to the driver. Cheap to clone.
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

    /// The same handle with a limit on the size of the state.
    pub(crate) const fn within(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self
    }

    /// The limit on the size of the state.
    pub const fn quota(&self) -> Quota {
        self.quota
    }

    /// Whether the state has reached its limit.
    pub fn is_full(&self) -> bool {
        self.quota.is_used_up(self.status().state_memory)
    }

    /// The server's status after the last batch of inputs.
    pub fn status(&self) -> arc_swap::Guard<Arc<Status>> {
        self.status.load()
    }

    /// Whether this server is the leader, as far as it knows.
    pub fn leads(&self) -> bool {
        self.status().role == RoleName::Leader
    }

    /// Whether this server is a member, as far as it knows. A leader that removes itself counts as
    /// a member until it steps down.
    pub fn is_member(&self) -> bool {
        let status = self.status();
        status.membership.contains(status.id) || status.role == RoleName::Leader
    }

    /// Admits a request of `bytes` bytes, if there is room.
    pub fn admit(&self, bytes: usize) -> Result<Permit, RequestError> {
        self.admission.admit(bytes).ok_or(RequestError::Overloaded)
    }

    /// The number of pending requests.
    pub fn requests(&self) -> usize {
        self.admission.requests()
    }

    /// Replicates an encoded command; returns when it is committed and applied here.
    pub async fn propose(&self, command: Bytes, permit: Permit) -> Result<Written, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.send(Inbox::Propose { command, reply, permit });
        self.wait(answer, self.request_timeout).await
    }

    /// Replicates several independent commands; returns when the outcome of each is known. The
    /// driver gets them together, so they share its batches.
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

    /// The state with everything that was committed before the call (§8). It is immutable: it costs
    /// nothing to hold, and writers never wait for its readers. Any server may be asked; if `lease`
    /// is set, a leader may answer by its lease.
    pub async fn read(&self, lease: bool, permit: Permit) -> Result<KvStore, RequestError> {
        if !self.is_member() {
            // No leader would confirm the read.
            return Err(RequestError::NotAMember { leader: self.status().leader });
        }
        let (reply, answer) = oneshot::channel();
        self.send(Inbox::Read { reply, lease, permit });
        self.wait(answer, self.request_timeout).await
    }

    /// The state of this server, which may be old.
    pub async fn read_local(&self, permit: Permit) -> Result<KvStore, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.send(Inbox::ReadLocal { reply, permit });
        self.wait(answer, self.request_timeout).await
    }

    /// Changes the members. Returns the new members when the change is complete and committed.
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

    /// Transfers leadership to a server, or to the best candidate. Returns the new leader.
    pub async fn transfer_leadership(
        &self,
        to: Option<NodeId>,
        permit: Permit,
    ) -> Result<NodeId, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.send(Inbox::TransferLeadership { to, reply, permit });
        self.wait(answer, self.request_timeout).await
    }

    /// Requests a snapshot, if it would save anything.
    pub fn compact(&self) {
        self.send(Inbox::Compact);
    }

    /// The revision of the state, updated as long as a receiver exists.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.subscribe()
    }

    /// Starts a watch of keys.
    pub async fn watch_keys(&self, wanted: Wanted) -> Result<Watch, Refused> {
        self.watchers.join(wanted, || self.send(Inbox::Wake)).await
    }

    /// The number of watchers of keys and of tasks that wait for a revision.
    pub fn key_watchers(&self) -> usize {
        self.watchers.count() + self.revisions.receiver_count()
    }

    /// The bytes that wait for watchers of keys.
    pub fn key_watch_bytes(&self) -> usize {
        self.watchers.held_bytes()
    }

    /// Whether the driver answers within this time.
    pub async fn is_alive(&self, within: Duration) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(Inbox::Ping(reply));
        matches!(timeout(within, answer).await, Ok(Ok(())))
    }

    /// The disk usage; `None` while the server ends.
    pub fn usage(&self) -> Option<Usage> {
        self.storage.upgrade().map(|storage| storage.usage())
    }

    /// Whether the log is written without a long stall.
    pub fn writes_flow(&self) -> bool {
        let stall = self.storage.upgrade().and_then(|storage| storage.stall(PATIENCE));
        stall.is_none_or(|stall| !stall.blocks_writes)
    }

    /// Subscribes to the events.
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

    /// The number of event subscribers.
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
            // In either case the driver may have started the request.
            Ok(Err(_)) | Err(_) => Err(RequestError::Unknown),
        }
    }

    fn send(&self, request: Inbox) {
        // If the driver has ended, the reply's channel is dropped, which the caller notices.
        drop(self.inbox.send(request));
    }
}
