//! What a server keeps on its disk: the write-ahead log and the snapshots of its state.
//!
//! ```text
//! driver --submit--> log thread --one write, one fdatasync a group--> segment files
//!        <--Persisted--
//!        --save_snapshot--> snapshot thread --chunks--> snapshot files
//!        <--SnapshotSaved--
//!                        spares thread: makes the next segments, removes superseded ones
//! ```
//!
//! - What is submitted is durable when, and only when, [`StorageEvent::Persisted`] says so; reports
//!   come in the order of submission. Term and vote travel with the entries of that term.
//! - After a crash everything that was reported is found again, and nothing that was not submitted.
//!   Damage is an error that names file and place; only a torn last record is cut ([`log`] has the
//!   exact rule), and a gap is never started upon.
//! - A write or sync that fails poisons the storage: it is not tried again, since what reached the
//!   disk is unknown then. Only a restart, which reads it back, goes on.
//! - A full disk is noticed when the segment after the next cannot be made, while there is still room
//!   for a snapshot of the state; what clients ask is refused from then on ([`Acceptance::DiskFull`]),
//!   but for what removes something. A leader's entries still fill the open segment; one more is in
//!   reserve for removals, term, vote, compaction and the servers' own entries. A snapshot then lets
//!   the log go up to itself, and the snapshots before it.
//! - Every file names cluster, server and format version, and one server at a time uses a directory
//!   ([`directory`] lists the files).

mod at_start;
mod directory;
pub mod disk;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod head;
mod log;
mod marks;
mod options;
mod peers;
mod pulse;
mod record;
mod restore;
mod service;
mod snapshots;
mod threads;

#[cfg(test)]
mod tests;

pub use error::StorageError;
pub use options::{
    Acceptance, CutTail, GIVE_UP, Identity, Opened, Options, PATIENCE, Stall, StorageEvent,
    StorageId, Usage,
};
pub use peers::KnownPeers;
pub use service::Storage;
