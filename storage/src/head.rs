//! The start of every file: the file's type, format and owner.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | magic: the type of the file |
//! | 2 + 2 | version: layout of the file, encoding of the values in it |
//! | 4 | length of the head |
//! | 4 | CRC32C of the head |
//! | 4 | CRC32C of the previous 20 bytes; these 24 bytes have the same meaning in all versions |
//! | … | head: an encoded [`Head`], then zeros up to a multiple of 8 |

use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use raft_core::codec;
use raft_core::types::NodeId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::disk::DiskFile;
use super::error::io_error;
use super::record::aligned;
use super::{Identity, StorageError, StorageId};

/// Incremented with every change of the layout of segments or snapshots.
const LAYOUT_VERSION: u16 = 2;

const PREFIX_BYTES: usize = 24;

/// The maximum size of a head, in bytes; a larger head is damage.
const MAX_HEAD_BYTES: u32 = 16 << 20;

/// The types of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileType {
    Segment,
    Snapshot,
}

impl FileType {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Segment => *b"GLRAFTLG",
            Self::Snapshot => *b"GLRAFTSN",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Segment => "log segment",
            Self::Snapshot => "snapshot",
        }
    }
}

/// The start of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head<T> {
    cluster: String,
    node: NodeId,
    /// The directory in which the file was written.
    storage: StorageId,
    /// Part of the checksum of each record in this file; see [`super::record`].
    pub(super) salt: u64,
    pub(super) body: T,
}

impl<T: Serialize + DeserializeOwned> Head<T> {
    /// A head with a new salt.
    pub(super) fn new(directory: &Directory, body: T) -> Self {
        let identity = &directory.identity;
        // The hasher's keys are random; std has no other source of randomness.
        let salt = RandomState::new().hash_one(identity.node);
        let (cluster, node) = (identity.cluster.clone(), identity.node);
        Self { cluster, node, storage: directory.id, salt, body }
    }

    /// Encodes the start of a file of this type.
    ///
    /// # Panics
    /// If the head is larger than the maximum.
    pub(super) fn encode(&self, file_type: FileType) -> Vec<u8> {
        let mut bytes = vec![0; PREFIX_BYTES];
        codec::encode_into(self, &mut bytes);
        let length = u32::try_from(bytes.len() - PREFIX_BYTES).expect("a head is short");
        assert!(length <= MAX_HEAD_BYTES, "a head is short");
        let crc = crc32c::crc32c(&bytes[PREFIX_BYTES..]);
        bytes[0..8].copy_from_slice(&file_type.magic());
        bytes[8..10].copy_from_slice(&LAYOUT_VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&codec::FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..20]);
        bytes[20..24].copy_from_slice(&crc.to_le_bytes());
        while aligned(bytes.len() as u64) != bytes.len() as u64 {
            bytes.push(0);
        }
        bytes
    }

    /// Reads the start of a file and rejects files of other owners. Also returns the offset of the
    /// first record.
    pub(super) fn read(
        file: &dyn DiskFile,
        path: &Path,
        file_type: FileType,
        directory: &Directory,
    ) -> Result<(Self, u64), StorageError> {
        let (head, start) = Self::read_any(file, path, file_type)?;
        head.check_owner(path, directory)?;
        Ok((head, start))
    }

    /// The same for any owner.
    pub(super) fn read_any(
        file: &dyn DiskFile,
        path: &Path,
        file_type: FileType,
    ) -> Result<(Self, u64), StorageError> {
        let damaged =
            |offset, what: String| StorageError::Damaged { path: path.to_owned(), offset, what };
        let mut prefix = [0; PREFIX_BYTES];
        let read = file.read_at(0, &mut prefix).map_err(io_error("read", path))?;
        if read < PREFIX_BYTES || prefix[0..8] != file_type.magic() {
            return Err(damaged(0, format!("it does not start like a {}", file_type.name())));
        }
        if u32_at(&prefix, 20) != crc32c::crc32c(&prefix[..20]) {
            return Err(damaged(0, "the checksum of its first bytes is wrong".to_owned()));
        }
        let version = (u16_at(&prefix, 8), u16_at(&prefix, 10));
        let known = (LAYOUT_VERSION, codec::FORMAT_VERSION);
        if version != known {
            return Err(StorageError::OtherVersion {
                path: path.to_owned(),
                found: format!("{}.{}", version.0, version.1),
                known: format!("{}.{}", known.0, known.1),
            });
        }
        let length = u32_at(&prefix, 12);
        if length > MAX_HEAD_BYTES {
            return Err(damaged(12, format!("a head of {length} bytes is too long")));
        }
        let mut bytes = vec![0; length as usize];
        let read = file.read_at(PREFIX_BYTES as u64, &mut bytes).map_err(io_error("read", path))?;
        if read < bytes.len() || u32_at(&prefix, 16) != crc32c::crc32c(&bytes) {
            return Err(damaged(24, "the checksum of its head is wrong".to_owned()));
        }
        let head: Self = codec::decode(&bytes).map_err(|error| damaged(24, error.to_string()))?;
        Ok((head, aligned(PREFIX_BYTES as u64 + u64::from(length))))
    }

    /// The owner of the file.
    pub(super) fn owner(&self) -> Identity {
        Identity { cluster: self.cluster.clone(), node: self.node }
    }

    /// The id of the directory, for a directory that does not know its id yet.
    pub(super) const fn storage(&self) -> StorageId {
        self.storage
    }

    fn check_owner(&self, path: &Path, directory: &Directory) -> Result<(), StorageError> {
        let identity = &directory.identity;
        if self.cluster != identity.cluster {
            return Err(StorageError::OtherCluster {
                path: path.to_owned(),
                found: self.cluster.clone(),
                expected: identity.cluster.clone(),
            });
        }
        if self.node != identity.node {
            return Err(StorageError::OtherNode {
                path: path.to_owned(),
                found: self.node,
                expected: identity.node,
            });
        }
        if self.storage != directory.id {
            return Err(StorageError::OtherDirectory {
                path: path.to_owned(),
                found: self.storage,
                expected: directory.id,
            });
        }
        Ok(())
    }
}

fn u16_at(bytes: &[u8; PREFIX_BYTES], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("the slice has two bytes"))
}

fn u32_at(bytes: &[u8; PREFIX_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the slice has four bytes"))
}
