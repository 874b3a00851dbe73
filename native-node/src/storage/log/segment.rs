//! One file of the log.

use std::io;
use std::path::PathBuf;

use raft_core::log::Entry;
use raft_core::types::LogIndex;
use serde::{Deserialize, Serialize};

use super::state::LogState;
use crate::storage::StorageError;
use crate::storage::directory::Directory;
use crate::storage::disk::DiskFile;
use crate::storage::error::io_error;
use crate::storage::head::{FileType, Head};

/// What a segment's head says beside whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentHead {
    /// Its number; segments count from 1, without gaps.
    pub(crate) sequence: u64,
    /// The number of its first record; records count from 1 over all segments.
    pub(crate) first_record: u64,
    /// The length that the file must have, in bytes.
    pub(crate) capacity: u64,
    /// The result of all records before.
    pub(crate) state: LogState,
}

/// Space set aside for a segment: a file under another name.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) bytes: u64,
}

/// What is remembered of every segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) sequence: u64,
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// The highest index of which an entry was written into it, 0 for none.
    last_entry: LogIndex,
}

impl Segment {
    pub(crate) const fn new(sequence: u64, bytes: u64) -> Self {
        Self { sequence, bytes, last_entry: LogIndex(0) }
    }

    /// Notes the entries of a write that goes into it.
    pub(crate) fn note(&mut self, entries: &[Entry]) {
        if let Some(last) = entries.last() {
            self.last_entry = self.last_entry.max(last.index);
        }
    }

    /// Whether it holds nothing that is needed when the entries up to `covered` are not.
    pub(crate) fn is_superseded(&self, covered: LogIndex) -> bool {
        self.last_entry <= covered
    }
}

/// A segment that is ready to be written.
pub(crate) struct Started {
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) salt: u64,
    /// Where the first record goes.
    pub(crate) offset: u64,
}

/// Makes the spare a segment, durably: head first, name last, so that a segment by name always has
/// its head. `None` when somebody has removed the spare.
pub(crate) fn start(
    directory: &Directory,
    spare: Spare,
    head: SegmentHead,
) -> Result<Option<Started>, StorageError> {
    let path = directory.segment(head.sequence);
    let head = Head::new(directory, head);
    let bytes = head.encode(FileType::Segment);
    spare.file.write_at(0, &bytes).map_err(io_error("write", &spare.path))?;
    spare.file.sync().map_err(io_error("sync", &spare.path))?;
    match directory.disk.rename(&spare.path, &path) {
        Ok(()) => directory.sync()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::warn!(file = %spare.path.display(), "this file was removed; making another");
            return Ok(None);
        }
        Err(error) => return Err(io_error("rename", &spare.path)(error)),
    }
    Ok(Some(Started { file: spare.file, salt: head.salt, offset: bytes.len() as u64 }))
}
