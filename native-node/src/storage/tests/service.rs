//! The storage with its threads: order, backpressure, failure, a full disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use raft_core::durable::Write;
use raft_core::types::{LogIndex, LogPosition, WriteId};

use super::disk::{Fault, Loss, MemoryDisk};
use super::world::{Author, DIR, Model, identity, open, options, snapshot_at};
use crate::storage::{Acceptance, Opened, Options, Storage, StorageError, StorageEvent};

const PATIENCE: Duration = Duration::from_mins(1);

/// A running storage on a disk in memory.
struct Server {
    storage: Storage,
    opened: Opened,
    events: Receiver<StorageEvent>,
    /// What the last report on the disk's space said.
    full: Arc<AtomicBool>,
}

impl Server {
    fn start(disk: &MemoryDisk, options: Options) -> Result<Self, StorageError> {
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

    /// The next report that `wanted` has a use for.
    fn wait<T>(&self, what: &str, wanted: impl Fn(&StorageEvent) -> Option<T>) -> T {
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

    fn wait_for(&self, wanted: WriteId) {
        self.wait("report", |event| persisted(event).filter(|id| *id >= wanted));
    }

    fn submit_all(&self, writes: &[Write]) {
        for write in writes {
            self.storage.submit(write.clone());
        }
    }
}

fn persisted(event: &StorageEvent) -> Option<WriteId> {
    if let StorageEvent::Persisted { id, .. } = event { Some(*id) } else { None }
}

/// Writes that follow from each other.
fn writes(count: usize) -> Vec<Write> {
    let (_, world) = open(&MemoryDisk::default()).expect("a new directory");
    let mut author = Author::new(3, &world);
    (0..count).map(|_| author.plain_write()).collect()
}

fn model_of(writes: &[Write]) -> Model {
    let mut model = Model::default();
    for write in writes {
        model.apply(write);
    }
    model
}

/// Guards pitfall 36 and group commit: completions come in order, none is skipped, and many writes
/// share a sync.
#[test]
fn completions_come_in_order_and_writes_share_syncs() {
    let disk = MemoryDisk::default();
    let server = Server::start(&disk, Options { segment_bytes: 1 << 20, ..options() });
    let server = server.expect("a new directory");
    let all = writes(2000);
    disk.set_fault(Fault::None);
    disk.set_stalled(true);
    server.submit_all(&all);
    disk.set_stalled(false);
    let mut last = WriteId(0);
    while last != all[all.len() - 1].id {
        let next = server.wait("report", persisted);
        assert!(next > last, "{next} after {last}");
        last = next;
    }
    assert!(disk.syncs() < 1000, "{} syncs for 2000 writes", disk.syncs());
    server.storage.close().expect("nothing failed");
    let server = Server::start(&disk, options()).expect("an intact directory");
    assert_eq!(Model::of(&server.opened.recovered), model_of(&all));
}

/// Guards pitfall 31 seen from the driver, and backpressure: while the disk stalls nothing is
/// reported, submitting does not block, and more is asked not to come.
#[test]
fn a_stalled_disk_reports_nothing_and_asks_for_a_pause() {
    let disk = MemoryDisk::default();
    let server = Server::start(&disk, Options { max_queued_bytes: 4096, ..options() });
    let server = server.expect("a new directory");
    let all = writes(100);
    assert_eq!(server.storage.accepting(), Acceptance::Yes);
    disk.set_stalled(true);
    server.submit_all(&all);
    assert_eq!(server.storage.accepting(), Acceptance::Backlogged);
    assert!(server.storage.usage().queued_bytes > 4096);
    let nothing = server.events.recv_timeout(Duration::from_millis(50));
    assert_eq!(nothing.map(|event| format!("{event:?}")), Err(RecvTimeoutError::Timeout));
    disk.set_stalled(false);
    server.wait_for(all[99].id);
    assert_eq!(server.storage.accepting(), Acceptance::Yes);
    assert_eq!(server.storage.usage().queued_bytes, 0);
}

/// Guards pitfall 30: after one failed sync nothing is ever reported durable again, and that is
/// said once.
#[test]
fn a_failed_sync_poisons_the_storage() {
    for sync in 1..10 {
        let disk = MemoryDisk::default();
        let server = Server::start(&disk, options()).expect("a new directory");
        let all = writes(200);
        disk.set_fault(Fault::FailSync(sync));
        let (mut durable, mut failed) = (WriteId(0), None);
        for write in &all {
            server.storage.submit(write.clone());
        }
        while failed.is_none() {
            let event = server.events.recv_timeout(PATIENCE).expect("a report comes");
            durable = persisted(&event).unwrap_or(durable);
            if let StorageEvent::Failed { first_lost, error } = event {
                failed = Some((first_lost, error));
            }
        }
        let (first_lost, error) = failed.expect("it was reported");
        assert!(error.to_string().contains("injected failure of a sync"), "{error}");
        if let Some(lost) = first_lost {
            assert_eq!(lost, WriteId(durable.0 + 1));
        }
        assert_eq!(server.storage.accepting(), Acceptance::Failed);
        server.storage.submit(all[0].clone());
        assert!(server.storage.close().is_err());
        assert!(server.events.try_iter().next().is_none(), "it was the last report");

        disk.lose_power(Loss::All);
        let server = Server::start(&disk, options()).expect("the disk works again");
        let found = Model::of(&server.opened.recovered);
        let acknowledged = usize::try_from(durable.0).expect("a small number");
        let possible = (acknowledged..=all.len()).map(|count| model_of(&all[..count]));
        assert!(possible.into_iter().any(|model| model == found), "sync {sync}");
    }
}

/// Guards against a bug that would leave a server running without a disk.
#[test]
fn a_thread_that_panics_is_reported_as_a_failure() {
    let server = Server::start(&MemoryDisk::default(), options()).expect("a new directory");
    let mut impossible = writes(1).remove(0);
    impossible.commit_index = LogIndex(1000);
    server.storage.submit(impossible);
    let error = server.events.recv_timeout(PATIENCE).expect("a report comes");
    assert!(matches!(error, StorageEvent::Failed { .. }), "{error:?}");
}

/// Guards pitfall 39: a full disk is noticed before what is under way is in danger; term and vote
/// still fit; nothing is lost; and it goes on by itself.
#[test]
fn a_full_disk_is_reported_early_and_left_by_itself() {
    let disk = MemoryDisk::default();
    disk.set_capacity(8 << 10);
    let options = Options { disk_retry: Duration::from_millis(1), ..options() };
    let server = Server::start(&disk, options.clone()).expect("a new directory");
    let all = writes(400);
    let mut submitted = 0;
    while server.storage.accepting() == Acceptance::Yes {
        server.storage.submit(all[submitted].clone());
        server.wait_for(all[submitted].id);
        submitted += 1;
    }
    assert_eq!(server.storage.accepting(), Acceptance::DiskFull);
    wait_until("it says that the disk is full", || server.full.load(Ordering::Acquire));

    // Votes and the like still fit, for a whole segment and more.
    let used = disk.used();
    let vote = Write { entries: Vec::new(), ..all[submitted - 1].clone() };
    for _ in 0..10 {
        server.storage.submit(vote.clone());
        server.wait_for(vote.id);
    }
    assert_eq!(disk.used(), used, "they took no new space");

    // When even that runs out, completions wait; a restart finds what was acknowledged.
    server.submit_all(&all[submitted..]);
    assert!(matches!(server.storage.close(), Err(StorageError::Closed)));
    let reports = server.events.try_iter().filter_map(|event| persisted(&event));
    let acknowledged = reports.last().map_or(submitted, |id| usize::try_from(id.0).expect("small"));
    assert!(acknowledged < all.len(), "the disk is too small for all of it");
    let server = Server::start(&disk, options).expect("a full disk is no reason not to start");
    assert_eq!(Model::of(&server.opened.recovered), model_of(&all[..acknowledged]));
    wait_until("it says that the disk is full", || server.full.load(Ordering::Acquire));

    server.submit_all(&all[acknowledged..]);
    disk.set_capacity(0);
    server.wait_for(all[all.len() - 1].id);
    wait_until("it says that there is space", || !server.full.load(Ordering::Acquire));
    assert_eq!(server.storage.accepting(), Acceptance::Yes);
    server.storage.close().expect("nothing failed");
    let (opened, _) = open(&disk).expect("an intact directory");
    assert_eq!(Model::of(&opened.recovered), model_of(&all));
}

/// Guards the first start on a disk without room: an error that says so, and no half-made log.
#[test]
fn a_full_disk_at_the_first_start_is_an_error_that_names_it() {
    let disk = MemoryDisk::default();
    disk.set_capacity(1000);
    let text = Server::start(&disk, options()).err().expect("there is no room").to_string();
    assert!(text.contains("is full: 1024 bytes are needed"), "{text}");
    disk.set_capacity(0);
    assert!(Server::start(&disk, options()).expect("there is room").opened.fresh);
}

/// Guards a snapshot on a full disk: it is given up, its space given back, and the log goes on.
#[test]
fn a_snapshot_without_room_is_given_up() {
    let disk = MemoryDisk::default();
    let server = Server::start(&disk, options()).expect("a new directory");
    let all = writes(2);
    server.storage.submit(all[0].clone());
    server.wait_for(all[0].id);
    wait_until("the spares are there", || server.storage.usage().reserve_bytes == 2 << 10);
    disk.set_capacity(disk.used() + 300);
    server.storage.save_snapshot(snapshot_at(LogPosition::new(1, 6)));
    let error = server.wait("failure", |event| {
        if let StorageEvent::SnapshotFailed { meta, error } = event {
            assert_eq!(meta.last, LogPosition::new(1, 6));
            return Some(error.to_string());
        }
        None
    });
    assert!(error.contains("snapshot.tmp"), "{error}");
    assert_eq!(disk.names("snapshot.tmp"), Vec::<std::path::PathBuf>::new());
    server.storage.submit(all[1].clone());
    server.wait_for(all[1].id);
    disk.set_capacity(0);
    server.storage.save_snapshot(snapshot_at(LogPosition::new(1, 6)));
    server.wait("snapshot", |event| {
        matches!(event, StorageEvent::SnapshotSaved { .. }).then_some(())
    });
    assert_eq!(server.storage.usage().snapshots, 1);
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// Guards the size of the directory: over many cycles of writing, snapshot and compaction it stays
/// flat.
#[test]
fn the_directory_stays_bounded_over_many_compactions() {
    let disk = MemoryDisk::default();
    let server = Server::start(&disk, options()).expect("a new directory");
    let (_, world) = open(&MemoryDisk::default()).expect("a new directory");
    let mut author = Author::new(8, &world);
    let mut highest = [0, 0];
    for cycle in 0..40 {
        let mut last = author.plain_write();
        for _ in 0..100 {
            server.storage.submit(last);
            last = author.plain_write();
        }
        let commit = last.commit_index;
        let id = last.id;
        server.storage.submit(last);
        server.wait_for(id);
        let to = author.position(commit).expect("it is in the log");
        server.storage.save_snapshot(snapshot_at(to));
        server.wait("snapshot", |event| {
            matches!(event, StorageEvent::SnapshotSaved { .. }).then_some(())
        });
        let compaction = author.compact_exactly(to);
        let id = compaction.id;
        server.storage.submit(compaction);
        server.wait_for(id);
        wait_until("superseded segments are gone", || {
            disk.names(".log").len() as u64 == server.storage.usage().log_segments
        });
        highest[cycle / 20] = highest[cycle / 20].max(disk.used());
    }
    assert!(highest[1] <= highest[0] + (4 << 10), "{highest:?}");
    server.storage.close().expect("nothing failed");
    let server = Server::start(&disk, options()).expect("an intact directory");
    assert_eq!(Model::of(&server.opened.recovered), author.model);
}
