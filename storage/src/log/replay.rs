//! Reads the log at the start of a server.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use raft_core::codec;
use raft_core::durable::{Recovered, Write};
use raft_core::log::Entry;
use raft_core::types::{LogIndex, LogPosition};

use super::segment::{Segment, SegmentHead};
use super::state::LogState;
use crate::directory::Directory;
use crate::disk::DiskFile;
use crate::error::io_error;
use crate::head::{FileType, Head};
use crate::record::{HEADER_BYTES, Header, Kind, find_later};
use crate::{CutTail, StorageError};

/// The contents of a log, and where to continue.
pub(crate) struct Recovery {
    /// The result for the core.
    pub(crate) recovered: Recovered,
    pub(crate) cut: Option<CutTail>,
    pub(crate) state: LogState,
    pub(crate) segments: Vec<Segment>,
    pub(crate) tail: Tail,
}

/// The end of the last segment.
pub(crate) struct Tail {
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) salt: u64,
    /// The offset of the next record.
    pub(crate) offset: u64,
    pub(crate) capacity: u64,
    pub(crate) next_record: u64,
    /// Whether the last record is a seal.
    pub(crate) sealed: bool,
}

/// Reads all segments (`sequences`, ascending, at least one). `snapshot` is the position of the
/// loaded snapshot; the log must reach back to it.
pub(crate) fn recover(
    directory: &Directory,
    sequences: &[u64],
    snapshot: LogPosition,
) -> Result<Recovery, StorageError> {
    let mut files = open_all(directory, sequences)?;
    let mut replay = Replay::new(&files[0].head.body, snapshot.index);
    let ends: Vec<u64> = files.iter().skip(1).map(|next| next.head.body.first_record).collect();
    let last = files.pop().expect("the caller names at least one segment");
    for (file, end) in files.iter().zip(ends) {
        replay.enter(file)?;
        file.read_records(&mut replay, end)?;
    }
    replay.enter(&last)?;
    finish(directory, last, replay, snapshot)
}

fn finish(
    directory: &Directory,
    file: SegmentFile,
    mut replay: Replay,
    snapshot: LogPosition,
) -> Result<Recovery, StorageError> {
    let end = file.read_last_records(directory, &mut replay)?;
    let tail = Tail {
        file: file.file,
        salt: file.head.salt,
        offset: end.offset,
        capacity: file.head.body.capacity,
        next_record: replay.next_record,
        sealed: end.sealed,
    };
    let (state, segments) = (replay.state.clone(), std::mem::take(&mut replay.segments));
    let recovered = replay.into_recovered(&directory.path, snapshot)?;
    Ok(Recovery { recovered, cut: end.cut, state, segments, tail })
}

/// A segment with its head.
struct SegmentFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    head: Head<SegmentHead>,
    /// The offset of the first record.
    start: u64,
}

fn open_all(directory: &Directory, sequences: &[u64]) -> Result<Vec<SegmentFile>, StorageError> {
    for pair in sequences.windows(2) {
        if pair[0] + 1 != pair[1] {
            return Err(StorageError::Missing {
                path: directory.segment(pair[0] + 1),
                because: "the segments before and after it exist".to_owned(),
            });
        }
    }
    sequences
        .iter()
        .map(|sequence| SegmentFile::open(directory, directory.segment(*sequence), *sequence))
        .collect()
}

/// The end of the records in the last segment.
struct End {
    offset: u64,
    sealed: bool,
    cut: Option<CutTail>,
}

impl SegmentFile {
    fn open(directory: &Directory, path: PathBuf, sequence: u64) -> Result<Self, StorageError> {
        let file = directory.disk.open(&path).map_err(io_error("open", &path))?;
        let (head, start) = Head::<SegmentHead>::read(&*file, &path, FileType::Segment, directory)?;
        let segment = Self { path, file, head, start };
        if segment.head.body.sequence != sequence {
            let found = segment.head.body.sequence;
            return Err(segment.damaged(0, format!("its head names segment {found}")));
        }
        let size = segment.file.size().map_err(io_error("read the size of", &segment.path))?;
        if size < segment.head.body.capacity {
            let expected = segment.head.body.capacity;
            return Err(segment.damaged(size, format!("it ends here instead of at {expected}")));
        }
        Ok(segment)
    }

    fn damaged(&self, offset: u64, what: String) -> StorageError {
        StorageError::Damaged { path: self.path.clone(), offset, what }
    }

