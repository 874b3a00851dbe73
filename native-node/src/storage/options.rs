//! What a caller chooses, and what it is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use raft_core::durable::Recovered;
use raft_core::kv::Snapshot;
use raft_core::message::SnapshotMeta;
use raft_core::types::{NodeId, WriteId};
use serde::{Deserialize, Serialize};

use super::StorageError;

/// Whose data it is. Every file carries it, and a directory of another is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// The server.
    pub node: NodeId,
}

/// Drawn at random when a data directory is first used, and part of each file in it: so a server
/// that comes with another directory than before is told from one that comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageId(u64);

impl StorageId {
    /// A new one.
    ///
    /// # Panics
    /// When the system gives no random bytes.
    pub fn random() -> Self {
        Self(getrandom::u64().expect("the system gives random bytes"))
    }
}

impl std::fmt::Display for StorageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Sizes and times. The default suits a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The length of a log segment in bytes. A directory holds at least three: the one that is
    /// written and two in reserve. A larger single write gets a larger segment.
    pub segment_bytes: u64,
    /// About how much is made durable with one `fdatasync` at most, in bytes.
    pub max_batch_bytes: usize,
    /// From this many bytes of submitted writes that are not durable yet, the storage asks for a
    /// pause ([`Acceptance::Backlogged`]).
    pub max_queued_bytes: usize,
    /// How many snapshots are kept, at least two: when the newest is damaged, the one before it and
    /// the log after that still hold everything. More than two are copies of older states.
    pub snapshots_kept: usize,
    /// The size of a snapshot's chunks in bytes.
    pub snapshot_chunk_bytes: usize,
    /// The disk counts as full when the next segment would leave less than this many bytes beside
    /// the room for another snapshot.
    pub keep_free_bytes: u64,
    /// After this time without a write the end of the log is sealed, so that damage to the last
    /// write is told from a torn one.
    pub seal_after: Duration,
    /// How often a full disk is tried again.
    pub disk_retry: Duration,
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
        }
    }
}

/// What a data directory held.
#[derive(Debug)]
pub struct Opened {
    /// The directory's own number.
    pub id: StorageId,
    /// Term, vote and log.
    pub recovered: Recovered,
    /// The newest intact snapshot. It may be newer than the log, never older than its base.
    pub snapshot: Option<Snapshot>,
    /// Whether nothing was ever stored here.
    pub fresh: bool,
    /// A last write that was under way when the server stopped, and that was cut off.
    pub cut: Option<CutTail>,
}

/// The torn last record of a log: it was being written when the power went, and nobody was told
/// that it was durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutTail {
    /// The segment.
    pub path: PathBuf,
    /// Where the record starts, in bytes.
    pub offset: u64,
    /// How many bytes of it there were.
    pub bytes: u64,
}

/// What the storage reports. Comes from its own threads, so the receiver must not block.
#[derive(Clone, Debug)]
pub enum StorageEvent {
    /// Everything submitted up to `id` is durable. One report for each group commit, in order.
    Persisted {
        /// The last durable write.
        id: WriteId,
        /// How much the group took, in bytes.
        bytes: u64,
        /// What the `fdatasync` took.
        sync: Duration,
    },
    /// The snapshot is durable.
    SnapshotSaved {
        /// Which one.
        meta: SnapshotMeta,
        /// Its size, in bytes.
        bytes: u64,
        /// How long it took.
        took: Duration,
    },
    /// The snapshot could not be saved, but the storage goes on.
    SnapshotFailed {
        /// Which one.
        meta: SnapshotMeta,
        /// Why.
        error: Arc<StorageError>,
    },
    /// The disk is full: new writes of clients should be refused from now on, but for those that
    /// remove something.
    DiskFull,
    /// It has been full for a while, or is nearly full: a snapshot lets old parts of the log go.
    DiskIsShort,
    /// There is space again.
    DiskHasSpace,
    /// The last report of all: nothing can be made durable any more, and the server must stop.
    Failed {
        /// The first submitted write that is not durable, when one was waiting and which is known.
        first_lost: Option<WriteId>,
        /// Why.
        error: Arc<StorageError>,
    },
}

/// Whether new entries are welcome. What the core has issued is stored in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// They are.
    Yes,
    /// The disk is behind; wait for completions.
    Backlogged,
    /// The disk is full; it is tried again by itself. What a leader sends may still fit
    /// ([`super::Storage::room_for`]).
    DiskFull,
    /// The storage has failed.
    Failed,
}

/// Something that the storage waits for longer than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// What it is doing.
    pub what: &'static str,
    /// For how long.
    pub since: Duration,
    /// Whether nothing can be written meanwhile.
    pub blocks_writes: bool,
}

/// What the disk takes longer for than this is told, and a server whose log waits so long is not ready.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// After so long without an answer of the disk the server ends.
pub const GIVE_UP: Duration = Duration::from_mins(2);

/// What the directory holds, and what is under way.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// The bytes of all log segments.
    pub log_bytes: u64,
    /// How many segments there are.
    pub log_segments: u64,
    /// The bytes of the segments in reserve.
    pub reserve_bytes: u64,
    /// The bytes of all snapshots.
    pub snapshot_bytes: u64,
    /// How many snapshots there are.
    pub snapshots: u64,
    /// The bytes of submitted writes that are not durable yet.
    pub queued_bytes: u64,
    /// The bytes that are free on the disk, as of a moment ago.
    pub free_bytes: u64,
    /// Whether new writes are refused for want of space.
    pub full: bool,
    /// How much of the snapshot that is being written is done, from 0 to 1.
    pub snapshot_progress: Option<f64>,
    /// Snapshots that could not be saved since the start.
    pub snapshot_failures: u64,
    /// Why the latest of them could not, as long as none was saved since.
    pub snapshot_error: Option<Arc<StorageError>>,
}
