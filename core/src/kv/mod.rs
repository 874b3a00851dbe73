//! The replicated state machine: an ordered map of keys to versioned values.
//!
//! The map shares structure between its versions, so cloning a [`KvStore`] costs one pointer copy:
//! snapshots, reads and time travel never stop writes.

mod command;
mod snapshot;
mod store;

pub use command::{Applied, Command, MAX_KEY_BYTES, MAX_VALUE_BYTES, readable};
pub use snapshot::{ChunkError, Snapshot, SnapshotBuilder};
pub use store::{KvStore, Pair, Versioned};
