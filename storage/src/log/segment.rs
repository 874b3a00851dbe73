//! A file of the log.

use std::io;
use std::path::PathBuf;

use raft_core::log::Entry;
use raft_core::types::LogIndex;
use serde::{Deserialize, Serialize};

use super::state::LogState;
use crate::StorageError;
use crate::directory::Directory;
use crate::disk::DiskFile;
use crate::error::io_error;
use crate::head::{FileType, Head};

/// The contents of a segment's head, besides the owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentHead {
    /// The number of the segment; segments count from 1, without gaps.
    pub(crate) sequence: u64,
    /// The number of the first record; records count from 1 over all segments.
    pub(crate) first_record: u64,
    /// The size that the file must have, in bytes.
    pub(crate) capacity: u64,
    /// The state after all earlier records.
    pub(crate) state: LogState,
}

/// Reserved space for a segment: a file with a temporary name.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) path: PathBuf,
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) bytes: u64,
}

/// The known facts about a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) sequence: u64,
    /// The size, in bytes.
    pub(crate) bytes: u64,
    /// The highest index of an entry that was written to the segment; 0 if there is none.
    last_entry: LogIndex,
}

impl Segment {
    pub(crate) const fn new(sequence: u64, bytes: u64) -> Self {
        Self { sequence, bytes, last_entry: LogIndex(0) }
    }

    /// Records the entries of a write to this segment.
    pub(crate) fn note(&mut self, entries: &[Entry]) {
        if let Some(last) = entries.last() {
            self.last_entry = self.last_entry.max(last.index);
        }
    }

    /// Whether the segment is not needed if the entries up to `covered` are not.
    pub(crate) fn is_superseded(&self, covered: LogIndex) -> bool {
        self.last_entry <= covered
    }
}

/// A segment that is ready for records.
pub(crate) struct Started {
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) salt: u64,
    /// The offset of the first record.
    pub(crate) offset: u64,
}

/// Turns a spare into a segment, durably. Writes the head before the rename: each named segment
/// has a head. `None` if somebody has removed the spare.
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
