//! What happened and why: the single record behind every screen, log line and check.
//!
//! Each event names its cause, so every chain of events leads back to an outside input: a timer, a
//! client or a fault. Within a node, `seq` orders events. Across nodes, a message is sent before it
//! is received. Clocks of different nodes cannot be compared.

mod fault;
mod reason;
mod request;
mod words;

pub use fault::Fault;
pub use reason::{
    CommitReason, DropReason, MessageRefusal, RoleName, RoleReason, SnapshotRefusal, TermReason,
    Timer,
};
pub use request::{Outcome, RequestKind, RequestRefusal};
use serde::{Deserialize, Serialize};

use crate::durable::Write;
use crate::log::{Entries, Entry};
use crate::membership::Membership;
use crate::message::{Message, MessageName};
use crate::rules::VoteRefusal;
use crate::snapshot::SnapshotMeta;
use crate::types::{
    EventId, LogIndex, LogPosition, Micros, NodeId, RequestId, Term, Time, WriteId,
};

/// One thing that happened on one node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Event {
    /// The node, and the event's number on that node.
    pub id: EventId,
    /// The time by that node's clock.
    pub time: Time,
    /// The event that caused it: on the same node, or, for a receipt, the sending on another node.
    pub cause: Option<EventId>,
    /// What happened.
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The server started, with the state that its disk held.
    Started(Box<NodeState>),
    /// The server's state at this moment, from which a new subscriber starts.
    Attached(Box<NodeState>),
    /// The server crashed. What its disk had not finished is lost.
    Crashed,
    /// The server is paused; its timers fire late.
    Frozen,
    /// The server resumes after a pause.
    Thawed,
    /// The server changed its role.
    RoleChanged {
        /// The new role.
        role: RoleName,
        /// The term of the new role.
        term: Term,
        /// Why.
        why: RoleReason,
    },
    /// A follower learned the leader of its term.
    LeaderKnown {
        /// The leader.
        leader: NodeId,
        /// Its term.
        term: Term,
    },
    /// The server's current term increased (§5.1).
    TermChanged {
        /// The term before.
        from: Term,
        /// The term now.
        to: Term,
        /// Why.
        why: TermReason,
    },
    /// The server granted a vote or pre-vote. The reply waits for the disk.
    VoteGranted {
        /// The candidate.
        candidate: NodeId,
        /// The term of the election.
        term: Term,
        /// Whether it is a pre-vote.
        pre: bool,
    },
    /// The server refused a vote or pre-vote.
    VoteRefused {
        /// The candidate.
        candidate: NodeId,
        /// The term of the election.
        term: Term,
        /// Whether it is a pre-vote.
        pre: bool,
        /// The condition that failed.
        why: VoteRefusal,
    },
    /// A candidate counted a vote.
    VoteCounted {
        /// The voter, which may be the candidate itself.
        voter: NodeId,
        /// Whether the voter granted the vote.
        granted: bool,
        /// Whether it is a pre-vote.
        pre: bool,
        /// Granted votes so far.
        votes: u64,
        /// Granted votes needed to win.
        needed: u64,
    },
    /// A timer was set.
    TimerArmed {
        /// Which timer.
        timer: Timer,
        /// When it fires, unless it is set again.
        due: Time,
    },
    /// A timer expired.
    TimerFired {
        /// Which timer.
        timer: Timer,
    },
    /// The server sent a message, with the `seq` of this event.
    MessageSent(Message),
    /// The network accepted a message and delivers it, unless a fault stops it.
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
    /// A message was lost in transit, or its receiver refused it.
    MessageDropped {
        /// Which message.
        message: EventId,
        /// Why.
        why: DropReason,
    },
    /// The server appended entries to its log in memory.
    EntriesAppended {
        /// The last entry now in the log.
        last: LogPosition,
        /// The entries. A summarised event holds only the newest of them.
        entries: Entries,
    },
    /// The server removed entries that conflict with the leader's (§5.3).
    LogTruncated {
        /// The first index that was removed.
        from: LogIndex,
        /// The last entry that remains.
        last: LogPosition,
    },
    /// The log up to here was removed from memory: a snapshot covers it (§7), or the log was too
    /// large.
    LogCompacted {
        /// The last removed position.
        to: LogPosition,
    },
    /// The server submitted a batch to the disk.
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
    /// The disk failed to write a batch. The server stops until it is restarted.
    WriteFailed {
        /// The batch.
        write: WriteId,
    },
    /// The server appended a configuration, which is in force from now on (§6).
    ConfigurationAppended {
        /// Its position in the log.
        position: LogPosition,
        /// The members.
        membership: Membership,
    },
    /// A configuration is committed (§6).
    ConfigurationCommitted {
        /// Its index in the log.
        index: LogIndex,
        /// The members.
        membership: Membership,
    },
    /// The server truncated configurations; an earlier configuration is in force again (§6).
    ConfigurationRolledBack {
        /// The members now.
        membership: Membership,
    },
    /// The commit index increased.
    CommitAdvanced {
        /// The commit index before.
        from: LogIndex,
        /// The commit index now.
        to: LogIndex,
        /// Why the entries are committed.
        why: CommitReason,
    },
    /// The server applied a committed entry.
    Applied {
        /// The entry.
        position: LogPosition,
        /// The state's digest after it.
        digest: u64,
        /// The state's revision after it.
        revision: u64,
    },
    /// A snapshot of the state became durable.
    SnapshotSaved {
        /// What the snapshot covers.
        meta: SnapshotMeta,
    },
    /// The server replaced its state with the leader's snapshot.
    SnapshotInstalled {
        /// What the snapshot covers.
        meta: SnapshotMeta,
        /// Its digest.
        digest: u64,
    },
    /// The server did not install a snapshot.
    SnapshotIgnored {
        /// The last entry of the snapshot.
        last: LogPosition,
        /// Why.
        why: SnapshotRefusal,
    },
    /// The leader's knowledge about a follower changed.
    ProgressChanged {
        /// The follower.
        peer: NodeId,
        /// What the leader knows.
        progress: ProgressState,
    },
    /// A leader stops sending to a server that has left the cluster.
    PeerDismissed {
        /// The removed server.
        peer: NodeId,
    },
    /// A leader found that a follower lost entries that it had acknowledged as durable.
    PeerLostLog {
        /// The follower.
        peer: NodeId,
    },
    /// A leader starts a leadership transfer (dissertation §3.10).
    TransferStarted {
        /// The target server.
        to: NodeId,
    },
    /// A leadership transfer timed out; the leader continues.
    TransferAborted {
        /// The target server.
        to: NodeId,
    },
    /// A client sent a request.
    ClientRequest {
        /// The request.
        request: RequestId,
        /// What the client asks for.
        operation: RequestKind,
    },
    /// The server answered a request.
    ClientAnswer {
        /// The request.
        request: RequestId,
        /// The answer.
        outcome: Outcome,
    },
    /// A majority confirmed the leader, so it may answer the reads up to this round (§8).
    ReadsConfirmed {
        /// The heartbeat round.
        round: u64,
        /// How many reads the leader answers.
        reads: u64,
    },
    /// A leader answers a read by its lease (dissertation §6.4.1).
    LeaseRead {
        /// The request.
        request: RequestId,
    },
    /// A link between two nodes was cut or repaired.
    LinkChanged {
        /// The sending node.
        from: NodeId,
        /// The receiving node.
        to: NodeId,
        /// Whether the link carries messages.
        up: bool,
    },
    /// Another fault in the cluster's environment.
    Fault(Fault),
    /// The node left out many events in quick succession to save work. The state in a following
    /// [`EventKind::Attached`] replaces them.
    Summarised {
        /// How many events were left out.
        events: u64,
    },
    /// Another member has a different state after the same entry. Recorded when the states begin to
    /// differ, and when the server stops.
    StateDiffers {
        /// The other member.
        peer: NodeId,
        /// The index of the entry.
        index: LogIndex,
        /// The digest of this server's state after the entry.
        own: u64,
        /// The digest of the other member's state.
        theirs: u64,
        /// Whether a majority has the other state; this server then stops for good.
        stops: bool,
    },
}

