//! Appends to the log.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use raft_core::codec;
use raft_core::durable::Write;

use super::replay::Tail;
use super::segment::{Segment, SegmentHead, Started, start};
use super::spares::SpareSource;
use super::state::LogState;
use crate::StorageError;
use crate::directory::Directory;
use crate::error::io_error;
use crate::record::{self, HEADER_BYTES, Kind};

/// The bytes that every segment keeps free at its end: for a seal, and for the record that
/// announces the next segment.
const END_BYTES: u64 = 2 * HEADER_BYTES as u64;

/// The maximum buffer size that is kept for the next batch, in bytes.
const MAX_KEPT_BUFFER: usize = 16 << 20;

/// The writable end of the log. It must not be used after an error, because the contents of the
/// disk are unknown then.
pub(crate) struct LogWriter {
    directory: Directory,
    state: LogState,
    /// All segments; the last is the current one.
    segments: VecDeque<Segment>,
    tail: Tail,
    /// One encoded record.
    buffer: Vec<u8>,
}

/// The cost of an append.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended {
    /// The size on disk, in bytes.
    pub(crate) bytes: u64,
    /// The duration of the `fdatasync`.
    pub(crate) sync: Duration,
}

impl LogWriter {
    /// Creates a new log.
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

    /// Continues at the end that recovery found.
    pub(crate) fn resume(
        directory: Directory,
        state: LogState,
        segments: Vec<Segment>,
        tail: Tail,
    ) -> Self {
        Self { directory, state, segments: segments.into(), tail, buffer: Vec::new() }
    }

    /// Makes the writes durable with one write and one `fdatasync`. If they do not fit into the
    /// current segment, waits for a new segment.
    ///
    /// # Panics
    /// If a write does not follow the previous writes, which is a bug of the core.
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
                panic!("write {} does not fit the writes before it: {misfit}", write.id);
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
        // The path is needed only for errors.
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

    /// Writes a seal, which proves that the last record is durable, unless there is one.
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

    /// Whether the log is already sealed.
    pub(crate) const fn is_sealed(&self) -> bool {
        self.tail.sealed
    }

    /// Switches to a new segment with room for `bytes`. Makes the new segment durable before the
    /// old segment announces it. In the reverse order, a crash in between would look like a lost
    /// segment.
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

    /// Hands over the oldest segments that are not needed any more.
    pub(crate) fn retire_superseded(&mut self, spares: &dyn SpareSource) {
        let covered = spares.covered(self.state.base.index);
        let full = self.segments.len() - 1;
        let superseded = |segment: &&Segment| segment.is_superseded(covered);
        let count = self.segments.iter().take(full).take_while(superseded).count();
        spares.retire(self.segments.drain(..count).collect());
    }

    /// The remaining space for records in the current segment, in bytes.
    pub(crate) const fn room(&self) -> u64 {
        (self.tail.capacity - self.tail.offset).saturating_sub(END_BYTES + HEADER_BYTES as u64)
    }

    /// The number of segments and their total size, in bytes.
    pub(crate) fn usage(&self) -> (u64, u64) {
        (self.segments.len() as u64, self.segments.iter().map(|segment| segment.bytes).sum())
    }
}