    fn read_all(&self) -> Result<Vec<u8>, StorageError> {
        let length = usize::try_from(self.head.body.capacity).map_err(|_| {
            self.damaged(0, "it is larger than the memory of this machine".to_owned())
        })?;
        let mut bytes = vec![0; length];
        let read = self.file.read_at(0, &mut bytes).map_err(io_error("read", &self.path))?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Replays the records before number `end`; all of them must be intact.
    fn read_records(&self, replay: &mut Replay, end: u64) -> Result<(), StorageError> {
        let bytes = self.read_all()?;
        let mut offset = self.start;
        while replay.next_record < end {
            match self.record(&bytes, offset, replay.next_record) {
                Ok(record) => {
                    self.replay(replay, &record, offset)?;
                    offset = record.header.end(offset);
                }
                Err(broken) => {
                    let what = format!(
                        "record {} {}, but the next segment begins after record {}",
                        replay.next_record,
                        broken.in_words(),
                        end - 1
                    );
                    return Err(self.damaged(offset, what));
                }
            }
        }
        Ok(())
    }

    /// Replays all records of the last segment and finds the end.
    fn read_last_records(
        &self,
        directory: &Directory,
        replay: &mut Replay,
    ) -> Result<End, StorageError> {
        let bytes = self.read_all()?;
        let mut offset = self.start;
        let mut last: Option<(u64, Kind)> = None;
        let broken = loop {
            match self.record(&bytes, offset, replay.next_record) {
                Ok(record) if record.header.kind == Kind::Continued => {
                    return Err(StorageError::Missing {
                        path: directory.segment(self.head.body.sequence + 1),
                        because: format!("{} names it as the next segment", self.path.display()),
                    });
                }
                Ok(record) => {
                    self.replay(replay, &record, offset)?;
                    last = Some((offset, record.header.kind));
                    offset = record.header.end(offset);
                }
                Err(broken) => break broken,
            }
        };
        let (number, salt) = (replay.next_record, self.head.salt);
        if let Some((later_at, later)) = find_later(&bytes, salt, offset, number) {
            let what = format!(
                "record {number} {}, although record {later} at byte {later_at} was written after \
                 it was durable",
                broken.in_words()
            );
            return Err(self.damaged(offset, what));
        }
        if let Broken::OtherNumber(_) = broken {
            return Err(self.damaged(offset, format!("record {number} {}", broken.in_words())));
        }
        self.make_durable(&bytes, last.map_or(offset, |(start, _)| start), offset)?;
        let cut = self.wipe_torn(&bytes, offset)?;
        Ok(End { offset, sealed: last.is_some_and(|(_, kind)| kind == Kind::Seal), cut })
    }

    /// The last record may exist only in the page cache. Its writer died before the sync, or the
    /// sync failed and the system no longer knows that the bytes are not on disk. Write them again
    /// to make the recovered data durable (pitfall 30).
    fn make_durable(&self, bytes: &[u8], start: u64, end: u64) -> Result<(), StorageError> {
        let at = |offset: u64| usize::try_from(offset).expect("the file is in memory");
        let last = bytes.get(at(start)..at(end).min(bytes.len())).unwrap_or_default();
        self.file.write_at(start, last).map_err(io_error("write", &self.path))?;
        self.file.sync().map_err(io_error("sync", &self.path))
    }

    /// Overwrites a torn record with zeros. Otherwise each start would find and report it again.
    fn wipe_torn(&self, bytes: &[u8], end: u64) -> Result<Option<CutTail>, StorageError> {
        let rest = usize::try_from(end).ok().and_then(|end| bytes.get(end..)).unwrap_or_default();
        let Some(last) = rest.iter().rposition(|byte| *byte != 0) else {
            return Ok(None);
        };
        self.file.write_at(end, &vec![0; last + 1]).map_err(io_error("write", &self.path))?;
        self.file.sync().map_err(io_error("sync", &self.path))?;
        let (path, bytes) = (self.path.clone(), last as u64 + 1);
        Ok(Some(CutTail { path, offset: end, bytes }))
    }

    fn record<'a>(&self, bytes: &'a [u8], offset: u64, number: u64) -> Result<Record<'a>, Broken> {
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..));
        let rest = rest.unwrap_or_default();
        let header = Header::read(rest, self.head.salt, offset).ok_or(Broken::NoHeader)?;
        if header.number != number {
            return Err(Broken::OtherNumber(header.number));
        }
        let end = HEADER_BYTES + header.payload_bytes as usize;
        let payload = rest.get(HEADER_BYTES..end).ok_or(Broken::Payload)?;
        if header.fits(payload) { Ok(Record { header, payload }) } else { Err(Broken::Payload) }
    }

    fn replay(
        &self,
        replay: &mut Replay,
        record: &Record<'_>,
        offset: u64,
    ) -> Result<(), StorageError> {
        let applied = match record.header.kind {
            Kind::Writes => replay.apply_all(record.payload),
            Kind::Seal => Ok(()),
            kind @ (Kind::Continued | Kind::Chunk | Kind::End) => {
                Err(format!("a record of kind {kind:?} is not allowed here"))
            }
        };
        replay.next_record += 1;
        applied.map_err(|what| self.damaged(offset, what))
    }
}

