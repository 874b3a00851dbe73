//! Directories of other owners.

use std::path::PathBuf;
use std::sync::Arc;

use raft_core::types::NodeId;

use super::disk::{Fault, Loss, MemoryDisk};
use super::world::{DIR, identity, options, path};
use crate::{Identity, Storage, StorageError, StorageId};

fn open_as(disk: &MemoryDisk, identity: Identity) -> Result<Storage, StorageError> {
    let dir = PathBuf::from(DIR);
    let opened = Storage::open_on(Arc::new(disk.clone()), &dir, identity, options(), |_| {});
    opened.map(|(_, storage)| storage)
}

fn used() -> MemoryDisk {
    let disk = MemoryDisk::default();
    open_as(&disk, identity()).expect("a new directory").close().expect("nothing failed");
    disk
}

/// Guards against two servers that share a directory or a copy of it.
#[test]
fn a_directory_of_another_server_or_cluster_is_refused_in_plain_words() {
    let disk = used();
    let other = Identity { node: NodeId(2), ..identity() };
    let text = open_as(&disk, other).expect_err("another server").to_string();
    assert!(text.contains("belongs to server S1, but this is server S2"), "{text}");
    let other = Identity { cluster: "prod".to_owned(), ..identity() };
    let text = open_as(&disk, other).expect_err("another cluster").to_string();
    assert!(text.contains("belongs to cluster \"test\""), "{text}");
    open_as(&disk, identity()).expect("its own");
}

/// Guards against an old program that reports a newer program's files as damaged.
#[test]
fn a_directory_of_a_newer_version_is_refused_in_plain_words() {
    let disk = used();
    let segment = disk.names(".log").remove(0);
    disk.tamper(&segment, |bytes| {
        bytes[8] = 9;
        let crc = crc32c::crc32c(&bytes[..20]).to_le_bytes();
        bytes[20..24].copy_from_slice(&crc);
    });
    let text = open_as(&disk, identity()).expect_err("a newer version").to_string();
    assert!(text.contains("has format 9."), "{text}");
}

/// Guards files of other programs: the storage puts nothing beside them.
#[test]
fn a_directory_with_other_files_is_refused_and_left_alone() {
    let disk = MemoryDisk::default();
    disk.put(&path("thesis.tex"), b"precious".to_vec());
    let text = open_as(&disk, identity()).expect_err("not ours").to_string();
    assert!(text.contains("thesis.tex"), "{text}");
    assert_eq!(disk.names(""), [path("thesis.tex")]);
}

/// Guards against a server that lost its log but not its snapshot: it has lost its vote.
#[test]
fn a_snapshot_without_a_log_is_refused() {
    let disk = MemoryDisk::default();
    disk.put(&path(&format!("{:020}-{:020}.snapshot", 5, 1)), Vec::new());
    let text = open_as(&disk, identity()).expect_err("the log is gone").to_string();
    assert!(text.contains("is missing although there is a snapshot of entry 5"), "{text}");
}

/// Guards against two processes in one directory.
#[test]
fn a_directory_in_use_is_refused_with_the_name_of_its_user() {
    let disk = MemoryDisk::default();
    let storage = open_as(&disk, identity()).expect("a new directory");
    let text = open_as(&disk, identity()).expect_err("it is in use").to_string();
    let process = format!("in use by process {} (server S1", std::process::id());
    assert!(text.contains(&process), "{text}");
    drop(storage);
    open_as(&disk, identity()).expect("it is free again");
}

/// Guards against a file that was copied from another directory, even from the same server's.
#[test]
fn files_of_two_directories_do_not_mix() {
    let (disk, other) = (used(), used());
    let segment = disk.names(".log").remove(0);
    let second = path(&format!("{:020}.log", 2));
    disk.put(&second, other.bytes(&segment));
    let text = open_as(&disk, identity()).expect_err("mixed").to_string();
    assert!(text.contains("files of two directories of this server are mixed"), "{text}");
    assert!(text.contains("glassraft member remove"), "{text}");
}

/// Guards pitfall 29 if `--new-cluster` is repeated after a disk was lost. Other servers remember
/// the directory, even over a restart, until the server is added again.
#[test]
fn a_server_with_another_directory_is_not_taken_for_itself() {
    let (disk, peer) = (MemoryDisk::default(), NodeId(2));
    let (first, second) = (StorageId::random(), StorageId::random());
    let storage = open_as(&disk, identity()).expect("a new directory");
    let own = storage.peers().own();
    assert!(storage.peers().meet(peer, first, 0).expect("the disk works"));
    assert!(storage.peers().meet(peer, first, 0).expect("the disk works"));
    assert!(!storage.peers().meet(peer, second, 0).expect("the disk works"));
    drop(storage);
    disk.lose_power(Loss::All);
    let storage = open_as(&disk, identity()).expect("its own");
    assert_eq!(storage.peers().own(), own, "the directory keeps its number");
    assert!(!storage.peers().meet(peer, second, 0).expect("the disk works"), "still refused");
    assert!(storage.peers().meet(peer, second, 7).expect("the disk works"), "let in again");
    assert!(!storage.peers().meet(peer, first, 7).expect("the disk works"), "the old one is not");
    drop(storage);
    // A damaged record file must not stop a server, because it only guards against a mistake.
    disk.tamper(&path("peers"), |bytes| bytes[0] = b'!');
    let storage = open_as(&disk, identity()).expect("its own");
    assert!(storage.peers().meet(peer, first, 0).expect("the disk works"));
}

/// Guards that a record that could not be saved is not kept in memory. On a full disk it is kept,
/// so that servers can connect.
#[test]
fn who_could_not_be_remembered_was_not_met() {
    let (disk, peer) = (MemoryDisk::default(), NodeId(2));
    let (first, second) = (StorageId::random(), StorageId::random());
    let storage = open_as(&disk, identity()).expect("a new directory");
    disk.set_fault(Fault::FailAt(1));
    storage.peers().meet(peer, first, 0).expect_err("the disk fails");
    assert!(!storage.peers().knows(peer, first));
    disk.set_fault(Fault::None);
    assert!(storage.peers().meet(peer, second, 0).expect("the disk works"), "the first to be met");
    disk.set_capacity(disk.used());
    let other = NodeId(3);
    assert!(storage.peers().meet(other, first, 0).expect("it goes on"));
    assert!(storage.peers().knows(other, first));
    assert!(!storage.peers().meet(other, second, 0).expect("it is known"));
}
