//! What a replica takes in, what it gives out, and what it starts from.

use bytes::Bytes;

use crate::config::Config;
use crate::durable::{Bootstrap, Recovered, Write};
use crate::event::Outcome;
use crate::kv::{Snapshot, UnknownCommand};
use crate::limits::Semantics;
use crate::membership::MembershipChange;
use crate::message::{Message, SnapshotMeta};
use crate::types::{LogIndex, LogPosition, Micros, NodeId, RequestId, WriteId};

/// What a driver tells a replica.
#[derive(Clone, Debug)]
pub enum Input {
    /// The [`super::Replica::deadline`] has passed.
    Tick,
    /// A message came from a peer.
    Receive(Message),
    /// The same for a message that was on its way for `age`, in µs, as far as the transport can
    /// tell: at least as long as it waited in buffers. A leader's word that is older than an election
    /// timeout does not tell that it is still alive.
    ReceiveAged {
        /// What came.
        message: Message,
        /// For how long it was on its way.
        age: Micros,
    },
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
    /// many costs a small message. Without any word it asks a heartbeat interval later.
    SendFailed(NodeId),
    /// Every member that there is now, voter or learner, runs a release that knows these rules of the
    /// state machine. A leader lets them hold from then on, as long as the members stay the same.
    /// Whoever does not know them must not take part after that.
    MembersKnow(Semantics),
}

/// Why a replica stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// The disk refused a batch.
    #[error("the disk refused a write")]
    DiskFailed,
    /// A committed command is not known here.
    #[error(
        "entry {position} of the log is a command that this release does not know ({command}). It \
         was not skipped, and nothing is lost: start this server again with the release that the \
         leader runs, or a later one"
    )]
    UnknownCommand {
        /// Where it stands.
        position: LogPosition,
        /// What is known of it.
        command: UnknownCommand,
    },
    /// A majority of the voters has another state.
    #[error(
        "after entry {index} of the log the state of this server is {own:016x}, and that of a majority \
         of the servers is {theirs:016x}: its answers may be wrong, so it must not serve. Its data \
         directory is kept for you to look at. Take this server out (`native-node member remove ID`), \
         start it with another, empty directory and without --new-cluster, and let it in again \
         (`native-node member add ID=PEER/CLIENT`)"
    )]
    StateDiffers {
        /// The entry.
        index: LogIndex,
        /// The digest of the state here.
        own: u64,
        /// The digest of the state of the majority.
        theirs: u64,
    },
}

/// A client's change.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// Names it in the answer.
    pub request: RequestId,
    /// The [`crate::kv::Command`], encoded.
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
    /// The rules of its state where it has no snapshot: the same on all servers, whichever release
    /// each runs.
    pub semantics: Semantics,
    /// Seeds its election timeouts; should differ between servers.
    pub seed: u64,
    /// The number of its first event; must be above all those of earlier runs.
    pub first_seq: u64,
}
