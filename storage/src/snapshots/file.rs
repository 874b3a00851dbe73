//! A snapshot file: a head, the chunks of the state in key order, and an end record.
//!
//! Chunks and end are [`record`]s, numbered from 1. Each record has its own checksum, the head
//! names their expected result, and nothing may follow the end. A file is written under a temporary
//! name and renamed when it is complete and durable. A file with the final name is therefore never
//! unfinished.

use std::path::Path;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use raft_core::codec;
use raft_core::kv::{Snapshot, SnapshotBuilder};
use raft_core::snapshot::{Cursor, SnapshotMeta};
use raft_core::types::LogPosition;
use serde::{Deserialize, Serialize};

use crate::StorageError;
use crate::directory::Directory;
use crate::disk::DiskFile;
use crate::error::io_error;
use crate::head::{FileType, Head};
use crate::record::{self, HEADER_BYTES, Header, Kind};

/// The file is synced after this many bytes, because the log shares the disk and waits for the
/// sync. With 1 MiB the slowest 1 % of writes takes four times as long while a snapshot is saved.
/// With this value it takes about as long as without a snapshot (`examples/storage_speed.rs`).
const SYNC_EVERY: u64 = 128 << 10;

/// The contents of a snapshot's head, besides the owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SnapshotHead {
    meta: SnapshotMeta,
    /// The number of keys.
    keys: u64,
    /// The digest of the state.
    digest: u64,
}

/// The payload of a chunk.
#[derive(Serialize, Deserialize)]
struct Chunk {
    /// The encoded range of the state.
    data: Bytes,
    /// The start of the next chunk.
    next: Option<Cursor>,
}

/// The payload of the end record: the number of chunks.
#[derive(Serialize, Deserialize)]
struct End {
    chunks: u64,
}

/// Writes a snapshot to `path`, durably except for its name. Returns the file's size, in bytes.
pub(super) fn write(
    directory: &Directory,
    path: &Path,
    snapshot: &Snapshot,
    chunk_bytes: usize,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<u64, StorageError> {
    let file = directory.disk.create(path).map_err(io_error("create", path))?;
    let body = SnapshotHead {
        meta: snapshot.meta.clone(),
        keys: snapshot.store.len() as u64,
        digest: snapshot.store.digest(),
    };
    let head = Head::new(directory, body);
    let mut writer =
        Writer { path, salt: head.salt, file, offset: 0, synced: 0, number: 1, buffer: Vec::new() };
    writer.put(&head.encode(FileType::Snapshot))?;
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        if !go_on(writer.offset) {
            return Err(StorageError::Closed);
        }
        let (data, next) = snapshot.chunk(&from, chunk_bytes);
        writer.put_record(Kind::Chunk, &Chunk { data, next: next.clone() })?;
        cursor = next;
    }
    writer.put_record(Kind::End, &End { chunks: writer.number - 1 })?;
    writer.sync()?;
    Ok(writer.offset)
}

struct Writer<'a> {
    path: &'a Path,
    file: Box<dyn DiskFile>,
    salt: u64,
    offset: u64,
    /// The file is durable up to this offset.
    synced: u64,
    /// The number of the next record.
    number: u64,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn put_record(&mut self, kind: Kind, payload: &impl Serialize) -> Result<(), StorageError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        record::begin(&mut buffer);
        codec::encode_into(payload, &mut buffer);
        record::finish(&mut buffer, kind, self.number);
        record::place(&mut buffer, self.salt, self.offset);
        self.number += 1;
        self.put(&buffer)?;
        self.buffer = buffer;
        if self.offset - self.synced < SYNC_EVERY {
            return Ok(());
        }
        let started = Instant::now();
        self.sync()?;
        // A snapshot is not urgent: leave the disk to others half of the time.
        thread::sleep(started.elapsed());
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.file.write_at(self.offset, bytes).map_err(io_error("write", self.path))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.synced = self.offset;
        self.file.sync().map_err(io_error("sync", self.path))
    }
}

/// Reads the snapshot at `path`, whose name says `position`. Any mismatch is
/// [`StorageError::Damaged`].
pub(crate) fn read(
    directory: &Directory,
    path: &Path,
    position: LogPosition,
) -> Result<Snapshot, StorageError> {
    let (mut reader, expected) = Reader::open(directory, path, position)?;
    let snapshot = reader.read_chunks(expected.meta)?;
    let (keys, digest) = (snapshot.store.len() as u64, snapshot.store.digest());
    if (keys, digest) != (expected.keys, expected.digest) {
        return Err(reader.damaged("its contents do not match its head".to_owned()));
    }
    reader.read_end()?;
    Ok(snapshot)
}

