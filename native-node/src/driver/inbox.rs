//! What the driver hears, from clients, peers, the disk and the clock.

use bytes::Bytes;
use raft_core::kv::KvStore;
use raft_core::membership::{Membership, MembershipChange};
use raft_core::types::NodeId;
use tokio::sync::oneshot;

use crate::admission::Permit;
use crate::config::Address;
use crate::handle::{Reply, Written};
use crate::storage::StorageEvent;
use crate::transport::Delivery;

/// What the driver hears.
#[derive(Debug)]
pub enum Inbox {
    /// A client wants a change.
    Propose {
        /// The encoded command.
        command: Bytes,
        /// Where the answer goes.
        reply: Reply<Written>,
        /// Held until the answer is known, even if nobody waits for it any more.
        permit: Permit,
    },
    /// A client wants to read what is committed by now.
    Read {
        /// Where the state goes.
        reply: Reply<KvStore>,
        /// Whether the leader may answer by its lease.
        lease: bool,
        /// As for a change.
        permit: Permit,
    },
    /// A client wants to read what is here, be it old.
    ReadLocal {
        /// Where the state goes.
        reply: Reply<KvStore>,
        /// As for a change.
        permit: Permit,
    },
    /// Somebody wants other members.
    ChangeMembership {
        /// Which.
        change: MembershipChange,
        /// Where the members go once the change is complete.
        reply: Reply<Membership>,
        /// As for a change of the state.
        permit: Permit,
    },
    /// Somebody wants another leader.
    TransferLeadership {
        /// Which; `None` for whoever is best.
        to: Option<NodeId>,
        /// Where the new leader's number goes.
        reply: Reply<NodeId>,
        /// As for a change.
        permit: Permit,
    },
    /// A frame from a peer.
    Peer(Delivery),
    /// A server came in that this one has no address of.
    Met(NodeId, Address),
    /// Something that was sent to a server may be lost.
    SendFailed(NodeId),
    /// The disk's answer.
    Storage(StorageEvent),
    /// The log should be compacted, however small it is.
    Compact,
    /// Somebody began to watch events or keys.
    Wake,
    /// Somebody wants to know whether the driver runs.
    Ping(oneshot::Sender<()>),
    /// The server ends.
    Stop,
}
