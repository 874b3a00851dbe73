//! Fuzz targets: the start of a server with files of any content.
//!
//! Checksums reject nearly everything, so a fuzzer would not reach the code behind them. Here its
//! input becomes the payload of records with valid checksums.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use raft_core::codec;
use raft_core::durable::{HardState, Write};
use raft_core::kv::{Command, KvStore, Snapshot};
use raft_core::log::{Entries, Entry, Payload};
use raft_core::snapshot::SnapshotMeta;
use raft_core::types::{LogIndex, LogPosition, NodeId, Term, WriteId};

use super::directory::Directory;
use super::disk::memory::MemoryDisk;
use super::head::{FileType, Head};
use super::log::segment::SegmentHead;
use super::log::state::LogState;
use super::record::{self, Kind};
use super::service::prepare;
use super::{Identity, Options, StorageId, snapshots};

const POSITION: LogPosition = LogPosition { term: Term(1), index: LogIndex(3) };

fn directory(disk: &MemoryDisk) -> Directory {
    let identity = Identity { cluster: "fuzz".to_owned(), node: NodeId(1) };
    let (disk, path) = (Arc::new(disk.clone()), PathBuf::from("/data"));
    Directory { disk, path, identity, id: StorageId::default() }
}

fn options() -> Options {
    Options { segment_bytes: 1 << 12, keep_free_bytes: 0, ..Options::default() }
}

/// Opens a disk: damage must be an error, not a panic.
fn start(disk: &MemoryDisk) {
    if let Ok(opened) = prepare(&directory(disk), &options()) {
        // What was accepted once is accepted again.
        let first = opened.opened.recovered.clone();
        drop(opened);
        let again = prepare(&directory(disk), &options()).expect("it was opened a moment ago");
        assert_eq!(again.opened.recovered, first);
    }
}

/// Splits the fuzzer's input into records: kind, length (2 bytes), payload.
fn cut(mut input: &[u8]) -> impl Iterator<Item = (Kind, &[u8])> {
    std::iter::from_fn(move || {
        let ([kind, low, high], rest) = input.split_first_chunk()?;
        let kinds = [Kind::Writes, Kind::Seal, Kind::Continued, Kind::Chunk, Kind::End];
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (contents, rest) = rest.split_at(length);
        input = rest;
        Some((kinds[usize::from(*kind) % kinds.len()], contents))
    })
}

/// The inverse of [`cut`].
fn join<'a>(records: impl IntoIterator<Item = (u8, &'a [u8])>) -> Vec<u8> {
    let mut joined = Vec::new();
    for (kind, contents) in records {
        let length = u16::try_from(contents.len()).expect("seeds are small");
        joined.push(kind);
        joined.extend(length.to_le_bytes());
        joined.extend(contents);
    }
    joined
}

fn place_records(file: &mut Vec<u8>, salt: u64, input: &[u8]) {
    for (number, (kind, contents)) in (1..).zip(cut(input)) {
        let mut buffer = Vec::new();
        record::begin(&mut buffer);
        buffer.extend_from_slice(contents);
        record::finish(&mut buffer, kind, number);
        record::place(&mut buffer, salt, file.len() as u64);
        file.append(&mut buffer);
    }
}

fn empty_log(disk: &MemoryDisk, capacity: u64) -> (PathBuf, Vec<u8>, u64) {
    let (directory, state) = (directory(disk), LogState::default());
    let body = SegmentHead { sequence: 1, first_record: 1, capacity, state };
    let head = Head::new(&directory, body);
    (directory.segment(1), head.encode(FileType::Segment), head.salt)
}

/// A log with records of any payload.
pub fn log_records(input: &[u8]) {
    let disk = MemoryDisk::default();
    let capacity = input.len() as u64 * 9 + (8 << 10);
    let (path, mut file, salt) = empty_log(&disk, capacity);
    place_records(&mut file, salt, input);
    file.resize(usize::try_from(capacity).expect("the input is small"), 0);
    disk.put(&path, file);
    start(&disk);
}

