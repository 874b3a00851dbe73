//! What a line of a scenario can say.

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
    /// The server's election timer runs out now.
    Elect(NodeId),
    /// Time passes.
    Wait(Micros),
    /// Time passes until something is so, but no longer than `within`.
    WaitUntil {
        /// What.
        condition: Condition,
        /// How long at most, in µs.
        within: Micros,
    },
    /// Something must be so, now.
    Expect(Condition),
    /// Servers of different groups cannot talk any more.
    Partition(Vec<BTreeSet<NodeId>>),
    /// All links work again, and nothing is lost.
    Heal,
    /// Links are cut or mended.
    SetLink {
        /// The sending side.
        from: NodeId,
        /// The receiving side.
        to: NodeId,
        /// Whether the other direction too.
        both: bool,
        /// Whether messages pass.
        up: bool,
    },
    /// The server loses its power.
    Crash(NodeId),
    /// The server starts from its disk.
    Restart(NodeId),
    /// The server's process is paused.
    Freeze(NodeId),
    /// The server's process goes on.
    Thaw(NodeId),
    /// A client asks for a change.
    Write {
        /// Whom it asks.
        node: NodeId,
        /// For what.
        change: Change,
    },
    /// A client asks for a change as the request of this number in the session that was opened
    /// last. The same number again is the same request, sent once more.
    InSession {
        /// Whom it asks.
        node: NodeId,
        /// The request's number in the session.
        sequence: u64,
        /// For what.
        change: Change,
    },
    /// A client asks for a linearizable read.
    Read {
        /// Whom it asks.
        node: NodeId,
        /// The key.
        key: String,
        /// Whether a leader may answer by its lease.
        lease: bool,
    },
    /// Somebody asks for other members.
    ChangeMembership {
        /// Whom they ask.
        node: NodeId,
        /// For what.
        change: MembershipChange,
    },
    /// Somebody asks a leader to hand over its office.
    Transfer {
        /// Whom they ask.
        node: NodeId,
        /// Who should lead.
        to: NodeId,
    },
    /// A new server starts, which no cluster knows yet.
    AddServer(NodeId),
    /// The disk of a server that is down is emptied.
    Wipe(NodeId),
    /// From now on the server's clock runs at this rate, in 1000ths of the true one.
    Clock {
        /// Whose.
        node: NodeId,
        /// How fast.
        permille: u32,
    },
    /// Something is done to messages on their way.
    Message(Deed, MessageQuery),
    /// One direction of one link takes so long from now on, in µs.
    Slow {
        /// The sending side.
        from: NodeId,
        /// The receiving side.
        to: NodeId,
        /// How long.
        delay: Micros,
    },
    /// The server takes a snapshot and shortens its log.
    Compact(NodeId),
    /// From now on messages take so long, in µs.
    Delay(Micros),
    /// From now on each sync of a disk takes so long, in µs.
    Disk(Micros),
    /// From now on so many of 1000 messages are lost.
    Loss(u16),
}

/// Names messages on their way by what can be seen of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageQuery {
    /// Their kind.
    pub kind: Kind,
    /// Who sent them.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// Only those that carry the entry of this index.
    pub with: Option<LogIndex>,
    /// Only copies, or only what is none.
    pub copy: bool,
}

/// What can be done to a message on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It is lost.
    Drop,
    /// It stays in the air until it is released.
    Hold,
    /// It arrives now.
    Release,
    /// It gets a copy.
    Duplicate,
}

/// A kind of messages, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All messages of a link.
    Any,
    /// Those of this name.
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
