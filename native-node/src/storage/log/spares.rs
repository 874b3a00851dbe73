//! Space for segments to come, taken ahead of need: preparing a file and removing one take
//! milliseconds that no write should wait for, and a full disk is noticed while there is still room
//! for what is under way.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::Duration;

use raft_core::types::LogIndex;

use super::segment::{Segment, Spare};
use super::sync::{AtomicBool, AtomicU64, Condvar, Mutex, MutexGuard, Ordering, PoisonError};
use crate::storage::StorageError;
use crate::storage::directory::Directory;
use crate::storage::disk::DiskFile;
use crate::storage::error::{io_error, is_full};

/// How many spares are kept ready: one for the next segment, and one in reserve, so that term,
/// vote and compaction still find room when the disk is full.
const READY: usize = 2;

/// How often the free space is asked for while nothing else is to be done.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// With room for fewer segments than this the disk is nearly full: then the log is shortened before
/// it is needed.
const LOW_SEGMENTS: u64 = 4;

/// How often a full disk is spoken of at most, once that has been said several times.
const REMIND: Duration = Duration::from_secs(30);

/// Where the log gets its next segment from.
pub(crate) trait SpareSource {
    /// A spare of at least `bytes`. Waits for one; `None` after waiting in vain for a while.
    fn take(&self, bytes: u64) -> Result<Option<Spare>, StorageError>;

    /// The last entry that the log may forget: the kept snapshots make up for it, and, while there is
    /// room, it is not one of those after `base` that are kept for slow followers.
    fn covered(&self, base: LogIndex) -> LogIndex;

    /// Hands over segments that are not needed any more, oldest first.
    fn retire(&self, segments: Vec<Segment>);
}

/// The spares, and the segments to remove. Space is never used again: on the file systems tried a
/// new file is as fast as a recycled one, and past the end of the log there are only zeros.
#[derive(Debug)]
pub(crate) struct Spares {
    directory: Directory,
    segment_bytes: u64,
    /// What must stay free beside a new spare, in bytes.
    keep_free: AtomicU64,
    retry: Duration,
    state: Mutex<State>,
    changed: Condvar,
    full: AtomicBool,
    /// Whether the disk is nearly full.
    low: AtomicBool,
    /// What was free when it was last asked for, in bytes. Asking may take long on a sick disk, so
    /// only the thread that makes spares does.
    free_bytes: AtomicU64,
    covered_by_older: AtomicU64,
    covered_by_newest: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Spare>,
    /// Segments that the log has no use for, oldest first.
    retired: VecDeque<Segment>,
    next_number: u64,
    /// The log waits for a segment that is larger than the spares, and the disk has no room for it.
    larger_is_missing: bool,
    /// No wait for a full disk any more.
    finishing: bool,
    closed: bool,
}

/// What is told of the room on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// The disk has become full.
    Full,
    /// It has been full for a while.
    StillFull,
    /// It is nearly full.
    Low,
    /// It has room again.
    Enough,
}

/// What one step of the work came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A retired segment was removed; there may be more to do.
    Removed,
    /// A spare was made; there may be more to do.
    Made,
    /// There is nothing to do.
    Idle,
    /// A spare is missing, and the disk has no room for it.
    Full,
}

impl Spares {
    /// Takes over the spares that an earlier run left.
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
            let size = file.size().map_err(io_error("ask for the size of", &path))?;
            // A crash may have come before all of its space was there, or after it got a head.
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

    /// Whether the disk had no room for the next spare.
    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Acquire)
    }

    /// What was free on the disk a moment ago, in bytes.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Acquire)
    }

    /// Says how much must stay free beside a new spare, in bytes.
    pub(crate) fn set_keep_free(&self, bytes: u64) {
        self.keep_free.store(bytes, Ordering::Release);
    }

    /// What must be free for another spare, in bytes.
    pub(crate) fn needed_bytes(&self) -> u64 {
        self.segment_bytes + self.keep_free.load(Ordering::Acquire)
    }

    /// Says which entries the older and the newer of the kept snapshots make up for.
    pub(crate) fn set_covered(&self, older: LogIndex, newest: LogIndex) {
        self.covered_by_older.store(older.0, Ordering::Release);
        self.covered_by_newest.store(newest.0, Ordering::Release);
    }

    /// The bytes of the spares that are ready.
    pub(crate) fn ready_bytes(&self) -> u64 {
        self.lock().ready.iter().map(|spare| spare.bytes).sum()
    }

    /// The log is about to end: it still gets what it needs, but waits no longer for a full disk.
    pub(crate) fn finish(&self) {
        self.lock().finishing = true;
        self.changed.notify_all();
    }

    /// Ends [`Self::run`] and every wait.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Does the work until closed. `report` is told when the disk becomes full and when it has
    /// room again, and now and then that it is still full or becomes so.
    pub(crate) fn run(&self, report: impl Fn(Room)) -> Result<(), StorageError> {
        // Until the next reminder, and the time between two.
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

    /// Waits, though not for ever. On a full disk a missing spare alone is no reason to go on at once.
    fn wait_for_work(&self, at_most: Duration, for_spares: bool) {
        let state = self.lock();
        let nothing = |state: &mut State| {
            let missing = for_spares && (state.ready.len() < READY || state.larger_is_missing);
            !state.closed && state.retired.is_empty() && !missing
        };
        drop(self.changed.wait_timeout_while(state, at_most, nothing));
    }

    /// One step: a retired segment is removed, or a missing spare is made.
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

    /// `None` when there is no room.
    fn prepare(&self) -> Result<Option<Spare>, StorageError> {
        let free_bytes = self.directory.free_bytes()?;
        self.free_bytes.store(free_bytes, Ordering::Release);
        // Without any spare the log stops: then what is kept free is there to be used.
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

    /// A ready spare of at least `bytes`, when there is one.
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
        // Every change of the state is a single step, so a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SpareSource for Spares {
    /// The caller is expected to run [`Spares::run`] on another thread.
    fn take(&self, bytes: u64) -> Result<Option<Spare>, StorageError> {
        if let Some(spare) = self.try_take(bytes)? {
            return Ok(Some(spare));
        }
        let state = self.lock();
        let no_room = self.is_full() || bytes > self.segment_bytes;
        if state.closed || (state.finishing && no_room) {
            return Err(StorageError::Closed);
        }
        // A spare may have come since the first look.
        let none = |state: &mut State| {
            let nothing = state.ready.is_empty() || bytes > self.segment_bytes;
            nothing && !state.closed && !(state.finishing && no_room)
        };
        drop(self.changed.wait_timeout_while(state, self.retry, none));
        self.try_take(bytes)
    }

    /// Usually the log reaches back to the older snapshot. Where room becomes scarce, what is kept for
    /// slow followers goes first: they can get a snapshot. On a full disk the log has to do with the
    /// newest snapshot: without new entries there will be none newer still, and space would never
    /// return.
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

/// Whether nothing was written at the start of a file yet.
fn is_blank(file: &dyn DiskFile, path: &Path) -> Result<bool, StorageError> {
    let mut start = [0; 8];
    file.read_at(0, &mut start).map_err(io_error("read", path))?;
    Ok(start == [0; 8])
}

/// Makes a file `bytes` long with space that is really there; `false` when there is not enough.
fn allocate(file: &dyn DiskFile, path: &Path, bytes: u64) -> Result<bool, StorageError> {
    match file.preallocate(bytes) {
        Ok(()) => Ok(true),
        Err(error) if is_full(&error) => Ok(false),
        Err(error) => Err(io_error("allocate space for", path)(error)),
    }
}
