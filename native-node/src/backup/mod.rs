//! Backups: the whole state at one revision in a file that can be checked without a server.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | magic |
//! | 2 + 2 | version: layout of the file, encoding of the values in it |
//! | 4 | CRC32C of the 12 bytes before; these 16 bytes stay as they are in all versions |
//! | … | frames: one [`BackupHead`], chunks of the state in the order of its parts, one end |
//!
//! A frame:
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | length of the payload |
//! | 4 | kind |
//! | 8 | number, counting from 0 |
//! | 4 | CRC32C of all frames before, these 16 bytes, and the payload |
//! | … | payload |
//!
//! The checksum of each frame goes on from that of the one before: a byte that changed, a frame that
//! is missing, twice, or from another backup ends the chain. The end names the number of chunks, and
//! nothing may follow it. Numbers are little-endian. Chunks are what storage and transfers cut a
//! state into too; a backup has a head of its own since it belongs to no server and no directory.

mod encode;
mod error;
mod read;
mod restore;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use raft_core::message::Cursor;
use serde::{Deserialize, Serialize};

pub use encode::Encoder;
pub use error::BackupError;
pub use read::{check, load};
pub(crate) use restore::found_with;
pub use restore::{Restore, RestoreError, Restored};

const MAGIC: [u8; 8] = *b"GLRAFTBK";

/// Goes up whenever the layout changes.
const LAYOUT_VERSION: u16 = 1;

const PREFIX_BYTES: usize = 16;
const FRAME_HEADER_BYTES: usize = 20;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Head = 1,
    Chunk = 2,
    End = 3,
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// The cluster whose state it is.
    pub cluster_id: String,
    /// The server that made it.
    pub node: u64,
    /// The release of that server.
    pub release: String,
    /// When, in ms since 1970 by that server's clock.
    pub made_at_ms: u64,
    /// The store's revision: everything up to it is there, and nothing after it.
    pub revision: u64,
    /// The number of keys.
    pub keys: u64,
    /// The lengths of all keys and values together, in bytes.
    pub state_bytes: u64,
    /// The digest of the state.
    pub digest: u64,
}

/// The payload of a chunk.
#[derive(Serialize, Deserialize)]
struct Chunk {
    /// The range, as the state encodes it.
    data: Bytes,
    /// Where the next one starts.
    next: Option<Cursor>,
}

/// The payload of the end.
#[derive(Serialize, Deserialize)]
struct End {
    chunks: u64,
}

/// The checksum of a frame, going on from that of the one before.
fn chained(before: u32, header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(before, &header[..16]), payload)
}
