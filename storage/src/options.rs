//! The settings of the storage, and its reports.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use raft_core::durable::Recovered;
use raft_core::kv::Snapshot;
use raft_core::snapshot::SnapshotMeta;
use raft_core::types::{NodeId, WriteId};
use serde::{Deserialize, Serialize};

use super::StorageError;

/// The cluster and the server that own the data. Every file contains it; a directory of another
/// server is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The server's id.
    pub node: NodeId,
}

/// A random number in each file of a data directory, chosen when the directory is first used. Other
/// servers notice by it if a server returns with another directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageId(u64);

impl StorageId {
    /// A new random id.
    ///
    /// # Panics
    /// If the operating system provides no random bytes.
    pub fn random() -> Self {
        Self(getrandom::u64().expect("the system provides random bytes"))
    }
}

impl std::fmt::Display for StorageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Sizes and times. The defaults suit a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size of a log segment, in bytes. A directory has at least three: the current segment and
    /// two in reserve. A larger write gets a larger segment.
    pub segment_bytes: u64,
    /// The approximate maximum size of a group that a single `fdatasync` makes durable, in bytes.
    pub max_batch_bytes: usize,
    /// The size of pending writes, in bytes, above which the storage asks for a pause
    /// ([`Acceptance::Backlogged`]).
    pub max_queued_bytes: usize,
    /// How many snapshots to keep, at least two: if the newest is damaged, the previous snapshot
    /// and the log after it still contain everything. More snapshots only preserve older states.
    pub snapshots_kept: usize,
    /// The size of a snapshot's chunks, in bytes.
    pub snapshot_chunk_bytes: usize,
    /// The disk space to keep free, in bytes, besides room for another snapshot. The disk counts as
    /// full when the next segment would leave less.
    pub keep_free_bytes: u64,
    /// After this time without a write the log is sealed, to distinguish damage to the last write
    /// from a torn write.
    pub seal_after: Duration,
    /// How often the storage retries on a full disk.
    pub disk_retry: Duration,
    /// Each thread of the storage calls this function with its name when it starts.
    pub thread_begun: fn(&str),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            max_batch_bytes: 4 << 20,
            max_queued_bytes: 64 << 20,
            snapshots_kept: 2,
            snapshot_chunk_bytes: 128 << 10,
            keep_free_bytes: 64 << 20,
            seal_after: Duration::from_millis(100),
            disk_retry: Duration::from_secs(1),
            thread_begun: |_| {},
        }
    }
}

/// The contents of a data directory.
#[derive(Debug)]
pub struct Opened {
    /// The id of the directory.
    pub id: StorageId,
    /// Term, vote, log and commit index.
    pub recovered: Recovered,
    /// The newest intact snapshot. It may be newer than the log, but never older than the log's
    /// base.
    pub snapshot: Option<Snapshot>,
    /// Whether the directory is new.
    pub fresh: bool,
    /// The last write, if the server stopped during it. It was cut off.
    pub cut: Option<CutTail>,
}

/// The torn last record of a log. It was being written during a power failure, and was never
/// reported durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutTail {
    /// The segment.
    pub path: PathBuf,
    /// The offset of the record, in bytes.
    pub offset: u64,
    /// How many bytes of the record existed.
    pub bytes: u64,
}

/// A report of the storage. The storage's own threads report, so the receiver must not block.
#[derive(Clone, Debug)]
pub enum StorageEvent {
    /// Everything submitted up to `id` is durable. There is one report per group commit, in order.
    Persisted {
        /// The last durable write.
        id: WriteId,
        /// The size of the group, in bytes.
        bytes: u64,
        /// The duration of the `fdatasync`.
        sync: Duration,
    },
    /// The snapshot is durable.
    SnapshotSaved {
        /// The snapshot's position and membership.
        meta: SnapshotMeta,
        /// Its size, in bytes.
        bytes: u64,
        /// How long saving took.
        took: Duration,
    },
    /// The snapshot was not saved, but the storage continues.
    SnapshotFailed {
        /// The snapshot's position and membership.
        meta: SnapshotMeta,
        /// The reason.
        error: Arc<StorageError>,
    },
    /// The disk is full: the server should reject new writes of clients, except removals.
    DiskFull,
    /// The disk has been full for a while, or is nearly full. A snapshot lets the storage remove
    /// old parts of the log.
    DiskIsShort,
    /// The disk has space again.
    DiskHasSpace,
    /// The last report: nothing can become durable any more, and the server must stop.
    Failed {
        /// The first submitted write that is not durable, if known.
        first_lost: Option<WriteId>,
        /// The reason.
        error: Arc<StorageError>,
    },
}

/// Whether the server should accept new entries. The storage accepts everything that the core
/// submits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Entries are accepted.
    Yes,
    /// The disk is slow; wait for pending writes.
    Backlogged,
    /// The disk is full; the storage retries on its own. A leader's entries may still fit
    /// ([`super::Storage::room_for`]).
    DiskFull,
    /// The storage has failed.
    Failed,
}

/// An operation of the storage that takes longer than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The operation.
    pub what: &'static str,
    /// How long the operation has taken so far.
    pub since: Duration,
    /// Whether writes wait for the operation.
    pub blocks_writes: bool,
}

/// Longer disk operations are reported. A server whose log waits longer is not ready.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The server stops if the disk does not respond for this time.
pub const GIVE_UP: Duration = Duration::from_mins(2);

/// Sizes of the directory, and operations in progress.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// The size of all log segments, in bytes.
    pub log_bytes: u64,
    /// The number of log segments.
    pub log_segments: u64,
    /// The size of the reserve segments, in bytes.
    pub reserve_bytes: u64,
    /// The size of all snapshots, in bytes.
    pub snapshot_bytes: u64,
    /// The number of snapshots.
    pub snapshots: u64,
    /// The size of pending writes, in bytes.
    pub queued_bytes: u64,
    /// The free disk space at the last check, in bytes.
    pub free_bytes: u64,
    /// Whether new writes are rejected because the disk is full.
    pub full: bool,
    /// The progress of the snapshot that is being saved, from 0 to 1.
    pub snapshot_progress: Option<f64>,
    /// How many snapshots failed since the start.
    pub snapshot_failures: u64,
    /// The error of the last failed snapshot; none after a success.
    pub snapshot_error: Option<Arc<StorageError>>,
}
