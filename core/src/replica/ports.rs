//! The inputs, outputs and start state of a replica.

use bytes::Bytes;

use crate::config::Config;
use crate::durable::{Bootstrap, Recovered, Write};
use crate::event::Outcome;
use crate::kv::{Snapshot, UnknownCommand};
use crate::limits::Semantics;
use crate::membership::MembershipChange;
use crate::message::Message;
use crate::snapshot::SnapshotMeta;
use crate::types::{LogIndex, LogPosition, Micros, NodeId, RequestId, WriteId};

/// An input from the driver to a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// The [`super::Replica::deadline`] has passed.
    Tick,
    /// A message from a peer arrived.
    Receive(Message),
    /// Like [`Self::Receive`], for a message that was in transit for `age`. The transport reports
    /// at least the time that the message waited in buffers. A leader's message that is older than
    /// an election timeout does not show that the leader is still alive.
    ReceiveAged {
        /// The message.
        message: Message,
        /// How long the message was in transit, in µs.
        age: Micros,
    },
    /// A client requests a change of the members (§6).
    ChangeMembership {
        /// Identifies the request in its answer.
        request: RequestId,
        /// The requested change.
        change: MembershipChange,
    },
    /// A client requests another leader (dissertation §3.10).
    TransferLeadership {
        /// Identifies the request in its answer.
        request: RequestId,
        /// The new leader; `None` for the voter with the highest match index.
        to: Option<NodeId>,
    },
    /// Clients propose changes. The driver should pass all waiting proposals together: they share a
    /// batch on disk and a message to each peer.
    Propose(Vec<Proposal>),
    /// A client requests a linearizable read (§8), from a leader or a follower.
    Read {
        /// Identifies the request in its answer.
        request: RequestId,
        /// Whether a leader may answer by its lease, which relies on bounded clock drift
        /// ([`Config::lease_reads`]). Without a lease it confirms its leadership as for any other
        /// read.
        lease: bool,
    },
    /// This batch and all earlier batches are durable.
    Persisted(WriteId),
    /// A batch could not be made durable. The replica stops.
    PersistFailed(WriteId),
    /// Takes a snapshot now, unless nothing was applied since the last one.
    Compact,
    /// The snapshot of [`Output::SaveSnapshot`] is durable.
    SnapshotSaved(SnapshotMeta),
    /// The snapshot of [`Output::SaveSnapshot`] could not be saved; the replica retries later.
    SnapshotFailed(SnapshotMeta),
    /// Messages to this peer may be lost: a connection broke, or a queue dropped messages. The
    /// replica asks the peer whether any are lost, so a needless report only costs a small message.
    /// Without a report it asks a heartbeat interval later.
    SendFailed(NodeId),
    /// Every current member, voter or learner, runs a release that knows these state machine rules.
    /// A leader activates them if the members stay the same. After that, no server may take part
    /// that does not know the rules.
    MembersKnow(Semantics),
}

/// Why a replica stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The disk failed to persist a batch.
    #[error("the disk failed to write")]
    DiskFailed,
    /// This release does not know a committed command.
    #[error(
        "entry {position} of the log is a command that this release does not know ({command}). It \
         was not skipped, and nothing is lost. Start this server again with the leader's release \
         or a later release"
    )]
    UnknownCommand {
        /// The position of the command.
        position: LogPosition,
        /// Why the command could not be decoded.
        command: UnknownCommand,
    },
    /// A majority of the voters has a different state.
    #[error(
        "the state of this server after log entry {index} is {own:016x}. A majority of the servers \
         has the state {theirs:016x}. This server's answers may be wrong, so it must not serve. \
         Its data directory is kept for you to examine. Remove this server \
         (`glassraft member remove ID`). Start it with another, empty directory and without \
         --new-cluster. Then add it again (`glassraft member add ID=PEER/CLIENT`)"
    )]
    StateDiffers {
        /// The entry after which the states differ.
        index: LogIndex,
        /// The digest of this server's state.
        own: u64,
        /// The digest of the majority's state.
        theirs: u64,
    },
}

/// A change that a client proposes.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Identifies the request in its answer.
    pub request: RequestId,
    /// The encoded [`crate::kv::Command`].
    pub command: Bytes,
}

/// An action that a replica requests from its driver.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make this batch durable; answer with [`Input::Persisted`] or [`Input::PersistFailed`].
    Persist(Write),
    /// Send this message; the network may lose it.
    Send(Message),
    /// Answer a client.
    Respond(RequestId, Outcome),
    /// Make this state durable, without urgency. Answer with [`Input::SnapshotSaved`] or
    /// [`Input::SnapshotFailed`]. At most one save is in progress.
    SaveSnapshot(Box<Snapshot>),
}

/// The start state of a replica.
#[derive(Clone, Debug)]
pub struct Start {
    /// The ID of the server.
    pub id: NodeId,
    /// The configuration of the server.
    pub config: Config,
    /// The cluster's first members, for a server without a snapshot.
    pub bootstrap: Bootstrap,
    /// The log and hard state recovered from disk.
    pub recovered: Recovered,
    /// The newest snapshot on disk.
    pub snapshot: Option<Snapshot>,
    /// The state machine rules of a server without a snapshot. They must be the same on all
    /// servers, even if their releases differ.
    pub semantics: Semantics,
    /// The seed of the election timeouts; it should differ between servers.
    pub seed: u64,
    /// The number of the first event; it must be above all numbers of earlier runs.
    pub first_seq: u64,
}
