//! What the storage's threads and its handle share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use raft_core::durable::Write;
use raft_core::log::Entry;
use raft_core::types::LogIndex;

use super::log::LogWriter;
use super::log::segment::{Segment, Spare};
use super::log::spares::{SpareSource, Spares};
use super::pulse::Pulse;
use super::snapshots::SnapshotStore;
use super::{Options, StorageError, StorageEvent};

/// The state that the threads and the handle share.
pub(super) struct Shared {
    pub(super) events: Box<dyn Fn(StorageEvent) + Send + Sync>,
    pub(super) options: Options,
    pub(super) spares: Spares,
    /// Set before the end, to abort a snapshot in progress.
    pub(super) closing: AtomicBool,
    pub(super) failed: AtomicBool,
    /// Whether the threads may hang forever.
    pub(super) abandoned: AtomicBool,
    /// Why no more segments are created.
    pub(super) cause: Mutex<Option<StorageError>>,
    pub(super) queued_bytes: AtomicU64,
    pub(super) log_segments: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    /// The free space in the last segment, in bytes.
    pub(super) segment_room: AtomicU64,
    pub(super) snapshots: AtomicU64,
    pub(super) snapshot_bytes: AtomicU64,
    /// In thousandths; a higher value means that no snapshot is being saved.
    pub(super) snapshot_progress: AtomicU64,
    pub(super) snapshot_failures: AtomicU64,
    /// The error of the last failed snapshot, and when it was last logged.
    pub(super) snapshot_error: Mutex<Option<(Arc<StorageError>, Instant)>>,
    /// The space for another snapshot, in bytes: estimated by the newest snapshot and by the state.
    pub(super) room_by_newest: AtomicU64,
    pub(super) room_by_state: AtomicU64,
    /// What the threads are working on.
    pub(super) log_pulse: Pulse,
    pub(super) snapshot_pulse: Pulse,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Shared {
    /// Updates the figures about snapshots.
    pub(super) fn update_snapshots(&self, store: &SnapshotStore) {
        let (count, bytes) = store.usage();
        self.snapshots.store(count, Ordering::Release);
        self.snapshot_bytes.store(bytes, Ordering::Release);
        self.spares.set_covered(store.fallback(), store.newest());
        self.room_by_newest.store(store.room_for_next(), Ordering::Release);
        self.keep_room();
    }

    pub(super) fn keep_room(&self) {
        let by_newest = self.room_by_newest.load(Ordering::Acquire);
        let by_state = self.room_by_state.load(Ordering::Acquire);
        self.spares.set_keep_free(self.options.keep_free_bytes + by_newest.max(by_state));
    }

    pub(super) fn cause(&self) -> MutexGuard<'_, Option<StorageError>> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot_error(&self) -> MutexGuard<'_, Option<(Arc<StorageError>, Instant)>> {
        self.snapshot_error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the figures about the log.
    pub(super) fn update_log(&self, log: &LogWriter) {
        let (count, bytes) = log.usage();
        self.log_segments.store(count, Ordering::Release);
        self.log_bytes.store(bytes, Ordering::Release);
        self.segment_room.store(log.room(), Ordering::Release);
    }
}

/// Waiting for space on a full disk does not count as hanging.
impl SpareSource for Shared {
    fn take(&self, bytes: u64) -> Result<Option<Spare>, StorageError> {
        let taken = self.spares.take(bytes);
        self.log_pulse.beat();
        taken
    }

    fn covered(&self, base: LogIndex) -> LogIndex {
        self.spares.covered(base)
    }

    fn retire(&self, segments: Vec<Segment>) {
        self.spares.retire(segments);
    }
}

/// The overhead of a write in the queue, in bytes; at least as much as on disk.
pub(super) const WRITE_OVERHEAD: u64 = 128;

/// The size of a write in the queue, in bytes.
pub(super) fn cost(write: &Write) -> u64 {
    WRITE_OVERHEAD + write.entries.iter().map(entry_cost).sum::<u64>()
}

pub(super) fn entry_cost(entry: &Entry) -> u64 {
    entry.size() as u64
}
