//! Directories that are not this server's.

use std::path::PathBuf;
use std::sync::Arc;

use raft_core::types::NodeId;

use super::disk::MemoryDisk;
use super::world::{DIR, identity, options, path};
use crate::storage::{Identity, Storage, StorageError};

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

/// Guards against two servers that share a directory or a copy of one.
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

/// Guards against an old program that reads a new one's files as damaged.
#[test]
fn a_directory_of_a_newer_version_is_refused_in_plain_words() {
    let disk = used();
    let segment = disk.names(".log").remove(0);
    disk.tamper(&segment, |bytes| {
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..20]).to_le_bytes();
        bytes[20..24].copy_from_slice(&crc);
    });
    let text = open_as(&disk, identity()).expect_err("a newer version").to_string();
    assert!(text.contains("has format 2."), "{text}");
}

/// Guards somebody else's files: nothing is put beside them.
#[test]
fn a_directory_with_other_files_is_refused_and_left_alone() {
    let disk = MemoryDisk::default();
    disk.put(&path("thesis.tex"), b"precious".to_vec());
    let text = open_as(&disk, identity()).expect_err("not ours").to_string();
    assert!(text.contains("thesis.tex"), "{text}");
    assert_eq!(disk.names(""), [path("thesis.tex")]);
}

/// Guards a server that lost its log but not its snapshot: it would have forgotten its vote.
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