struct Record<'a> {
    header: Header,
    payload: &'a [u8],
}

/// Why there is no valid record at the expected position.
enum Broken {
    NoHeader,
    OtherNumber(u64),
    Payload,
}

impl Broken {
    fn in_words(&self) -> String {
        match self {
            Self::NoHeader => "is missing or has a wrong checksum".to_owned(),
            Self::OtherNumber(found) => format!("is missing (record {found} is in its place)"),
            Self::Payload => "does not match its checksum".to_owned(),
        }
    }
}

/// The log while it is replayed.
struct Replay {
    state: LogState,
    segments: Vec<Segment>,
    next_record: u64,
    /// The entries after `held_after`, without gaps, up to the last entry of the state.
    held: VecDeque<Entry>,
    held_after: LogIndex,
    /// The loaded snapshot covers entries up to here, so they are not needed, whatever the log's
    /// base is.
    covered: LogIndex,
}

impl Replay {
    fn new(first: &SegmentHead, covered: LogIndex) -> Self {
        Self {
            state: first.state.clone(),
            segments: Vec::new(),
            next_record: first.first_record,
            held: VecDeque::new(),
            // Earlier segments and their entries are gone.
            held_after: first.state.last().index,
            covered,
        }
    }

    /// Checks that the segment continues where the previous segment ended.
    fn enter(&mut self, file: &SegmentFile) -> Result<(), StorageError> {
        let head = &file.head.body;
        if head.first_record != self.next_record {
            let what = format!(
                "it starts with record {}, but record {} must come next",
                head.first_record, self.next_record
            );
            return Err(file.damaged(0, what));
        }
        if head.state != self.state {
            let what = "it does not continue from the state of the segments before it";
            return Err(file.damaged(0, what.to_owned()));
        }
        self.segments.push(Segment::new(head.sequence, head.capacity));
        Ok(())
    }

    /// Applies the writes of a record.
    fn apply_all(&mut self, mut payload: &[u8]) -> Result<(), String> {
        while let Some((length, rest)) = payload.split_first_chunk() {
            let length = u32::from_le_bytes(*length) as usize;
            let (bytes, rest) =
                rest.split_at_checked(length).ok_or("a write extends past its record")?;
            let write: Write = codec::decode(bytes).map_err(|error| error.to_string())?;
            self.apply(&write)?;
            payload = rest;
        }
        if payload.is_empty() { Ok(()) } else { Err("bytes are left over".to_owned()) }
    }

    fn apply(&mut self, write: &Write) -> Result<(), String> {
        let effect = self.state.apply(write)?;
        if let Some(segment) = self.segments.last_mut() {
            segment.note(&write.entries);
        }
        while self.held.pop_back_if(|entry| entry.index > effect.kept_to).is_some() {}
        self.held_after = self.held_after.min(effect.kept_to);
        if effect.reset {
            self.held.clear();
            self.held_after = self.state.base.index;
        }
        self.held.extend(write.entries.iter().cloned());
        self.forget(self.state.base.index.min(self.covered));
        Ok(())
    }

    /// Drops held entries up to `index`.
    fn forget(&mut self, index: LogIndex) {
        while self.held.pop_front_if(|entry| entry.index <= index).is_some() {}
        if index > self.held_after {
            self.held_after = index.min(self.state.last().index);
        }
    }

    fn into_recovered(
        mut self,
        dir: &Path,
        snapshot: LogPosition,
    ) -> Result<Recovered, StorageError> {
        // If the snapshot is older than the compaction point (the newest was damaged), the log
        // starts after that snapshot. Entries that the snapshot covers may be missing: they were
        // only for slow followers, and a nearly full disk needed the space.
        let base = if snapshot.index < self.state.base.index {
            snapshot
        } else if (self.state.base.index..=snapshot.index).contains(&self.held_after) {
            let term = self.state.term_at(self.held_after).unwrap_or(self.state.base.term);
            LogPosition { term, index: self.held_after }
        } else {
            self.state.base
        };
        if self.held_after > base.index {
            return Err(StorageError::Gap {
                dir: dir.to_owned(),
                log_base: self.held_after,
                snapshot: if snapshot == LogPosition::ZERO {
                    "there is no intact snapshot".to_owned()
                } else {
                    format!("the newest intact snapshot ends at entry {snapshot}")
                },
            });
        }
        self.forget(base.index);
        Ok(Recovered {
            hard_state: self.state.hard_state,
            base,
            entries: self.held.into(),
            commit_index: self.state.commit_index,
        })
    }
}
