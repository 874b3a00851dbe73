//! A server's files: the write-ahead log and snapshots of the state.
//!
//! ```text
//! driver --submit--> log thread --one write, one fdatasync a group--> segment files
//!        <--Persisted--
//!        --save_snapshot--> snapshot thread --chunks--> snapshot files
//!        <--SnapshotSaved--
//!                        spares thread: makes the next segments, removes superseded ones
//! ```
//!
//! - A write is durable only after [`StorageEvent::Persisted`] reports it; reports come in the
//!   order of submission. Term and vote are part of the same write as the entries.
//! - After a crash, recovery finds everything that was reported durable, and nothing that was not
//!   submitted. Damage is an error that names the file and the position. Only a torn last record is
//!   cut off ([`log`] has the exact rule), and a server never starts with a gap.
//! - A failed write or sync poisons the storage. It does not retry, because the contents of the
//!   disk are unknown then. Only a restart, which reads the log again, can continue.
//! - The disk counts as full when there is no space for the segment after the next. A snapshot of
//!   the state still fits then. The server rejects client writes ([`Acceptance::DiskFull`]), except
//!   removals. A leader's entries still fill the open segment. One segment is reserved for
//!   removals, term, vote, compaction and the servers' own entries. The next snapshot lets the
//!   storage remove the log before it and older snapshots.
//! - Every file names the cluster, the server and the format version. Only one server at a time
//!   uses a directory ([`directory`] lists the files).

mod at_start;
mod directory;
pub mod disk;
mod error;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod head;
mod identity;
mod log;
mod marks;
mod options;
mod peers;
mod pulse;
mod record;
mod restore;
mod service;
mod shared;
mod snapshots;
mod sync;
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