/// Payloads of records as a server writes them.
pub fn log_seeds() -> Vec<Vec<u8>> {
    let entry = |index, payload| Entry { index: LogIndex(index), term: Term(1), payload };
    let command = Payload::Command(Command::put("key", "value").encode());
    let mut write = Write {
        id: WriteId(1),
        hard_state: HardState {
            current_term: Term(1),
            voted_for: Some(NodeId(1)),
            stranger_until: None,
        },
        truncate_from: None,
        compact_to: None,
        entries: Entries::from(vec![entry(1, Payload::Noop), entry(2, command)]),
        commit_index: LogIndex(1),
    };
    let encoded = |write: &Write| {
        let bytes = codec::encode(write);
        let length = u32::try_from(bytes.len()).expect("it is small").to_le_bytes();
        [&length[..], &bytes].concat()
    };
    let first = encoded(&write);
    write.truncate_from = Some(LogIndex(2));
    write.entries = Entries::from(vec![entry(2, Payload::Noop), entry(3, Payload::Noop)]);
    let second = encoded(&write);
    (write.truncate_from, write.entries) = (None, Entries::default());
    write.compact_to = Some(LogPosition::new(1, 2));
    let third = encoded(&write);
    let both = [&*first, &*second].concat();
    vec![
        join([(0, &*first), (0, &*second), (1, &[])]),
        join([(0, &*both), (1, &[]), (0, &*third), (2, &[])]),
        Vec::new(),
    ]
}

/// A segment file of any content, after a prefix with valid checksums.
pub fn log_file(input: &[u8]) {
    let disk = MemoryDisk::default();
    let (path, genuine, _) = empty_log(&disk, 1 << 12);
    let mut file = input.to_vec();
    file.resize(file.len().max(1 << 12), 0);
    file[..12].copy_from_slice(&genuine[..12]);
    let length = u32::from_le_bytes(file[12..16].try_into().expect("four bytes"));
    let length = (length % 512) as usize;
    file[12..16].copy_from_slice(&u32::try_from(length).expect("it is small").to_le_bytes());
    let crc = crc32c::crc32c(&file[24..24 + length]);
    file[16..20].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c(&file[..20]);
    file[20..24].copy_from_slice(&crc.to_le_bytes());
    disk.put(&path, file);
    start(&disk);
}

/// Segment files as a server writes them.
pub fn log_file_seeds() -> Vec<Vec<u8>> {
    let (_, mut file, salt) = empty_log(&MemoryDisk::default(), 1 << 12);
    let empty = file.clone();
    place_records(&mut file, salt, &log_seeds()[0]);
    vec![file, empty]
}

/// A snapshot with records of any payload.
pub fn snapshot(input: &[u8]) {
    let disk = MemoryDisk::default();
    let directory = directory(&disk);
    let path = directory.snapshot(POSITION);
    let (mut file, salt) = snapshots::fuzz::head(&directory, &state());
    place_records(&mut file, salt, input);
    disk.put(&path, file);
    let read = snapshots::fuzz::read(&directory, &path, POSITION);
    if let Ok(read) = read {
        assert_eq!(read.store.digest(), state().store.digest(), "the digest is checked");
    }
}

fn state() -> Snapshot {
    let mut store = KvStore::default();
    for key in ["a", "b", "c"] {
        store.apply(Command::put(key, key.repeat(30)));
    }
    store.apply(Command::GrantLease { ttl: 1_000_000 });
    store.apply(Command::OpenSession { ttl: 1_000_000 });
    Snapshot { meta: SnapshotMeta { last: POSITION, ..SnapshotMeta::default() }, store }
}

/// Payloads of a snapshot's records as a server writes them.
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let (snapshot, mut chunks) = (state(), Vec::new());
    let mut cursor = Some(raft_core::snapshot::Cursor::default());
    while let Some(from) = cursor {
        let (data, next): (Bytes, _) = snapshot.chunk(&from, 40);
        chunks.push(snapshots::fuzz::chunk(data, next.clone()));
        cursor = next;
    }
    let end = snapshots::fuzz::end(chunks.len() as u64);
    let records = chunks.iter().map(|chunk| (3, &**chunk)).chain([(4, &*end)]);
    vec![join(records)]
}

/// The file with the other servers, with any content.
pub fn peers(input: &[u8]) {
    let disk = MemoryDisk::default();
    disk.put(Path::new("/data/peers"), input.to_vec());
    let known = super::KnownPeers::load(directory(&disk)).expect("the disk works");
    known.meet(NodeId(1), StorageId::random(), 1).expect("the disk works");
}

/// The same file as a server writes it.
pub fn peers_seeds() -> Vec<Vec<u8>> {
    vec![br#"{"1":{"storage":81985529216486895,"let_in":7}}"#.to_vec()]
}
