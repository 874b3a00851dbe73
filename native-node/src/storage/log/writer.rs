//! Appending to the log.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use raft_core::codec;
use raft_core::durable::Write;

use super::replay::Tail;
use super::segment::{Segment, SegmentHead, Started, start};
use super::spares::SpareSource;
use super::state::LogState;
use crate::storage::StorageError;
use crate::storage::directory::Directory;
use crate::storage::error::io_error;
use crate::storage::record::{self, HEADER_BYTES, Kind};

/// What every segment keeps free at its end, in bytes: a seal and the record that says that the
/// log goes on in the next one.
const END_BYTES: u64 = 2 * HEADER_BYTES as u64;

/// A buffer above this size is not kept for the next batch.
const MAX_KEPT_BUFFER: usize = 16 << 20;

/// The open end of the log. After an error nothing may be asked of it any more: what is on the disk
/// is unknown then.
pub(crate) struct LogWriter {
    directory: Directory,
    state: LogState,
    /// All segments, the one that is written last.
    segments: VecDeque<Segment>,
    tail: Tail,
    /// Holds one record at a time.
    buffer: Vec<u8>,
}

/// What an append took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended {
    /// Its size on disk.
    pub(crate) bytes: u64,
    /// What the `fdatasync` took.
    pub(crate) sync: Duration,
}

impl LogWriter {
    /// Starts a new log.
    pub(crate) fn create(
        directory: Directory,
        spares: &dyn SpareSource,
    ) -> Result<Self, StorageError> {
        let state = LogState::default();
        let (capacity, Started { file, salt, offset }) = loop {
            let Some(spare) = spares.take(0)? else { continue };
            let capacity = spare.bytes;
            let head = SegmentHead { sequence: 1, first_record: 1, capacity, state: state.clone() };
            if let Some(started) = start(&directory, spare, head)? {
                break (capacity, started);
            }
        };
        let tail = Tail { file, salt, offset, capacity, next_record: 1, sealed: true };
        Ok(Self::resume(directory, state, vec![Segment::new(1, capacity)], tail))
    }

    /// Goes on where recovery found the end.
    pub(crate) fn resume(
        directory: Directory,
        state: LogState,
        segments: Vec<Segment>,
        tail: Tail,
    ) -> Self {
        Self { directory, state, segments: segments.into(), tail, buffer: Vec::new() }
    }

    /// Makes the writes durable with one write and one `fdatasync`. Waits for a new segment when
    /// they do not fit into this one.
    ///
    /// # Panics
    /// When a write does not follow from those before it, which is a bug of the core.
    pub(crate) fn append(
        &mut self,
        writes: &[Write],
        spares: &dyn SpareSource,
    ) -> Result<Appended, StorageError> {
        self.encode(writes);
        let bytes = self.buffer.len() as u64;
        if self.tail.offset + bytes + END_BYTES > self.tail.capacity {
            self.roll(bytes, spares)?;
        }
        for write in writes {
            if let Err(misfit) = self.state.apply(write) {
                panic!("write {} does not follow from those before it: {misfit}", write.id);
            }
            if let Some(segment) = self.segments.back_mut() {
                segment.note(&write.entries);
            }
        }
        let sync = self.write_record()?;
        self.tail.sealed = false;
        Ok(Appended { bytes, sync })
    }

    fn encode(&mut self, writes: &[Write]) {
        self.buffer.shrink_to(MAX_KEPT_BUFFER);
        record::begin(&mut self.buffer);
        for write in writes {
            let length_at = self.buffer.len();
            self.buffer.extend_from_slice(&[0; 4]);
            codec::encode_into(write, &mut self.buffer);
            let length = self.buffer.len() - length_at - 4;
            assert!(length <= codec::MAX_BYTES, "write {} could not be read back", write.id);
            let length = u32::try_from(length).expect("it is below the codec's limit");
            self.buffer[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
        }
        record::finish(&mut self.buffer, Kind::Writes, self.tail.next_record);
    }

    /// Writes the record in the buffer at the end, durably.
    fn write_record(&mut self) -> Result<Duration, StorageError> {
        let tail = &mut self.tail;
        record::place(&mut self.buffer, tail.salt, tail.offset);
        // The path is needed for errors alone.
        let sequence = self.segments.back().map_or(0, |segment| segment.sequence);
        let path = || self.directory.segment(sequence);
        tail.file
            .write_at(tail.offset, &self.buffer)
            .map_err(|error| io_error("write", &path())(error))?;
        let started = Instant::now();
        tail.file.sync().map_err(|error| io_error("sync", &path())(error))?;
        let took = started.elapsed();
        tail.offset += self.buffer.len() as u64;
        tail.next_record += 1;
        Ok(took)
    }

    /// Marks the last record as durable, when that is not marked yet.
    pub(crate) fn seal(&mut self) -> Result<(), StorageError> {
        if self.tail.sealed || self.tail.offset + END_BYTES > self.tail.capacity {
            self.tail.sealed = true;
            return Ok(());
        }
        record::begin(&mut self.buffer);
        record::finish(&mut self.buffer, Kind::Seal, self.tail.next_record);
        self.write_record()?;
        self.tail.sealed = true;
        Ok(())
    }

    /// Whether a seal would change nothing.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.tail.sealed
    }

    /// Goes over to a new segment with room for `bytes`. First the new one is made durable, then
    /// the old one says that it is not the last: were it the other way round, a crash between the
    /// two would look like a lost segment.
    fn roll(&mut self, bytes: u64, spares: &dyn SpareSource) -> Result<(), StorageError> {
        let head_bytes = self.state.max_head_bytes() + self.directory.identity.cluster.len() as u64;
        let old = self.segments.back().map_or(0, |segment| segment.sequence);
        let (capacity, new) = loop {
            let Some(spare) = spares.take(head_bytes + bytes + END_BYTES)? else {
                self.retire_superseded(spares);
                continue;
            };
            let capacity = spare.bytes;
            let head = SegmentHead {
                sequence: old + 1,
                first_record: self.tail.next_record,
                capacity,
                state: self.state.clone(),
            };
            if let Some(started) = start(&self.directory, spare, head)? {
                break (capacity, started);
            }
        };
        let tail = &mut self.tail;
        let end = record::empty(Kind::Continued, tail.next_record, tail.salt, tail.offset);
        let path = self.directory.segment(old);
        tail.file.write_at(tail.offset, &end).map_err(io_error("write", &path))?;
        tail.file.sync().map_err(io_error("sync", &path))?;
        self.segments.push_back(Segment::new(old + 1, capacity));
        *tail = Tail {
            file: new.file,
            salt: new.salt,
            offset: new.offset,
            capacity,
            next_record: tail.next_record,
            sealed: true,
        };
        Ok(())
    }

    /// Hands over the segments from the front that are not needed any more.
    pub(crate) fn retire_superseded(&mut self, spares: &dyn SpareSource) {
        let covered = spares.covered(self.state.base.index);
        let full = self.segments.len() - 1;
        let superseded = |segment: &&Segment| segment.is_superseded(covered);
        let count = self.segments.iter().take(full).take_while(superseded).count();
        spares.retire(self.segments.drain(..count).collect());
    }

    /// What the last segment still has room for, in bytes.
    pub(crate) const fn room(&self) -> u64 {
        (self.tail.capacity - self.tail.offset).saturating_sub(END_BYTES + HEADER_BYTES as u64)
    }

    /// How many segments there are, and their length in bytes.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (self.segments.len() as u64, self.segments.iter().map(|segment| segment.bytes).sum())
    }
}
