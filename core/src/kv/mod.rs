//! The replicated state machine: an ordered map of keys to versioned values, with leases and
//! sessions.
//!
//! The versions of the map share structure, so cloning a [`KvStore`] costs a few pointer copies.
//! Snapshots, reads and time travel therefore never block writes.

mod changes;
mod command;
mod expiry;
mod lease;
mod once;
mod range;
pub mod readable;
mod session;
mod snapshot;
mod store;
mod transaction;

pub use changes::{Change, Changes, Compacted};
pub use command::{Answer, Applied, Command, Expected, Refusal, UnknownCommand};
pub use lease::Lease;
pub use range::KeyRange;
pub use session::Session;
pub use snapshot::{ChunkError, Snapshot, SnapshotBuilder};
pub use store::{KvStore, Pair, Timekeeping, Versioned};
pub use transaction::{Comparison, Operation, OperationResult, Relation, Target, Transaction};

pub use crate::limits::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
pub use crate::types::{LeaseId, SessionId};
