//! What happened, and why: the one record from which every screen, log line and check is drawn.
//!
//! Each event names its cause, so every chain of events leads back to something from outside: a
//! timer, a client, a fault. Within a node `seq` orders events; across nodes a message's sending
//! comes before its receipt. Clocks of different nodes cannot be compared.

mod fault;
mod reason;
mod request;
mod words;

pub use fault::Fault;
pub use reason::{
    CommitReason, DropReason, MessageRefusal, RoleName, RoleReason, SnapshotRefusal, TermReason,
    Timer, VoteRefusal,
};
pub use request::{Operation, Outcome, RequestRefusal};
use serde::{Deserialize, Serialize};

use crate::durable::Write;
use crate::log::{Entries, Entry};
use crate::membership::Membership;
use crate::message::{Message, MessageName, SnapshotMeta};
use crate::types::{
    EventId, LogIndex, LogPosition, Micros, NodeId, RequestId, Term, Time, WriteId,
};

/// One thing that happened on one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// Where, and its number there.
    pub id: EventId,
    /// When, by that node's clock.
    pub time: Time,
    /// What led to it: on the same node, or for a receipt the sending on another.
    pub cause: Option<EventId>,
    /// What happened.
    pub kind: EventKind,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The server began to run, with what its disk held.
    Started(Box<NodeState>),
    /// Somebody began to watch: the server's state at this moment, for a screen to start from.
    Attached(Box<NodeState>),
    /// The server ended without warning; what its disk had not finished is gone.
    Crashed,
    /// The server is paused; its timers will fire late.
    Frozen,
    /// The server goes on after a pause.
    Thawed,
    /// The server changed roles.
    RoleChanged {
        /// The new role.
        role: RoleName,
        /// The term in which it holds.
        term: Term,
        /// Why.
        why: RoleReason,
    },
    /// A follower learned who leads its term.
    LeaderKnown {
        /// The leader.
        leader: NodeId,
        /// Its term.
        term: Term,
    },
    /// The server's current term grew (§5.1).
    TermChanged {
        /// The term before.
        from: Term,
        /// The term now.
        to: Term,
        /// Why.
        why: TermReason,
    },
    /// The server said yes to a candidate (the answer waits for the disk).
    VoteGranted {
        /// Whom it supports.
        candidate: NodeId,
        /// In which term.
        term: Term,
        /// Whether it was only asked what it would do.
        pre: bool,
    },
    /// The server said no to a candidate.
    VoteRefused {
        /// Whom it refused.
        candidate: NodeId,
        /// In which term.
        term: Term,
        /// Whether it was only asked what it would do.
        pre: bool,
        /// The condition that failed.
        why: VoteRefusal,
    },
    /// A candidate counted a vote.
    VoteCounted {
        /// Who voted; the candidate itself included.
        voter: NodeId,
        /// Yes or no.
        granted: bool,
        /// Whether it was a vote before the election.
        pre: bool,
        /// Yes votes so far.
        votes: u64,
        /// Yes votes that win.
        needed: u64,
    },
    /// A timer was set.
    TimerArmed {
        /// Which.
        timer: Timer,
        /// When it will fire unless it is set again.
        due: Time,
    },
    /// A timer ran out.
    TimerFired {
        /// Which.
        timer: Timer,
    },
    /// A message left the server; its `seq` is this event's.
    MessageSent(Message),
    /// The network took a message and will deliver it, unless something stops it.
    MessageInTransit {
        /// Which message.
        message: EventId,
        /// When it arrives.
        due: Time,
    },
    /// A message arrived.
    MessageReceived {
        /// The event that sent it.
        message: EventId,
        /// Its kind.
        name: MessageName,
    },
    /// A message ended on its way, or was refused by its receiver.
    MessageDropped {
        /// Which message.
        message: EventId,
        /// Why.
        why: DropReason,
    },
    /// Entries went into the log in memory.
    EntriesAppended {
        /// The last entry now in the log.
        last: LogPosition,
        /// The entries. A summarised event holds only the newest of them.
        entries: Entries,
    },
    /// Entries that conflict with the leader's were removed (§5.3).
    LogTruncated {
        /// The first index that was removed.
        from: LogIndex,
        /// The last entry that remains.
        last: LogPosition,
    },
    /// The log up to here was forgotten, since a snapshot holds its effect (§7).
    LogCompacted {
        /// The last position that was forgotten.
        to: LogPosition,
    },
    /// A batch went to the disk.
    WriteStarted {
        /// The batch.
        write: WriteId,
        /// The last log index that is durable once it is done.
        last_index: LogIndex,
    },
    /// A batch became durable.
    WritePersisted {
        /// The batch.
        write: WriteId,
        /// The last log index that is durable now.
        durable_index: LogIndex,
    },
    /// The disk refused a batch. The server does nothing more until it is restarted.
    WriteFailed {
        /// The batch.
        write: WriteId,
    },
    /// The log got another configuration, which holds from now on (§6).
    ConfigurationAppended {
        /// Where it stands.
        position: LogPosition,
        /// The members.
        membership: Membership,
    },
    /// A configuration is committed (§6).
    ConfigurationCommitted {
        /// Where it stands.
        index: LogIndex,
        /// The members.
        membership: Membership,
    },
    /// Configurations were cut off with the log's end; an earlier one holds again (§6).
    ConfigurationRolledBack {
        /// The members now.
        membership: Membership,
    },
    /// The commit index grew.
    CommitAdvanced {
        /// Before.
        from: LogIndex,
        /// Now.
        to: LogIndex,
        /// What allowed it.
        why: CommitReason,
    },
    /// A committed entry changed the state.
    Applied {
        /// The entry.
        position: LogPosition,
        /// The state's digest after it.
        digest: u64,
        /// The state's revision after it.
        revision: u64,
    },
    /// The state up to an entry is durable as a snapshot.
    SnapshotSaved {
        /// Which state.
        meta: SnapshotMeta,
    },
    /// The state was replaced by the leader's snapshot.
    SnapshotInstalled {
        /// Which state.
        meta: SnapshotMeta,
        /// Its digest.
        digest: u64,
    },
    /// A snapshot was not taken over.
    SnapshotIgnored {
        /// Which state.
        last: LogPosition,
        /// Why.
        why: SnapshotRefusal,
    },
    /// A leader's view of a follower changed.
    ProgressChanged {
        /// The follower.
        peer: NodeId,
        /// What the leader knows.
        progress: ProgressState,
    },
    /// A leader sends nothing more to a server that has left the cluster.
    PeerDismissed {
        /// Which.
        peer: NodeId,
    },
    /// A leader found that a follower lacks what it had acknowledged as durable.
    PeerLostLog {
        /// Which.
        peer: NodeId,
    },
    /// A leader begins to hand over its office (dissertation §3.10).
    TransferStarted {
        /// To whom.
        to: NodeId,
    },
    /// The hand-over came to nothing in time; the leader goes on.
    TransferAborted {
        /// To whom.
        to: NodeId,
    },
    /// A client asked for something.
    ClientRequest {
        /// The request.
        request: RequestId,
        /// What it asks.
        operation: Operation,
    },
    /// A client got its answer.
    ClientAnswer {
        /// The request.
        request: RequestId,
        /// The answer.
        outcome: Outcome,
    },
    /// A majority confirmed the leader, so reads up to this round may be answered (§8).
    ReadsConfirmed {
        /// The heartbeat round.
        round: u64,
        /// How many reads it answers.
        reads: u64,
    },
    /// A leader answers a read by its lease (dissertation §6.4.1).
    LeaseRead {
        /// The request.
        request: RequestId,
    },
    /// The links between nodes changed.
    LinkChanged {
        /// The sending side.
        from: NodeId,
        /// The receiving side.
        to: NodeId,
        /// Whether messages pass.
        up: bool,
    },
    /// Something else that was done to the cluster from outside.
    Fault(Fault),
    /// Many events in quick succession were left out to spare the node; the state that follows in
    /// an [`EventKind::Attached`] makes up for them.
    Summarised {
        /// How many.
        events: u64,
    },
    /// After the same entry another member has another state. Told when the two begin to differ, and
    /// when the server stops.
    StateDiffers {
        /// Which member.
        peer: NodeId,
        /// The entry.
        index: LogIndex,
        /// The digest of this server's state after it.
        own: u64,
        /// The digest of the other's.
        theirs: u64,
        /// Whether a majority has the other's state, so that this server stops for good.
        stops: bool,
    },
}

