//! Space for future segments, reserved in advance. Creating and removing a file take milliseconds,
//! and no write should wait for that. The reserve also detects a full disk while there is still
//! space for pending writes.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use raft_core::types::LogIndex;

use super::segment::{Segment, Spare};
use super::sync::{AtomicBool, AtomicU64, Condvar, Mutex, MutexGuard, Ordering, PoisonError};
use crate::StorageError;
use crate::directory::Directory;
use crate::disk::DiskFile;
use crate::error::{io_error, is_full};

/// How many spares are kept ready: one for the next segment and one in reserve. Term, vote and
/// compaction then still fit on a full disk.
const READY: usize = 2;

/// How often the free space is checked without other work.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// With space for fewer segments the disk is nearly full; the log is then shortened early.
const LOW_SEGMENTS: u64 = 4;

/// The maximum interval between reports of a full disk.
const REMIND: Duration = Duration::from_secs(30);

/// A source of spares for the log.
pub(crate) trait SpareSource {
    /// Takes a spare of at least `bytes`. Waits for a spare; `None` after waiting for a while
    /// without success.
    fn take(&self, bytes: u64) -> Result<Option<Spare>, StorageError>;

    /// The last entry that the log may remove: the kept snapshots cover it. While there is space,
    /// entries after `base`, which are kept for slow followers, are not covered.
    fn covered(&self, base: LogIndex) -> LogIndex;

    /// Hands over segments that are not needed any more, oldest first.
    fn retire(&self, segments: Vec<Segment>);
}

/// The spares and the segments to remove. Files are not reused: on the tested file systems new
/// files are as fast, and they contain only zeros after the end of the log.
#[derive(Debug)]
pub(crate) struct Spares {
    directory: Directory,
    segment_bytes: u64,
    /// The space to keep free besides a new spare, in bytes.
    keep_free: AtomicU64,
    retry: Duration,
    state: Mutex<State>,
    changed: Condvar,
    full: AtomicBool,
    /// Whether the disk is nearly full.
    low: AtomicBool,
    /// The free space at the last check, in bytes. A check may take long on a faulty disk, so only
    /// the thread that makes spares checks.
    free_bytes: AtomicU64,
    covered_by_older: AtomicU64,
    covered_by_newest: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Spare>,
    /// Segments that the log does not need any more, oldest first.
    retired: VecDeque<Segment>,
    next_number: u64,
    /// Whether the log waits for a segment that is larger than the spares, and the disk is too full
    /// for it.
    larger_is_missing: bool,
    /// Whether the log no longer waits for a full disk.
    finishing: bool,
    closed: bool,
}

/// A report about the space on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// The disk has become full.
    Full,
    /// The disk has been full for a while.
    StillFull,
    /// The disk is nearly full.
    Low,
    /// The disk has space again.
    Enough,
}

/// The result of one step of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A retired segment was removed; there may be more work.
    Removed,
    /// A spare was created; there may be more work.
    Made,
    /// There is no work.
    Idle,
    /// A spare is missing, and the disk is too full for it.
    Full,
}

impl Spares {
    /// Reuses the spares of an earlier run.
    pub(crate) fn open(
        directory: Directory,
        segment_bytes: u64,
        keep_free: u64,
        retry: Duration,
        left: &[u64],
    ) -> Result<Self, StorageError> {
        let mut state = State::default();
        for number in left {
            let path = directory.spare(*number);
            state.next_number = state.next_number.max(*number);
            let Some(file) = directory.open(&path)? else { continue };
            let size = file.size().map_err(io_error("read the size of", &path))?;
            // A crash may have happened before all space was allocated, or after a head was
            // written.
            let usable = size == segment_bytes
                && state.ready.len() < READY
                && is_blank(&*file, &path)?
                && allocate(&*file, &path, segment_bytes)?;
            if usable {
                state.ready.push(Spare { path, file, bytes: segment_bytes });
            } else {
                drop(file);
                directory.remove(&path)?;
            }
        }
        let free_bytes = directory.free_bytes()?;
        Ok(Self {
            directory,
            segment_bytes,
            keep_free: AtomicU64::new(keep_free),
            retry,
            state: Mutex::new(state),
            changed: Condvar::new(),
            full: AtomicBool::new(false),
            low: AtomicBool::new(false),
            free_bytes: AtomicU64::new(free_bytes),
            covered_by_older: AtomicU64::new(0),
            covered_by_newest: AtomicU64::new(0),
        })
    }

