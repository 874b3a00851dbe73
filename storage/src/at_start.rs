//! Space for the log while the server starts.

use raft_core::types::LogIndex;

use super::StorageError;
use super::directory::Directory;
use super::log::segment::{Segment, Spare};
use super::log::spares::{Progress, SpareSource, Spares};

/// Creates spares on demand at the start, before the thread for them runs.
pub(super) struct MadeAtOnce<'a>(pub(super) &'a Spares, pub(super) &'a Directory);

impl SpareSource for MadeAtOnce<'_> {
    fn take(&self, bytes: u64) -> Result<Option<Spare>, StorageError> {
        loop {
            if let Some(spare) = self.0.try_take(bytes)? {
                return Ok(Some(spare));
            }
            if let Progress::Full | Progress::Idle = self.0.work()? {
                return Err(StorageError::DiskFull {
                    path: self.1.path.clone(),
                    needed: self.0.needed_bytes(),
                    free: self.1.free_bytes()?,
                });
            }
        }
    }

    fn covered(&self, base: LogIndex) -> LogIndex {
        self.0.covered(base)
    }

    fn retire(&self, segments: Vec<Segment>) {
        self.0.retire(segments);
    }
}
