//! A full disk (pitfall 39).

use std::cell::Cell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use raft_core::durable::Write;
use raft_core::kv::Command;
use raft_core::log::{Entry, Payload};
use raft_core::types::{LogIndex, LogPosition, Term, WriteId};

use super::disk::MemoryDisk;
use super::server::{Server, model_of, persisted, wait_until, writes};
use super::world::{Author, Model, Step, World, open, options, snapshot_at};
use crate::at_start::MadeAtOnce;
use crate::log::segment::{Segment, Spare};
use crate::log::spares::SpareSource;
use crate::{Acceptance, Options, StorageError, StorageEvent};

/// Guards pitfall 39. A full disk is detected before pending writes are in danger, and term and
/// vote still fit. Nothing is lost, and the storage recovers on its own.
#[test]
fn a_full_disk_is_reported_early_and_left_by_itself() {
    let disk = MemoryDisk::default();
    disk.set_capacity(8 << 10);
    let options = Options { disk_retry: Duration::from_millis(1), ..options() };
    let server = Server::start(&disk, options.clone()).expect("a new directory");
    let all = writes(400);
    let mut submitted = 0;
    while server.storage.accepting() == Acceptance::Yes {
        server.write_and_settle(all[submitted].clone());
        submitted += 1;
    }
    assert_eq!(server.storage.accepting(), Acceptance::DiskFull);
    wait_until("it says that the disk is full", || server.full.load(Ordering::Acquire));

    // Votes still fit, even more than a segment of them.
    let used = disk.used();
    let vote = Write { entries: Vec::new().into(), ..all[submitted - 1].clone() };
    for _ in 0..10 {
        server.storage.submit(vote.clone());
        server.wait_for(vote.id);
    }
    assert_eq!(disk.used(), used, "they took no new space");

    // When even the reserve is full, writes stay pending; a restart finds all acknowledged writes.
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

/// Guards the reserve of a full disk. A leader's entries may only fill the open segment, together
/// with all pending writes, and take no spare. The servers' own entries always fit.
#[test]
fn a_full_disk_takes_entries_as_far_as_the_open_segment_goes() {
    let disk = MemoryDisk::default();
    disk.set_capacity(8 << 10);
    let options = Options { disk_retry: Duration::from_millis(1), ..options() };
    let segment = options.segment_bytes;
    let server = Server::start(&disk, options).expect("a new directory");
    let mut all = writes(400).into_iter();
    while server.storage.accepting() == Acceptance::Yes {
        server.write_and_settle(all.next().expect("the disk is smaller"));
    }
    let reserve = server.storage.usage().reserve_bytes;
    assert!(reserve >= segment, "{reserve}");
    let entry = |payload| Entry { index: LogIndex(1), term: Term(1), payload };
    let noop = || entry(Payload::Noop);
    let large = entry(Payload::Command(vec![0; 2 << 10].into()));
    let small = vec![entry(Payload::Command(vec![0; 8].into())); 100];
    assert_eq!(server.storage.room_for(&[noop(), large, noop()], 0), 1);
    assert_eq!(server.storage.room_for(&vec![noop(); 100], segment), 100);
    assert!(server.storage.room_for(&small, 0) < 100, "more than a segment holds");
    assert_eq!(server.storage.room_for(&small, segment), 0, "so much waits already");
    for write in all {
        if server.storage.room_for(&write.entries, 0) < write.entries.len() {
            break;
        }
        server.storage.submit(write.clone());
        server.wait_for(write.id);
        assert_eq!(server.storage.usage().reserve_bytes, reserve, "it took a spare");
    }
    assert_eq!(server.storage.accepting(), Acceptance::DiskFull);
}

/// Guards that a full disk can recover: entries stop while there is still space for the snapshot
/// that allows compaction.
#[test]
fn the_disk_counts_as_full_while_a_snapshot_still_fits() {
    let disk = MemoryDisk::default();
    disk.set_capacity(12 << 10);
    let retry = Duration::from_millis(1);
    let options = Options { keep_free_bytes: 4 << 10, disk_retry: retry, ..options() };
    let server = Server::start(&disk, options).expect("a new directory");
    let (_, world) = open(&MemoryDisk::default()).expect("a new directory");
    let mut author = Author::new(9, &world);
    while server.storage.accepting() == Acceptance::Yes {
        server.write_and_settle(author.plain_write());
    }
    assert_eq!(server.storage.accepting(), Acceptance::DiskFull);
    assert!(disk.used() <= 8 << 10, "{} bytes are used", disk.used());
    let to = author.model.last();
    server.storage.save_snapshot(snapshot_at(to));
    server.wait_for_snapshot();
    let compaction = author.compact_exactly(to);
    let id = compaction.id;
    server.storage.submit(compaction);
    server.wait_for(id);
    wait_until("there is space again", || server.storage.accepting() == Acceptance::Yes);
}

/// Guards a disk that other programs fill: the older data that is kept for safety is removed.
#[test]
fn a_disk_that_others_fill_is_given_what_is_not_needed() {
    let disk = MemoryDisk::default();
    let retry = Duration::from_millis(1);
    let options = Options { keep_free_bytes: 4 << 10, disk_retry: retry, ..options() };
    let server = Server::start(&disk, options).expect("a new directory");
    let (_, world) = open(&MemoryDisk::default()).expect("a new directory");
    let mut author = Author::new(9, &world);
    let mut last = author.plain_write();
    for _ in 0..100 {
        server.storage.submit(last);
        last = author.plain_write();
    }
    let to = author.position(last.commit_index).expect("it is in the log");
    server.storage.submit(last);
    server.storage.save_snapshot(snapshot_at(to));
    server.wait_for_snapshot();
    let compaction = author.compact_exactly(to);
    let id = compaction.id;
    server.storage.submit(compaction);
    server.wait_for(id);
    let segments = server.storage.usage().log_segments;
    disk.set_capacity(disk.used() + 100);
    // The next segment cannot be created, so the disk counts as full.
    while server.storage.usage().log_segments >= segments {
        let write = author.plain_write();
        let id = write.id;
        server.storage.submit(write);
        server.wait_for(id);
    }
    wait_until("there is space again", || server.storage.accepting() == Acceptance::Yes);
}

/// Guards the first start on a full disk: the error names the disk, and no partial log remains.
#[test]
fn a_full_disk_at_the_first_start_is_an_error_that_names_it() {
    let disk = MemoryDisk::default();
    disk.set_capacity(1000);
    let text = Server::start(&disk, options()).err().expect("there is no room").to_string();
    assert!(text.contains("is full: 1024 bytes are needed"), "{text}");
    disk.set_capacity(0);
    assert!(Server::start(&disk, options()).expect("there is room").opened.fresh);
}

/// Guards a snapshot on a full disk: it is aborted, its space is freed, and the log continues.
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
    server.wait_for_snapshot();
    assert_eq!(server.storage.usage().snapshots, 1);
}

