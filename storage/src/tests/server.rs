//! A running storage on a disk in memory, with its reports.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use raft_core::durable::Write;
use raft_core::types::WriteId;

use super::disk::MemoryDisk;
use super::world::{Author, DIR, Model, identity, open, options};
use crate::{Acceptance, Opened, Options, Storage, StorageError, StorageEvent};

pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// A running storage on a disk in memory.
pub(super) struct Server {
    pub(super) storage: Storage,
    pub(super) opened: Opened,
    pub(super) events: Receiver<StorageEvent>,
    /// Whether the last report about the disk's space was "full".
    pub(super) full: Arc<AtomicBool>,
}

impl Server {
    pub(super) fn start(disk: &MemoryDisk, options: Options) -> Result<Self, StorageError> {
        let (sender, events) = mpsc::channel();
        let (disk, full) = (Arc::new(disk.clone()), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&full);
        let (opened, storage) =
            Storage::open_on(disk, Path::new(DIR), identity(), options, move |event| {
                if let StorageEvent::DiskFull | StorageEvent::DiskHasSpace = event {
                    told.store(matches!(event, StorageEvent::DiskFull), Ordering::Release);
                }
                let _ = sender.send(event);
            })?;
        Ok(Self { storage, opened, events, full })
    }

    /// Waits for the next report for which `wanted` returns a value.
    pub(super) fn wait<T>(&self, what: &str, wanted: impl Fn(&StorageEvent) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.events.recv_timeout(left).unwrap_or_else(|_| panic!("no {what}"));
            if let Some(found) = wanted(&event) {
                return found;
            }
            assert!(!matches!(event, StorageEvent::Failed { .. }), "no {what}, but {event:?}");
        }
    }

    pub(super) fn wait_for(&self, wanted: WriteId) {
        self.wait("report", |event| persisted(event).filter(|id| *id >= wanted));
    }

    /// Submits a write, waits for it, and then waits until the reserve is filled or the disk is
    /// full. Another thread fills the reserve, which may take long on a busy machine.
    pub(super) fn write_and_settle(&self, write: Write) {
        let id = write.id;
        self.storage.submit(write);
        self.wait_for(id);
        wait_until("the reserve is full, or the disk", || {
            self.storage.usage().reserve_bytes >= 2 * options().segment_bytes
                || self.storage.accepting() == Acceptance::DiskFull
        });
    }

    pub(super) fn wait_for_snapshot(&self) {
        self.wait("snapshot", |event| {
            matches!(event, StorageEvent::SnapshotSaved { .. }).then_some(())
        });
    }

    pub(super) fn submit_all(&self, writes: &[Write]) {
        for write in writes {
            self.storage.submit(write.clone());
        }
    }
}

pub(super) fn persisted(event: &StorageEvent) -> Option<WriteId> {
    if let StorageEvent::Persisted { id, .. } = event { Some(*id) } else { None }
}

/// A sequence of writes.
pub(super) fn writes(count: usize) -> Vec<Write> {
    let (_, world) = open(&MemoryDisk::default()).expect("a new directory");
    let mut author = Author::new(3, &world);
    (0..count).map(|_| author.plain_write()).collect()
}

pub(super) fn model_of(writes: &[Write]) -> Model {
    let mut model = Model::default();
    for write in writes {
        model.apply(write);
    }
    model
}

pub(super) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}
