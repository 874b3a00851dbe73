//! Faults of servers and messages, besides crashes, freezes and cut links.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::{EventId, NodeId, Time, WriteId};

/// A fault in the environment. The simulator reports faults, or a program that observes real
/// servers with their supervisor. Servers never do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The network holds a message until further notice.
    MessageHeld {
        /// The id of the message in transit.
        message: EventId,
    },
    /// The network copied a message. The id of this event names the copy.
    MessageCopied {
        /// The original message.
        message: EventId,
        /// When the copy arrives; `None` while it is held.
        due: Option<Time>,
    },
    /// A disk stopped finishing writes.
    DiskStalled {
        /// The server.
        node: NodeId,
    },
    /// A disk works again.
    DiskMended {
        /// The server.
        node: NodeId,
    },
    /// A snapshot could not be saved.
    SnapshotNotSaved {
        /// The server.
        node: NodeId,
    },
    /// A power failure interrupted the write of a record.
    RecordTorn {
        /// The server.
        node: NodeId,
        /// The batch.
        write: WriteId,
        /// How many of its entries are read as complete: 0 unless checksums are missing.
        entries: u64,
    },
    /// A bit of durable data changed.
    BitFlipped {
        /// The server.
        node: NodeId,
    },
    /// A disk was erased.
    Wiped {
        /// The server.
        node: NodeId,
    },
    /// A clock jumped or changed its rate.
    ClockSet {
        /// The server.
        node: NodeId,
        /// The time that it shows now.
        time: Time,
        /// How many of its seconds pass in 1000 real seconds.
        rate_permille: u32,
    },
    /// A disk is full.
    DiskFull {
        /// The server.
        node: NodeId,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageHeld { message } => write!(f, "Message {message} is held in transit"),
            Self::MessageCopied { message, due: Some(due) } => {
                write!(f, "Message {message} is copied, and the copy will arrive at {due}")
            }
            Self::MessageCopied { message, due: None } => {
                write!(f, "Message {message} is copied, and both are held")
            }
            Self::DiskStalled { node } => write!(f, "The disk of {node} stops finishing writes"),
            Self::DiskMended { node } => write!(f, "The disk of {node} works again"),
            Self::DiskFull { node } => write!(f, "The disk of {node} is full"),
            Self::SnapshotNotSaved { node } => {
                write!(f, "The disk of {node} cannot save a snapshot")
            }
            Self::RecordTorn { node, write, entries: 0 } => {
                write!(f, "Batch {write} is torn on the disk of {node}; its checksum shows it")
            }
            Self::RecordTorn { node, write, entries } => write!(
                f,
                "Batch {write} is torn on the disk of {node}; {entries} of its entries are read as \
                 complete"
            ),
            Self::BitFlipped { node } => write!(f, "A bit on the disk of {node} changes"),
            Self::Wiped { node } => write!(f, "The disk of {node} is erased"),
            Self::ClockSet { node, time, rate_permille } => write!(
                f,
                "The clock of {node} shows {time} and runs at {rate_permille} thousandths of true \
                 time"
            ),
        }
    }
}