/// A source without spares until the log retires a segment. Counts the retired segments and the
/// requests.
struct Stingy<'a>(MadeAtOnce<'a>, Cell<usize>, Cell<usize>);

impl SpareSource for Stingy<'_> {
    fn take(&self, bytes: u64) -> Result<Option<Spare>, StorageError> {
        self.2.set(self.2.get() + 1);
        assert!(self.2.get() < 100, "it waits for ever");
        if self.1.get() == 0 { Ok(None) } else { self.0.take(bytes) }
    }

    fn covered(&self, base: LogIndex) -> LogIndex {
        base
    }

    fn retire(&self, segments: Vec<Segment>) {
        self.1.set(self.1.get() + segments.len());
    }
}

/// Guards against a log that waits for space that its own old segments occupy.
#[test]
fn a_log_that_waits_for_space_lets_go_of_what_it_does_not_need() {
    let disk = MemoryDisk::default();
    let (_, mut world) = open(&disk).expect("a new directory");
    let mut author = Author::new(4, &world);
    while disk.names(".log").len() < 3 {
        world.take(&Step::Writes(vec![author.plain_write()])).expect("the disk works");
    }
    let to = author.model.last();
    let compaction = author.compact_exactly(to);
    world.take(&Step::Writes(vec![compaction])).expect("the disk works");
    let World { log, spares, directory, .. } = &mut world;
    let stingy = Stingy(MadeAtOnce(spares, directory), Cell::new(0), Cell::new(0));
    while stingy.1.get() == 0 {
        log.append(&[author.plain_write()], &stingy).expect("the disk works");
    }
    assert!(stingy.1.get() >= 2, "all but the last are let go of");
}

