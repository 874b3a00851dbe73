//! What the environment does to servers and messages, beside crashes, freezes and cut links.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::{EventId, NodeId, Time, WriteId};

/// See the module. Servers never tell of them: the simulator does, and whoever watches real servers
/// together with their supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A message stays in the air until further notice.
    MessageHeld {
        /// Its name in the air.
        message: EventId,
    },
    /// A copy of a message flies beside it; this event is its name in the air.
    MessageCopied {
        /// The message as it was sent.
        message: EventId,
        /// When the copy arrives; `None` while it is held.
        due: Option<Time>,
    },
    /// A disk finishes nothing any more.
    DiskStalled {
        /// Whose.
        node: NodeId,
    },
    /// A disk goes on.
    DiskMended {
        /// Whose.
        node: NodeId,
    },
    /// A snapshot could not be saved.
    SnapshotNotSaved {
        /// Whose.
        node: NodeId,
    },
    /// A record was being written when the power went.
    RecordTorn {
        /// Whose.
        node: NodeId,
        /// The batch.
        write: WriteId,
        /// How many of its entries were taken for whole: none, unless checksums are missing.
        entries: u64,
    },
    /// A bit of what is durable changed.
    BitFlipped {
        /// Whose.
        node: NodeId,
    },
    /// A disk was emptied.
    Wiped {
        /// Whose.
        node: NodeId,
    },
    /// A clock jumped or changed its rate.
    ClockSet {
        /// Whose.
        node: NodeId,
        /// What it shows now.
        time: Time,
        /// How many of its seconds pass in 1000 true ones.
        rate_permille: u32,
    },
    /// A disk has no room for more.
    DiskFull {
        /// Whose.
        node: NodeId,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageHeld { message } => write!(f, "Message {message} is held in the air"),
            Self::MessageCopied { message, due: Some(due) } => {
                write!(f, "Message {message} flies twice, its copy will arrive at {due}")
            }
            Self::MessageCopied { message, due: None } => {
                write!(f, "Message {message} is in the air twice, both held")
            }
            Self::DiskStalled { node } => write!(f, "The disk of {node} finishes nothing any more"),
            Self::DiskMended { node } => write!(f, "The disk of {node} goes on"),
            Self::DiskFull { node } => write!(f, "The disk of {node} has no room"),
            Self::SnapshotNotSaved { node } => {
                write!(f, "The disk of {node} cannot save a snapshot")
            }
            Self::RecordTorn { node, write, entries: 0 } => {
                write!(f, "Batch {write} is torn on the disk of {node}, as its checksum tells")
            }
            Self::RecordTorn { node, write, entries } => write!(
                f,
                "Batch {write} is torn on the disk of {node}, of which {entries} entries are \
                 taken for whole"
            ),
            Self::BitFlipped { node } => write!(f, "A bit on the disk of {node} changes"),
            Self::Wiped { node } => write!(f, "The disk of {node} is emptied"),
            Self::ClockSet { node, time, rate_permille } => write!(
                f,
                "The clock of {node} shows {time} and runs at {rate_permille} thousandths of true \
                 time"
            ),
        }
    }
}
