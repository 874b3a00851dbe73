//! The commands of a scenario.

use std::collections::BTreeSet;
use std::fmt;

use super::condition::Condition;
use crate::kv::Command as Change;
use crate::membership::MembershipChange;
use crate::message::MessageName;
use crate::types::{LogIndex, Micros, NodeId};

/// One line of a `raft` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The server's election timer expires now.
    Elect(NodeId),
    /// Lets this time pass, in µs.
    Wait(Micros),
    /// Waits until a condition holds, at most for `within`.
    WaitUntil {
        /// The condition.
        condition: Condition,
        /// The longest wait, in µs.
        within: Micros,
    },
    /// The condition must hold now.
    Expect(Condition),
    /// Servers of different groups cannot communicate any more.
    Partition(Vec<BTreeSet<NodeId>>),
    /// All links work again, and no message is lost.
    Heal,
    /// Cuts or restores a link.
    SetLink {
        /// The sending server.
        from: NodeId,
        /// The receiving server.
        to: NodeId,
        /// Whether this also concerns the other direction.
        both: bool,
        /// Whether messages pass.
        up: bool,
    },
    /// Cuts the server's power.
    Crash(NodeId),
    /// Starts the server from its disk.
    Restart(NodeId),
    /// Pauses the server's process.
    Freeze(NodeId),
    /// Resumes the server's process.
    Thaw(NodeId),
    /// A client requests a change.
    Write {
        /// The server that the client asks.
        node: NodeId,
        /// The change.
        change: Change,
    },
    /// A client requests a change in the session that was opened last. A repeated number repeats
    /// the same request.
    InSession {
        /// The server that the client asks.
        node: NodeId,
        /// The request's number in the session.
        sequence: u64,
        /// The change.
        change: Change,
    },
    /// A client requests a linearizable read.
    Read {
        /// The server that the client asks.
        node: NodeId,
        /// The key.
        key: String,
        /// Whether a leader may answer the read under its lease.
        lease: bool,
    },
    /// A client requests a change of the membership.
    ChangeMembership {
        /// The server that the client asks.
        node: NodeId,
        /// The change.
        change: MembershipChange,
    },
    /// A client asks a leader to transfer leadership.
    Transfer {
        /// The server that the client asks.
        node: NodeId,
        /// The next leader.
        to: NodeId,
    },
    /// Starts a new server that no cluster knows yet.
    AddServer(NodeId),
    /// Empties the disk of a server that is down.
    Wipe(NodeId),
    /// Sets the rate of the server's clock from now on.
    Clock {
        /// The server.
        node: NodeId,
        /// The rate, in 1000ths of true time.
        permille: u32,
    },
    /// Does something to messages in transit.
    Message(MessageAction, MessageQuery),
    /// Sets the delay of one direction of one link from now on.
    Slow {
        /// The sending server.
        from: NodeId,
        /// The receiving server.
        to: NodeId,
        /// The delay, in µs.
        delay: Micros,
    },
    /// The server takes a snapshot and compacts its log.
    Compact(NodeId),
    /// Sets the delay of all messages from now on, in µs.
    Delay(Micros),
    /// Sets the duration of every disk sync from now on, in µs.
    Disk(Micros),
    /// From now on, the network loses this many of 1000 messages.
    Loss(u16),
}

/// Selects messages in transit by their visible properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageQuery {
    /// The kind of message.
    pub kind: Kind,
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// Selects only messages with the entry of this index.
    pub with: Option<LogIndex>,
    /// Whether to select copies instead of originals.
    pub copy: bool,
}

/// What can be done to a message in transit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageAction {
    /// The message is lost.
    Drop,
    /// The message stays in transit until it is released.
    Hold,
    /// The message arrives now.
    Release,
    /// The message is copied.
    Duplicate,
}

/// One kind of message, or all kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All messages of a link.
    Any,
    /// The messages with this name.
    Named(MessageName),
}

impl fmt::Display for MessageQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.copy {
            f.write_str("copy of ")?;
        }
        match self.kind {
            Kind::Any => f.write_str("message")?,
            Kind::Named(name) => write!(f, "{name}")?,
        }
        write!(f, " {} -> {}", self.from, self.to)?;
        match self.with {
            Some(index) => write!(f, " with index {index}"),
            None => Ok(()),
        }
    }
}