fn entry_of(command: &Command) -> Entry {
    let payload = Payload::Command(command.encode());
    Entry { index: LogIndex(1), term: Term(1), payload }
}

/// Guards that a disk that is full of the server's own data can recover. Removals are accepted from
/// clients and from a leader, while puts are rejected. Removals never use the last of the reserve.
#[test]
fn a_full_disk_takes_removals() {
    let disk = MemoryDisk::default();
    disk.set_capacity(8 << 10);
    let options = Options { disk_retry: Duration::from_millis(1), ..options() };
    let server = Server::start(&disk, options).expect("a new directory");
    let delete = Command::Delete { key: "key".into() };
    let put = Command::put("key", "value");
    assert!(!server.storage.takes_when_full(&delete.encode(), 0), "it is not full");
    let mut all = writes(400).into_iter();
    while server.storage.accepting() == Acceptance::Yes {
        server.write_and_settle(all.next().expect("the disk is smaller"));
    }
    // Fill the open segment, so that only the reserve has space.
    for write in all {
        if server.storage.room_for(&write.entries, 0) < write.entries.len() {
            break;
        }
        server.storage.submit(write.clone());
        server.wait_for(write.id);
    }
    let storage = &server.storage;
    let named = |command: Command| Command::Once {
        name: 1,
        fingerprint: 2,
        ttl: 3_000_000,
        command: command.encode(),
    };
    for (command, taken) in [(delete.clone(), true), (named(delete.clone()), true)] {
        assert_eq!(storage.takes_when_full(&command.encode(), 0), taken, "{command}");
        assert_eq!(storage.room_for(&[entry_of(&command)], 0), usize::from(taken), "{command}");
    }
    let large = Command::put("key", "v".repeat(1 << 10));
    for command in [large.clone(), named(large)] {
        assert!(!storage.takes_when_full(&command.encode(), 0), "{command}");
        assert_eq!(storage.room_for(&[entry_of(&command)], 0), 0, "{command}");
    }
    assert!(!storage.takes_when_full(&put.encode(), 0));
    assert!(!storage.takes_when_full(&delete.encode(), 1 << 10), "so much waits already");
    let many = vec![entry_of(&delete); 1000];
    let taken = storage.room_for(&many, 0);
    assert!((1..1000).contains(&taken), "half of the reserve stays: {taken}");
}

/// Guards a state that nearly fills its disk: older snapshots are removed for a new snapshot, if
/// the newest is readable.
#[test]
fn older_snapshots_give_way_on_a_full_disk() {
    for damaged in [false, true] {
        let disk = MemoryDisk::default();
        let server = Server::start(&disk, options()).expect("a new directory");
        let at = |index| snapshot_at(LogPosition::new(1, index));
        for index in [6, 13] {
            server.storage.save_snapshot(at(index));
            server.wait_for_snapshot();
        }
        wait_until("the spares are there", || server.storage.usage().reserve_bytes == 2 << 10);
        let [older, newest] = &*disk.names(".snapshot") else { panic!("two are kept") };
        if damaged {
            disk.tamper(newest, |bytes| {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            });
        }
        let room = disk.bytes(older).len() as u64 - 100;
        disk.set_capacity(disk.used() + room);
        server.storage.save_snapshot(at(20));
        if damaged {
            server.wait("failure", |event| {
                matches!(event, StorageEvent::SnapshotFailed { .. }).then_some(())
            });
            assert_eq!(disk.names(".snapshot").len(), 2, "nothing was removed");
            let usage = server.storage.usage();
            assert_eq!(usage.snapshot_failures, 1);
            assert!(usage.snapshot_error.is_some_and(|it| it.to_string().contains("snapshot.tmp")));
        } else {
            server.wait_for_snapshot();
            assert_eq!(disk.names(".snapshot").len(), 2, "the older gave way");
            assert!(!disk.names(".snapshot").contains(older));
            assert_eq!(server.storage.usage().snapshot_failures, 0);
        }
    }
}

