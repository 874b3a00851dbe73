//! Backups: the whole state at one revision, in a file that can be checked without a server.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | magic |
//! | 2 + 2 | version: layout of the file, encoding of the values in it |
//! | 4 | CRC32C of the 12 bytes before; these 16 bytes have this layout in all versions |
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
//! Each checksum continues the checksum of the frame before. A changed byte, or a frame that is
//! missing, repeated or from another backup, breaks the chain. The end contains the number of
//! chunks, and nothing may follow it. Numbers are little-endian. Storage and transfers use the same
//! chunks. A backup has its own head, since it belongs to no server and no directory.

mod encode;
mod error;
mod read;
mod restore;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use raft_core::snapshot::Cursor;
use serde::{Deserialize, Serialize};

pub use encode::Encoder;
pub use error::BackupError;
pub use read::{check, load};
pub(crate) use restore::found_with;
pub use restore::{Restore, RestoreError, Restored};

const MAGIC: [u8; 8] = *b"GLRAFTBK";

/// Increases with each change of the layout.
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

/// The description of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// The cluster that the state belongs to.
    pub cluster_id: String,
    /// The server that made it.
    pub node: u64,
    /// The release of that server.
    pub release: String,
    /// When it was made, in ms since 1970 by that server's clock.
    pub made_at_ms: u64,
    /// The store's revision: the backup contains everything up to it, and nothing after it.
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
    /// A part of the encoded state.
    data: Bytes,
    /// Where the next chunk starts.
    next: Option<Cursor>,
}

/// The payload of the end.
#[derive(Serialize, Deserialize)]
struct End {
    chunks: u64,
}

/// The checksum of a frame, which continues the checksum of the frame before.
fn chained(before: u32, header: &[u8], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c_append(before, &header[..16]), payload)
}