/// What a leader knows about a follower.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProgressState {
    /// The highest index known to be replicated on the follower.
    pub match_index: LogIndex,
    /// The next index to send.
    pub next_index: LogIndex,
    /// How the leader sends entries.
    pub mode: ProgressMode,
    /// The number of unanswered messages with entries or snapshot chunks.
    pub in_flight: u64,
    /// When the follower last answered, by the leader's clock.
    pub last_contact: Option<Time>,
}

/// How a leader sends to a follower.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressMode {
    /// One message at a time, until the leader knows where the logs agree.
    #[default]
    Probe,
    /// Several messages in flight.
    Replicate,
    /// The follower is behind the compaction point and gets a snapshot.
    Snapshot,
    /// The follower lost entries that it had acknowledged. It does not count toward commits until
    /// it rejoins.
    Lost,
}

/// The part of a server's state that a screen shows. A subscriber starts from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeState {
    /// Its role.
    pub role: RoleName,
    /// Its term.
    pub term: Term,
    /// Its vote in that term.
    pub voted_for: Option<NodeId>,
    /// The leader that it knows of.
    pub leader: Option<NodeId>,
    /// The members.
    pub membership: Membership,
    /// The position before the first log entry.
    pub base: LogPosition,
    /// The last log entry.
    pub last: LogPosition,
    /// The newest log entries, at most [`STATE_ENTRIES`].
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
    /// Key-value pairs of the state, at most [`STATE_PAIRS`].
    pub pairs: Vec<crate::kv::Pair>,
    /// The store's clock, leases and sessions.
    pub timekeeping: crate::kv::Timekeeping,
    /// The running timer, when it is due, and how long it was set for.
    pub timer: Option<(Timer, Time, Micros)>,
    /// What a leader knows about each follower.
    pub progress: Vec<(NodeId, ProgressState)>,
}

/// The maximum number of log entries in a [`NodeState`].
pub const STATE_ENTRIES: usize = 256;

/// The maximum number of key-value pairs in a [`NodeState`].
pub const STATE_PAIRS: usize = 256;

impl EventKind {
    /// Builds the [`EventKind::WriteStarted`] of a batch.
    pub fn write_started(write: &Write, last_index: LogIndex) -> Self {
        Self::WriteStarted { write: write.id, last_index }
    }
}
