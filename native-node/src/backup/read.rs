//! Reads a backup and checks whether it is complete.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use raft_core::codec;
use raft_core::kv::{KvStore, SnapshotBuilder};
use raft_core::snapshot::SnapshotMeta;
use serde::de::DeserializeOwned;

use super::{
    BackupError, BackupHead, Chunk, End, FRAME_HEADER_BYTES, Kind, LAYOUT_VERSION, MAGIC,
    PREFIX_BYTES, chained,
};

/// Checks that a file is a complete backup, byte by byte, in little memory. `progress` gets the
/// number of bytes that were read.
pub fn check(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<BackupHead, BackupError> {
    walk(path, progress, |_, _| Ok(()))
}

/// Reads a backup into memory and checks it like [`check`]. Its contents must also be the state
/// that it announces.
pub fn load(
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(BackupHead, KvStore), BackupError> {
    let mut builder = SnapshotBuilder::new(SnapshotMeta::default());
    let mut built = None;
    let head = walk(path, progress, |chunk, offset| {
        let damaged = |what: String| BackupError::Damaged { path: path.to_owned(), offset, what };
        built = builder.add(&chunk.data, chunk.next).map_err(|error| damaged(error.to_string()))?;
        Ok(())
    })?;
    let fits = |store: &KvStore| {
        (store.revision(), store.len() as u64, store.digest())
            == (head.revision, head.keys, head.digest)
    };
    match built.map(|snapshot| snapshot.store) {
        Some(store) if fits(&store) => Ok((head, store)),
        Some(_) | None => Err(BackupError::Damaged {
            path: path.to_owned(),
            offset: PREFIX_BYTES as u64,
            what: "its contents do not match its header".to_owned(),
        }),
    }
}

/// Reads all frames, and passes on each chunk with its offset.
fn walk(
    path: &Path,
    progress: &mut dyn FnMut(u64),
    mut take: impl FnMut(Chunk, u64) -> Result<(), BackupError>,
) -> Result<BackupHead, BackupError> {
    let file = File::open(path).map_err(|error| BackupError::Io {
        action: "open",
        path: path.to_owned(),
        error,
    })?;
    let mut reader = Reader {
        path,
        file: BufReader::with_capacity(256 << 10, file),
        offset: 0,
        crc: 0,
        number: 0,
    };
    reader.read_prefix()?;
    let head: BackupHead = reader.decode(Kind::Head)?;
    let (mut chunks, mut more) = (0, true);
    while more {
        let start = reader.offset;
        let chunk: Chunk = reader.decode(Kind::Chunk)?;
        chunks += 1;
        more = chunk.next.is_some();
        take(chunk, start)?;
        progress(reader.offset);
    }
    let end: End = reader.decode(Kind::End)?;
    if end.chunks != chunks {
        return Err(reader.damaged(format!("it has {chunks} chunks instead of {}", end.chunks)));
    }
    if reader.fill(&mut [0])? > 0 {
        return Err(reader.damaged("there is data after its end".to_owned()));
    }
    Ok(head)
}

struct Reader<'a> {
    path: &'a Path,
    file: BufReader<File>,
    offset: u64,
    crc: u32,
    number: u64,
}

impl Reader<'_> {
    fn damaged(&self, what: String) -> BackupError {
        BackupError::Damaged { path: self.path.to_owned(), offset: self.offset, what }
    }

    fn truncated(&self, more: usize) -> BackupError {
        BackupError::Truncated { path: self.path.to_owned(), bytes: self.offset + more as u64 }
    }

    /// Reads until `buffer` is full or the file ends.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, BackupError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.io(error)),
            }
        }
        Ok(filled)
    }

    fn io(&self, error: std::io::Error) -> BackupError {
        BackupError::Io { action: "read", path: self.path.to_owned(), error }
    }

    fn read_prefix(&mut self) -> Result<(), BackupError> {
        let mut prefix = [0; PREFIX_BYTES];
        let read = self.fill(&mut prefix)?;
        let known = &prefix[..read.min(MAGIC.len())];
        if known.is_empty() || !MAGIC.starts_with(known) {
            return Err(BackupError::NotABackup { path: self.path.to_owned() });
        }
        if read < prefix.len() {
            return Err(self.truncated(read));
        }
        if u32_at(&prefix, 12) != crc32c::crc32c(&prefix[..12]) {
            return Err(self.damaged("the checksum of its first bytes is wrong".to_owned()));
        }
        let version = (u16_at(&prefix, 8), u16_at(&prefix, 10));
        if version != (LAYOUT_VERSION, codec::FORMAT_VERSION) {
            return Err(BackupError::OtherVersion {
                path: self.path.to_owned(),
                found: format!("{}.{}", version.0, version.1),
                known: format!("{LAYOUT_VERSION}.{}", codec::FORMAT_VERSION),
            });
        }
        self.offset = PREFIX_BYTES as u64;
        Ok(())
    }

    /// Reads the next frame, which must be of this kind.
    fn decode<T: DeserializeOwned>(&mut self, kind: Kind) -> Result<T, BackupError> {
        let mut header = [0; FRAME_HEADER_BYTES];
        let read = self.fill(&mut header)?;
        if read < header.len() {
            return Err(self.truncated(read));
        }
        let length = u32_at(&header, 0);
        if length as usize > codec::MAX_BYTES {
            let what = format!("part {} is longer than the maximum", self.number);
            return Err(self.damaged(what));
        }
        // A wrong length must not allocate more memory than the file has bytes.
        let mut payload = Vec::new();
        let taken = self.file.by_ref().take(u64::from(length)).read_to_end(&mut payload);
        let taken = taken.map_err(|error| self.io(error))?;
        let crc = chained(self.crc, &header, &payload);
        let number = u64::from(u32_at(&header, 8)) | u64::from(u32_at(&header, 12)) << 32;
        let right = (u32_at(&header, 4), number) == (kind as u32, self.number);
        if taken < length as usize && right {
            return Err(self.truncated(header.len() + taken));
        }
        if crc != u32_at(&header, 16) || !right {
            let what = format!("part {} is missing or has a wrong checksum", self.number);
            return Err(self.damaged(what));
        }
        let value = codec::decode(&payload).map_err(|error| self.damaged(error.to_string()))?;
        self.offset += header.len() as u64 + u64::from(length);
        self.crc = crc;
        self.number += 1;
        Ok(value)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("two bytes of a header"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes of a header"))
}
