//! Makes a backup in pieces: it is never in memory as a whole.

use std::time::SystemTime;

use bytes::Bytes;
use raft_core::codec;
use raft_core::kv::{KvStore, Snapshot};
use raft_core::snapshot::{Cursor, SnapshotMeta};
use serde::Serialize;

use super::{BackupHead, Chunk, End, FRAME_HEADER_BYTES, Kind, LAYOUT_VERSION, MAGIC, chained};

/// The approximate size of a piece, in bytes, unless a single value is larger.
const CHUNK_BYTES: usize = 128 << 10;

/// Makes a backup in pieces.
#[derive(Debug)]
pub struct Encoder {
    snapshot: Snapshot,
    head: BackupHead,
    next: Next,
    crc: u32,
    number: u64,
}

#[derive(Debug)]
enum Next {
    Head,
    Chunk(Cursor),
    End,
    Nothing,
}

impl Encoder {
    /// A backup of this state, made now.
    pub fn new(cluster_id: &str, node: u64, store: KvStore) -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let made_at = since_epoch.unwrap_or_default().as_millis();
        let head = BackupHead {
            cluster_id: cluster_id.to_owned(),
            node,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            made_at_ms: u64::try_from(made_at).unwrap_or(u64::MAX),
            revision: store.revision(),
            keys: store.len() as u64,
            state_bytes: store.bytes(),
            digest: store.digest(),
        };
        // Positions in the log have no meaning elsewhere.
        let snapshot = Snapshot { meta: SnapshotMeta::default(), store };
        Self { snapshot, head, next: Next::Head, crc: 0, number: 0 }
    }

    /// The description of the backup.
    pub const fn head(&self) -> &BackupHead {
        &self.head
    }

    fn frame(&mut self, kind: Kind, payload: &impl Serialize, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        buffer.resize(start + FRAME_HEADER_BYTES, 0);
        codec::encode_into(payload, buffer);
        let (header, payload) = buffer[start..].split_at_mut(FRAME_HEADER_BYTES);
        let length = u32::try_from(payload.len()).expect("a chunk is smaller than 4 GiB");
        header[0..4].copy_from_slice(&length.to_le_bytes());
        header[4..8].copy_from_slice(&(kind as u32).to_le_bytes());
        header[8..16].copy_from_slice(&self.number.to_le_bytes());
        self.crc = chained(self.crc, header, payload);
        header[16..20].copy_from_slice(&self.crc.to_le_bytes());
        self.number += 1;
    }
}

/// The file's prefix, with these versions.
pub(super) fn prefix(layout: u16, encoding: u16) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(layout.to_le_bytes());
    bytes.extend(encoding.to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

impl Iterator for Encoder {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut buffer = Vec::new();
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Head => {
                buffer = prefix(LAYOUT_VERSION, codec::FORMAT_VERSION);
                let head = self.head.clone();
                self.frame(Kind::Head, &head, &mut buffer);
                self.next = Next::Chunk(Cursor::default());
            }
            Next::Chunk(from) => {
                let (data, next) = self.snapshot.chunk(&from, CHUNK_BYTES);
                let chunk = Chunk { data, next };
                self.frame(Kind::Chunk, &chunk, &mut buffer);
                self.next = chunk.next.map_or(Next::End, Next::Chunk);
            }
            Next::End => {
                // All frames but the head are chunks.
                let end = End { chunks: self.number - 1 };
                self.frame(Kind::End, &end, &mut buffer);
            }
            Next::Nothing => return None,
        }
        Some(buffer.into())
    }
}