/// Checks that all records of a snapshot are readable, without building the state.
pub(super) fn check(
    directory: &Directory,
    path: &Path,
    position: LogPosition,
) -> Result<(), StorageError> {
    let (mut reader, _) = Reader::open(directory, path, position)?;
    while reader.read_chunk()?.next.is_some() {}
    reader.read_end()
}

struct Reader<'a> {
    path: &'a Path,
    file: Box<dyn DiskFile>,
    salt: u64,
    offset: u64,
    size: u64,
    number: u64,
}

impl<'a> Reader<'a> {
    fn open(
        directory: &Directory,
        path: &'a Path,
        position: LogPosition,
    ) -> Result<(Self, SnapshotHead), StorageError> {
        let file = directory.disk.open(path).map_err(io_error("open", path))?;
        let (head, start) =
            Head::<SnapshotHead>::read(&*file, path, FileType::Snapshot, directory)?;
        let size = file.size().map_err(io_error("read the size of", path))?;
        let reader = Self { path, file, salt: head.salt, offset: start, size, number: 1 };
        let found = head.body.meta.last;
        if found != position {
            let what = format!("its head names the snapshot of entry {found}");
            return Err(reader.damaged(what));
        }
        Ok((reader, head.body))
    }

    fn damaged(&self, what: String) -> StorageError {
        StorageError::Damaged { path: self.path.to_owned(), offset: self.offset, what }
    }

    fn read_chunks(&mut self, meta: SnapshotMeta) -> Result<Snapshot, StorageError> {
        let mut builder = SnapshotBuilder::new(meta);
        loop {
            let chunk = self.read_chunk()?;
            let added = builder.add(&chunk.data, chunk.next);
            if let Some(snapshot) = added.map_err(|error| self.damaged(error.to_string()))? {
                return Ok(snapshot);
            }
        }
    }

    fn read_chunk(&mut self) -> Result<Chunk, StorageError> {
        let payload = self.read_record(Kind::Chunk)?;
        codec::decode(&payload).map_err(|error| self.damaged(error.to_string()))
    }

    fn read_end(&mut self) -> Result<(), StorageError> {
        let chunks = self.number - 1;
        let payload = self.read_record(Kind::End)?;
        let end: End = codec::decode(&payload).map_err(|error| self.damaged(error.to_string()))?;
        if end.chunks != chunks || self.offset != self.size {
            return Err(self.damaged("its end does not match its last record".to_owned()));
        }
        Ok(())
    }

    fn read_record(&mut self, kind: Kind) -> Result<Vec<u8>, StorageError> {
        let mut header = [0; HEADER_BYTES];
        self.file.read_at(self.offset, &mut header).map_err(io_error("read", self.path))?;
        let header = Header::read(&header, self.salt, self.offset)
            .filter(|header| header.kind == kind && header.number == self.number)
            .filter(|header| header.end(self.offset) <= self.size)
            .ok_or_else(|| {
                let number = self.number;
                self.damaged(format!("record {number} is missing or has a wrong checksum"))
            })?;
        let mut payload = vec![0; header.payload_bytes as usize];
        let from = self.offset + HEADER_BYTES as u64;
        let read = self.file.read_at(from, &mut payload).map_err(io_error("read", self.path))?;
        if read < payload.len() || !header.fits(&payload) {
            let what = format!("record {} does not match its checksum", self.number);
            return Err(self.damaged(what));
        }
        self.offset = header.end(self.offset);
        self.number += 1;
        Ok(payload)
    }
}

/// The parts of the format, for the fuzzer.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz {
    use raft_core::codec;

    use super::{Bytes, Chunk, Cursor, Directory, End, FileType, Head, Snapshot, SnapshotHead};

    pub(crate) use super::read;

    /// The head of a snapshot file, and its salt.
    pub(crate) fn head(directory: &Directory, snapshot: &Snapshot) -> (Vec<u8>, u64) {
        let (meta, store) = (snapshot.meta.clone(), &snapshot.store);
        let body = SnapshotHead { meta, keys: store.len() as u64, digest: store.digest() };
        let head = Head::new(directory, body);
        (head.encode(FileType::Snapshot), head.salt)
    }

    /// The payload of a chunk record.
    pub(crate) fn chunk(data: Bytes, next: Option<Cursor>) -> Vec<u8> {
        codec::encode(&Chunk { data, next })
    }

    /// The payload of the end record.
    pub(crate) fn end(chunks: u64) -> Vec<u8> {
        codec::encode(&End { chunks })
    }
}