/// What a leader knows of a follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProgressState {
    /// The highest index known to be replicated there.
    pub match_index: LogIndex,
    /// The next index to send.
    pub next_index: LogIndex,
    /// How entries are sent.
    pub mode: ProgressMode,
    /// Messages with entries that are not answered yet.
    pub in_flight: u64,
    /// When the follower last answered, by the leader's clock.
    pub last_contact: Option<Time>,
}

/// How a leader sends to a follower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressMode {
    /// One message at a time, until the logs are known to agree.
    #[default]
    Probe,
    /// Several messages under way.
    Replicate,
    /// The follower is behind the compaction point and gets a snapshot.
    Snapshot,
    /// The follower lacks what it had acknowledged and counts for nothing until it joins anew.
    Lost,
}

/// All of a server's state that a screen shows; also what a watcher starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeState {
    /// Its role.
    pub role: RoleName,
    /// Its term.
    pub term: Term,
    /// Its vote in that term.
    pub voted_for: Option<NodeId>,
    /// The leader that it knows.
    pub leader: Option<NodeId>,
    /// The members.
    pub membership: Membership,
    /// The position before the first log entry.
    pub base: LogPosition,
    /// The last log entry.
    pub last: LogPosition,
    /// The newest log entries, as many as a screen may want.
    pub entries: Vec<Entry>,
    /// The last durable index.
    pub durable_index: LogIndex,
    /// The commit index.
    pub commit_index: LogIndex,
    /// The last applied index.
    pub last_applied: LogIndex,
    /// The digest of the state.
    pub digest: u64,
    /// The state's revision.
    pub revision: u64,
    /// Key-value pairs of the state, as many as a screen may want.
    pub pairs: Vec<crate::kv::Pair>,
    /// What is about time, as much as a screen may want.
    pub timekeeping: crate::kv::Timekeeping,
    /// When the running timer is due, and how long it was set for.
    pub timer: Option<(Timer, Time, Micros)>,
    /// A leader's view of its followers.
    pub progress: Vec<(NodeId, ProgressState)>,
}

/// The newest entries that a [`NodeState`] holds at most.
pub const STATE_ENTRIES: usize = 256;

/// The pairs that a [`NodeState`] holds at most.
pub const STATE_PAIRS: usize = 256;

impl EventKind {
    /// What a disk batch covers, for [`EventKind::WriteStarted`].
    pub fn write_started(write: &Write, last_index: LogIndex) -> Self {
        Self::WriteStarted { write: write.id, last_index }
    }
}
