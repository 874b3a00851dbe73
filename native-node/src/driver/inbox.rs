//! The inputs of the driver, from clients, peers, the disk and the clock.

use api::address::Address;
use bytes::Bytes;
use raft_core::kv::KvStore;
use raft_core::membership::{Membership, MembershipChange};
use raft_core::types::NodeId;
use storage::StorageEvent;
use tokio::sync::oneshot;

use crate::admission::Permit;
use crate::driver::handle::{Reply, Written};
use crate::transport::Delivery;

/// An input of the driver.
#[derive(Debug)]
pub enum Inbox {
    /// A client proposes a command.
    Propose {
        /// The encoded command.
        command: Bytes,
        /// The channel for the answer.
        reply: Reply<Written>,
        /// Held until the answer is known, even if no client waits for it any more.
        permit: Permit,
    },
    /// A client reads everything that is committed by now.
    Read {
        /// The channel for the state.
        reply: Reply<KvStore>,
        /// Whether the leader may answer by its lease.
        lease: bool,
        /// Held until the answer is known.
        permit: Permit,
    },
    /// A client reads the state of this server, which may be old.
    ReadLocal {
        /// The channel for the state.
        reply: Reply<KvStore>,
        /// Held until the answer is sent.
        permit: Permit,
    },
    /// A client changes the members.
    ChangeMembership {
        /// The change.
        change: MembershipChange,
        /// The channel for the members once the change is complete.
        reply: Reply<Membership>,
        /// Held until the answer is known.
        permit: Permit,
    },
    /// A client transfers leadership.
    TransferLeadership {
        /// The new leader; `None` for the best candidate.
        to: Option<NodeId>,
        /// The channel for the new leader's ID.
        reply: Reply<NodeId>,
        /// Held until the answer is known.
        permit: Permit,
    },
    /// A frame from a peer.
    Peer(Delivery),
    /// A server connected that this server does not dial yet.
    Met(NodeId, Address),
    /// Messages to a server may be lost.
    SendFailed(NodeId),
    /// An event from the storage.
    Storage(StorageEvent),
    /// Compact the log, however small it is.
    Compact,
    /// A watcher or subscriber joined, or the watchdog checks that the loop runs.
    Wake,
    /// A caller checks that the driver runs.
    Ping(oneshot::Sender<()>),
    /// The server stops.
    Stop,
}