    /// Whether the disk has no space for the next spare.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// The free space at the last check, in bytes.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Acquire)
    }

    /// Sets the space to keep free besides a new spare, in bytes.
    pub(crate) fn set_keep_free(&self, bytes: u64) {
        self.keep_free.store(bytes, Ordering::Release);
    }

    /// The space that must be free for another spare, in bytes.
    pub(crate) fn needed_bytes(&self) -> u64 {
        self.segment_bytes + self.keep_free.load(Ordering::Acquire)
    }

    /// Sets the last entries that the older and the newest of the kept snapshots cover.
    pub(crate) fn set_covered(&self, older: LogIndex, newest: LogIndex) {
        self.covered_by_older.store(older.0, Ordering::Release);
        self.covered_by_newest.store(newest.0, Ordering::Release);
    }

    /// The size of the ready spares, in bytes.
    pub(crate) fn ready_bytes(&self) -> u64 {
        self.lock().ready.iter().map(|spare| spare.bytes).sum()
    }

    /// Prepares for the end of the log: it still gets spares, but does not wait for a full disk.
    pub(crate) fn finish(&self) {
        self.lock().finishing = true;
        self.changed.notify_all();
    }

    /// Ends [`Self::run`] and every wait.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Makes and removes segments until closed. Calls `report` when the disk becomes full and when
    /// it has space again, and repeatedly while it is full or nearly full.
    pub(crate) fn run(&self, report: impl Fn(Room)) -> Result<(), StorageError> {
        // The time until the next reminder, and the time between reminders.
        let (mut left, mut pause) = (Duration::ZERO, Duration::ZERO);
        while !self.lock().closed {
            let progress = self.work()?;
            let full = match progress {
                Progress::Removed | Progress::Made => self.is_full(),
                Progress::Idle => false,
                Progress::Full => true,
            };
            let low = full || self.is_nearly_full();
            self.low.store(low, Ordering::Release);
            if self.full.swap(full, Ordering::AcqRel) != full {
                report(if full { Room::Full } else { Room::Enough });
                (left, pause) = (self.retry, self.retry);
            } else if progress == Progress::Full {
                left = left.saturating_sub(self.retry);
                if left.is_zero() {
                    report(Room::StillFull);
                    pause = (2 * pause).min(REMIND.max(self.retry));
                    left = pause;
                }
            } else if low && progress == Progress::Made {
                report(Room::Low);
            }
            match progress {
                Progress::Removed | Progress::Made => {}
                Progress::Idle => {
                    self.free_bytes.store(self.directory.free_bytes()?, Ordering::Release);
                    self.wait_for_work(LOOK_AGAIN, true);
                }
                Progress::Full => self.wait_for_work(self.retry, false),
            }
        }
        Ok(())
    }

    fn is_nearly_full(&self) -> bool {
        self.free_bytes() < self.needed_bytes() + LOW_SEGMENTS * self.segment_bytes
    }

    /// Waits for work, with a timeout. On a full disk a missing spare alone does not end the wait.
    fn wait_for_work(&self, at_most: Duration, for_spares: bool) {
        let state = self.lock();
        let nothing = |state: &mut State| {
            let missing = for_spares && (state.ready.len() < READY || state.larger_is_missing);
            !state.closed && state.retired.is_empty() && !missing
        };
        drop(self.changed.wait_timeout_while(state, at_most, nothing));
    }

    /// Does one step: removes a retired segment, or creates a missing spare.
    pub(crate) fn work(&self) -> Result<Progress, StorageError> {
        let retired = self.lock().retired.pop_front();
        if let Some(segment) = retired {
            self.directory.remove(&self.directory.segment(segment.sequence))?;
            return Ok(Progress::Removed);
        }
        let (ready, larger_is_missing) = {
            let state = self.lock();
            (state.ready.len(), state.larger_is_missing)
        };
        if ready >= READY {
            return Ok(if larger_is_missing { Progress::Full } else { Progress::Idle });
        }
        let Some(spare) = self.prepare()? else {
            return Ok(Progress::Full);
        };
        self.lock().ready.push(spare);
        self.changed.notify_all();
        Ok(Progress::Made)
    }

    /// Creates a spare; `None` if there is no space.
    fn prepare(&self) -> Result<Option<Spare>, StorageError> {
        let free_bytes = self.directory.free_bytes()?;
        self.free_bytes.store(free_bytes, Ordering::Release);
        // Without any spare the log stops, so use the space that is otherwise kept free.
        let last_resort = self.is_full() && self.lock().ready.is_empty();
        let needed = if last_resort { self.segment_bytes } else { self.needed_bytes() };
        if free_bytes < needed {
            return Ok(None);
        }
        let number = {
            let mut state = self.lock();
            state.next_number += 1;
            state.next_number
        };
        let path = self.directory.spare(number);
        let file = match self.directory.disk.create(&path) {
            Ok(file) => file,
            Err(error) if is_full(&error) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.directory.or_gone("create a file in", error));
            }
            Err(error) => return Err(io_error("create", &path)(error)),
        };
        if allocate(&*file, &path, self.segment_bytes)? {
            return Ok(Some(Spare { path, file, bytes: self.segment_bytes }));
        }
        drop(file);
        self.directory.remove(&path)?;
        Ok(None)
    }

    /// Takes a ready spare of at least `bytes`, if there is one.
    pub(crate) fn try_take(&self, bytes: u64) -> Result<Option<Spare>, StorageError> {
        let Some(mut spare) = self.lock().ready.pop() else {
            return Ok(None);
        };
        if spare.bytes < bytes {
            if !allocate(&*spare.file, &spare.path, bytes)? {
                let mut state = self.lock();
                state.ready.push(spare);
                state.larger_is_missing = true;
                self.changed.notify_all();
                return Ok(None);
            }
            spare.bytes = bytes;
        }
        self.lock().larger_is_missing = false;
        self.changed.notify_all();
        Ok(Some(spare))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is a single step, so a panic elsewhere leaves it consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpareSource for Spares {
    /// The caller must run [`Spares::run`] on another thread.
    fn take(&self, bytes: u64) -> Result<Option<Spare>, StorageError> {
        if let Some(spare) = self.try_take(bytes)? {
            return Ok(Some(spare));
        }
        let state = self.lock();
        let no_room = self.is_full() || bytes > self.segment_bytes;
        if state.closed || (state.finishing && no_room) {
            return Err(StorageError::Closed);
        }
        // A spare may have been added since the first check.
        let none = |state: &mut State| {
            let nothing = state.ready.is_empty() || bytes > self.segment_bytes;
            nothing && !state.closed && !(state.finishing && no_room)
        };
        drop(self.changed.wait_timeout_while(state, self.retry, none));
        self.try_take(bytes)
    }

    /// Usually the log reaches back to the older snapshot. When space becomes scarce, entries for
    /// slow followers are removed first, because those followers can get a snapshot. On a full disk
    /// only the newest snapshot counts. Without new entries there will be no newer snapshot, and
    /// space would never return.
    fn covered(&self, base: LogIndex) -> LogIndex {
        let older = LogIndex(self.covered_by_older.load(Ordering::Acquire));
        if self.is_full() {
            LogIndex(self.covered_by_newest.load(Ordering::Acquire))
        } else if self.low.load(Ordering::Acquire) {
            older
        } else {
            older.min(base)
        }
    }

    fn retire(&self, segments: Vec<Segment>) {
        if !segments.is_empty() {
            self.lock().retired.extend(segments);
            self.changed.notify_all();
        }
    }
}

/// Whether the start of a file has never been written.
fn is_blank(file: &dyn DiskFile, path: &Path) -> Result<bool, StorageError> {
    let mut start = [0; 8];
    file.read_at(0, &mut start).map_err(io_error("read", path))?;
    Ok(start == [0; 8])
}

/// Gives a file `bytes` of allocated space; `false` if the disk is too full.
fn allocate(file: &dyn DiskFile, path: &Path, bytes: u64) -> Result<bool, StorageError> {
    match file.preallocate(bytes) {
        Ok(()) => Ok(true),
        Err(error) if is_full(&error) => Ok(false),
        Err(error) => Err(io_error("allocate space for", path)(error)),
    }
}