/// Guards a write that needs a larger segment than usual on a full disk. The disk is reported as
/// full, although the usual spares exist, and the write continues when there is space.
#[test]
fn a_full_disk_is_reported_to_a_write_that_is_larger_than_a_segment() {
    let disk = MemoryDisk::default();
    let options = Options { disk_retry: Duration::from_millis(1), ..options() };
    let large = usize::try_from(2 * options.segment_bytes).expect("small");
    let server = Server::start(&disk, options).expect("a new directory");
    let mut all = writes(2);
    let mut write = all.remove(1);
    let mut entries = write.entries.to_vec();
    entries[0].payload = Payload::Command(vec![0; large].into());
    write.entries = entries.into();
    server.write_and_settle(all.remove(0));
    disk.set_capacity(disk.used());
    let id = write.id;
    server.storage.submit(write);
    wait_until("it says that the disk is full", || server.full.load(Ordering::Acquire));
    assert_eq!(server.storage.accepting(), Acceptance::DiskFull);
    disk.set_capacity(1 << 20);
    server.wait_for(id);
    wait_until("it says that there is space", || !server.full.load(Ordering::Acquire));
}

/// Guards a nearly full disk: the log that is kept only for slow followers is removed, and a start
/// finds the rest.
#[test]
fn what_is_kept_for_slow_followers_gives_way_on_a_full_disk() {
    let disk = MemoryDisk::default();
    let retry = Duration::from_millis(1);
    let options = Options { disk_retry: retry, ..options() };
    let server = Server::start(&disk, options.clone()).expect("a new directory");
    let (_, world) = open(&MemoryDisk::default()).expect("a new directory");
    let mut author = Author::new(9, &world);
    let mut last = author.plain_write();
    for _ in 0..100 {
        server.storage.submit(last);
        last = author.plain_write();
    }
    let (to, id) = (last.commit_index, last.id);
    server.storage.submit(last);
    server.wait_for(id);
    let to = author.position(to).expect("it is in the log");
    // The core keeps the whole log, although a snapshot covers nearly all of it.
    for _ in 0..2 {
        server.storage.save_snapshot(snapshot_at(to));
        server.wait_for_snapshot();
    }
    let oldest = disk.names(".log").into_iter().min().expect("a segment");
    disk.set_capacity(disk.used() + 100);
    while disk.names(".log").contains(&oldest) {
        let write = author.plain_write();
        let id = write.id;
        server.storage.submit(write);
        server.wait_for(id);
    }
    server.storage.close().expect("nothing failed");
    let server = Server::start(&disk, options).expect("a snapshot covers what is missing");
    let found = Model::of(&server.opened.recovered);
    assert!(found.base.index > LogIndex(0) && found.base.index <= to.index, "{:?}", found.base);
    assert_eq!(found.last(), author.model.last());
    let mut expected = author.model.entries.clone();
    expected.retain(|entry| entry.index > found.base.index);
    assert_eq!(found.entries, expected);
}

/// Guards progress on a full disk. When the reserve is used up, the log uses the space that is
/// otherwise kept free; writes of clients are still rejected.
#[test]
fn a_log_without_a_spare_uses_what_is_kept_free() {
    let disk = MemoryDisk::default();
    disk.set_capacity(12 << 10);
    let retry = Duration::from_millis(1);
    let options = Options { keep_free_bytes: 4 << 10, disk_retry: retry, ..options() };
    let server = Server::start(&disk, options).expect("a new directory");
    let mut last = None;
    for write in writes(400) {
        if server.storage.accepting() != Acceptance::Yes {
            break;
        }
        server.write_and_settle(write.clone());
        last = Some(write);
    }
    let last = last.expect("there was room at first");
    let segments = server.storage.usage().log_segments;
    let mut votes = 0;
    while server.storage.usage().log_segments < segments + 4 {
        votes += 1;
        let id = WriteId(last.id.0 + votes);
        server.storage.submit(Write { id, entries: Vec::new().into(), ..last.clone() });
        server.wait_for(id);
        assert_eq!(server.storage.accepting(), Acceptance::DiskFull);
    }
    assert!(disk.used() > 8 << 10, "{} bytes are used", disk.used());
}
