//! Whose directory it is, according to its first segment.

use super::directory::{Contents, Directory};
use super::error::io_error;
use super::head::{FileType, Head};
use super::log::segment::SegmentHead;
use super::{Identity, StorageError, StorageId};

impl Directory {
    /// Adds the id of the directory: the id in the first segment, or a new id if there is no
    /// segment.
    pub(super) fn identified(&self, contents: &Contents) -> Result<Self, StorageError> {
        let id = match contents.segments.first() {
            None => StorageId::random(),
            Some(sequence) => {
                let path = self.segment(*sequence);
                let file = self.disk.open(&path).map_err(io_error("open", &path))?;
                let head = Head::<SegmentHead>::read_any(&*file, &path, FileType::Segment)?.0;
                head.storage()
            }
        };
        Ok(Self { id, ..self.clone() })
    }

    /// The owner of the directory, according to its first segment.
    pub(super) fn owner(&self) -> Result<Identity, StorageError> {
        let contents = self.list()?;
        let Some(sequence) = contents.segments.first() else {
            let because = "this must be the data directory of a server".to_owned();
            return Err(StorageError::Missing { path: self.segment(1), because });
        };
        let path = self.segment(*sequence);
        let file = self.disk.open(&path).map_err(io_error("open", &path))?;
        let (head, _) = Head::<SegmentHead>::read_any(&*file, &path, FileType::Segment)?;
        Ok(head.owner())
    }
}
