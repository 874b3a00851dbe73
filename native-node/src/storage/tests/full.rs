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
use crate::storage::at_start::MadeAtOnce;
use crate::storage::log::segment::{Segment, Spare};
use crate::storage::log::spares::SpareSource;
use crate::storage::{Acceptance, Options, StorageError, StorageEvent};

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
        server.write_and_settle(all[submitted].clone());
        submitted += 1;
    }
    assert_eq!(server.storage.accepting(), Acceptance::DiskFull);
    wait_until("it says that the disk is full", || server.full.load(Ordering::Acquire));

    // Votes and the like still fit, for a whole segment and more.
    let used = disk.used();
    let vote = Write { entries: Vec::new().into(), ..all[submitted - 1].clone() };
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

/// Guards the reserve of a full disk: a leader's entries go in as far as the open segment has room,
/// with all that waits already, and take no spare; those of the servers themselves go in always.
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

/// Guards the way out of a full disk: entries stop while there is still room for the snapshot with
/// which the log can be compacted.
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

/// Guards a disk that others fill: what was kept as a second line of defence makes room.
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
    // The next segment cannot be made, and so the disk is found to be full.
    while server.storage.usage().log_segments >= segments {
        let write = author.plain_write();
        let id = write.id;
        server.storage.submit(write);
        server.wait_for(id);
    }
    wait_until("there is space again", || server.storage.accepting() == Acceptance::Yes);
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
    server.wait_for_snapshot();
    assert_eq!(server.storage.usage().snapshots, 1);
}

/// A source that has nothing until the log lets go of something. Counts what is let go of and how
/// often it is asked.
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

/// Guards against a log that waits for space which it holds itself.
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

/// Guards the way out of a disk that the server's own data fills: what removes something is taken in
/// while puts are refused, from clients and from a leader, though never the last of the reserve.
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
    // The open segment is filled up, so that only the reserve has room.
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

/// Guards a state that has nearly filled its disk: a snapshot finds room by the ones before it, if the
/// newest can be read.
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

/// Guards a write that needs a larger segment than usual on a full disk: the disk is reported as full,
/// although the usual spares are there, and the write continues once there is space.
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

/// Guards a disk that is short of room: a log that is kept for slow followers alone goes, and a start
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
    // The core keeps all of the log, though a snapshot covers nearly all of it.
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

/// Guards a full disk against standing still: when the reserve is used up, what is kept free on the disk
/// takes its place, and writes of clients are refused all the same.
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
