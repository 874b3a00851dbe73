//! The storage with its threads: order, backpressure, failures, and a bounded directory.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use raft_core::types::{LogIndex, WriteId};

use super::disk::{Fault, Loss, MemoryDisk};
use super::server::{PATIENCE, Server, model_of, persisted, wait_until, writes};
use super::world::{Author, Model, open, options, snapshot_at};
use crate::{Acceptance, Options, StorageEvent};

/// Guards pitfall 36 and group commit: reports come in order, none is skipped, and many writes
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

/// Guards pitfall 31 from the driver's view, and backpressure. While the disk stalls, nothing is
/// reported, submitting does not block, and the storage asks for a pause.
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

/// Guards pitfall 30: after a failed sync nothing is reported durable any more, and the failure is
/// reported once.
#[test]
fn a_failed_sync_poisons_the_storage() {
    let mut told = 0;
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
            told += 1;
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
    assert!(told > 0, "no write was said to be lost");
}

/// Guards against a panic that would leave a server running without a disk.
#[test]
fn a_thread_that_panics_is_reported_as_a_failure() {
    let server = Server::start(&MemoryDisk::default(), options()).expect("a new directory");
    let mut impossible = writes(1).remove(0);
    impossible.commit_index = LogIndex(1000);
    server.storage.submit(impossible);
    let error = server.events.recv_timeout(PATIENCE).expect("a report comes");
    assert!(matches!(error, StorageEvent::Failed { .. }), "{error:?}");
}

/// Guards the size of the directory: it stays constant over many cycles of writes, snapshots and
/// compactions.
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
        server.wait_for_snapshot();
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

/// Guards readiness: a hanging disk is detected while it hangs. A server that gives up reports it
/// and stops without waiting for the disk.
#[test]
fn a_hanging_disk_is_noticed_and_can_be_given_up() {
    let disk = MemoryDisk::default();
    let server = Server::start(&disk, options()).expect("a new directory");
    let (all, short) = (writes(3), Duration::from_millis(5));
    server.write_and_settle(all[0].clone());
    assert_eq!(server.storage.stall(Duration::ZERO), None, "nothing is to be done");
    disk.set_stalled(true);
    server.storage.submit(all[1].clone());
    wait_until("the log hangs", || {
        server.storage.stall(short).is_some_and(|stall| stall.blocks_writes)
    });
    disk.set_stalled(false);
    server.wait_for(all[1].id);
    wait_until("it goes on", || server.storage.stall(Duration::ZERO).is_none());
    disk.set_stalled(true);
    server.storage.save_snapshot(snapshot_at(all[1].entries[0].position()));
    wait_until("a snapshot hangs", || server.storage.stall(short).is_some());
    assert_eq!(server.storage.stall(short).map(|stall| stall.blocks_writes), Some(false));
    server.storage.submit(all[2].clone());
    server.storage.give_up(Duration::from_mins(3));
    let told = server.wait("failure", |event| {
        if let StorageEvent::Failed { error, .. } = event { Some(error.to_string()) } else { None }
    });
    assert!(told.contains("has not answered for 180 s"), "{told}");
    assert!(server.storage.close().is_err(), "and it does not hang itself");
    disk.set_stalled(false);
}

/// Guards against cleanup tools: missing spares are recreated, files to be removed may be missing,
/// and a missing snapshot covers nothing.
#[test]
fn files_that_somebody_removed_do_not_stop_the_storage() {
    let disk = MemoryDisk::default();
    let server = Server::start(&disk, options()).expect("a new directory");
    let (_, world) = open(&MemoryDisk::default()).expect("a new directory");
    let mut author = Author::new(21, &world);
    let mut removed = 0;
    let mut older_removed = 0;
    for round in 0..30 {
        for spare in disk.names(".tmp") {
            disk.delete(&spare);
            removed += 1;
        }
        for _ in 0..20 {
            server.storage.submit(author.plain_write());
        }
        let last = author.plain_write();
        let (id, commit) = (last.id, last.commit_index);
        server.storage.submit(last);
        server.wait_for(id);
        let Some(to) = author.position(commit) else { continue };
        if round % 3 == 2 {
            // Keep the newest: the log reaches back only while one of the two snapshots exists.
            let snapshots = disk.names(".snapshot");
            if let [older, _newest] = &*snapshots {
                disk.delete(older);
                older_removed += 1;
            }
        }
        server.storage.save_snapshot(snapshot_at(to));
        server.wait_for_snapshot();
        let compaction = author.compact_exactly(to);
        let id = compaction.id;
        server.storage.submit(compaction);
        server.wait_for(id);
    }
    assert!(removed > 30 && older_removed > 0, "{removed} and {older_removed} were removed");
    server.storage.close().expect("nothing failed");
    let server = Server::start(&disk, options()).expect("an intact directory");
    assert_eq!(Model::of(&server.opened.recovered).last(), author.model.last());
}
