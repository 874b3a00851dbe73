//! The storage as the driver sees it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use raft_core::durable::{Recovered, Write};
use raft_core::kv::Snapshot;
use raft_core::log::{Entry, Payload};
use raft_core::types::{LogIndex, LogPosition};

use super::at_start::MadeAtOnce;
use super::directory::{Contents, Directory};
use super::disk::{Disk, LockGuard, RealDisk};
use super::log::segment::{Segment, Spare};
use super::log::spares::{SpareSource, Spares};
use super::log::{LogWriter, recover};
use super::pulse::Pulse;
use super::snapshots::{Loaded, SnapshotStore};
use super::threads::{self, Command};
use super::{
    Acceptance, CutTail, Identity, KnownPeers, Opened, Options, Stall, StorageError, StorageEvent,
    StorageId, Usage,
};

/// The open storage of one server. Dropping it is like [`Storage::close`] without the answer.
#[derive(Debug)]
pub struct Storage {
    /// Taken when it closes.
    running: Option<Running>,
    shared: Arc<Shared>,
    peers: Arc<KnownPeers>,
    /// Last, so that the lock ends when the threads have.
    _lock: LockGuard,
}

#[derive(Debug)]
struct Running {
    commands: Sender<Command>,
    snapshots: Sender<Snapshot>,
    log_thread: JoinHandle<()>,
    snapshot_thread: JoinHandle<()>,
    spares_thread: JoinHandle<()>,
}

/// What the threads and the handle have in common.
pub(super) struct Shared {
    pub(super) events: Box<dyn Fn(StorageEvent) + Send + Sync>,
    pub(super) options: Options,
    pub(super) spares: Spares,
    /// Set before the end, so that a snapshot under way is given up.
    pub(super) closing: AtomicBool,
    pub(super) failed: AtomicBool,
    /// The threads may hang for good.
    abandoned: AtomicBool,
    /// Why no segments are made any more.
    cause: Mutex<Option<StorageError>>,
    pub(super) queued_bytes: AtomicU64,
    pub(super) log_segments: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    /// What the last segment has room for beside what was written, in bytes.
    pub(super) segment_room: AtomicU64,
    pub(super) snapshots: AtomicU64,
    pub(super) snapshot_bytes: AtomicU64,
    /// In thousandths; above that none is being written.
    pub(super) snapshot_progress: AtomicU64,
    pub(super) snapshot_failures: AtomicU64,
    /// Why the latest snapshot could not be saved, and when the log last said so.
    pub(super) snapshot_error: Mutex<Option<(Arc<StorageError>, Instant)>>,
    /// What another snapshot takes by the length of the newest, and by the size of the state, in
    /// bytes.
    room_by_newest: AtomicU64,
    room_by_state: AtomicU64,
    /// What the threads are busy with.
    pub(super) log_pulse: Pulse,
    pub(super) snapshot_pulse: Pulse,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("failed", &self.failed).finish_non_exhaustive()
    }
}

/// What [`prepare`] found and made.
pub(super) struct Prepared {
    pub(super) opened: Opened,
    pub(super) log: LogWriter,
    pub(super) snapshots: SnapshotStore,
    pub(super) spares: Spares,
    pub(super) lock: LockGuard,
    /// Knowing its own number.
    pub(super) directory: Directory,
}

impl Storage {
    /// Opens the data directory of a server, making it when needed, and gives back what it holds.
    /// `events` gets all reports, from threads of the storage; it must not block.
    ///
    /// Blocks while it reads.
    pub fn open(
        dir: &Path,
        identity: Identity,
        options: Options,
        events: impl Fn(StorageEvent) + Send + Sync + 'static,
    ) -> Result<(Opened, Self), StorageError> {
        Self::refuse_unfinished_restore(dir)?;
        Self::open_on(Arc::new(RealDisk), dir, identity, options, events)
    }

    /// Like [`Self::open`], on a disk of the caller's choice.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: Identity,
        options: Options,
        events: impl Fn(StorageEvent) + Send + Sync + 'static,
    ) -> Result<(Opened, Self), StorageError> {
        let directory =
            Directory { disk, path: dir.to_owned(), identity, id: StorageId::default() };
        let Prepared { opened, log, snapshots, spares, lock, directory } =
            prepare(&directory, &options)?;
        let peers = Arc::new(KnownPeers::load(directory)?);
        let shared = Arc::new(Shared {
            events: Box::new(events),
            options,
            spares,
            closing: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            abandoned: AtomicBool::new(false),
            cause: Mutex::default(),
            queued_bytes: AtomicU64::new(0),
            log_segments: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            segment_room: AtomicU64::new(log.room()),
            snapshots: AtomicU64::new(0),
            snapshot_bytes: AtomicU64::new(0),
            snapshot_progress: AtomicU64::new(u64::MAX),
            snapshot_failures: AtomicU64::new(0),
            snapshot_error: Mutex::default(),
            room_by_newest: AtomicU64::new(0),
            room_by_state: AtomicU64::new(0),
            log_pulse: Pulse::default(),
            snapshot_pulse: Pulse::default(),
        });
        shared.update_snapshots(&snapshots);
        let running = Running::start(&shared, log, snapshots)
            .map_err(super::error::io_error("start the threads for", dir))?;
        Ok((opened, Self { running: Some(running), shared, peers, _lock: lock }))
    }

    /// The servers that were met, by their data directories.
    pub fn peers(&self) -> Arc<KnownPeers> {
        Arc::clone(&self.peers)
    }

    /// Queues a batch. Never blocks and never refuses: see [`Self::accepting`] for when to hold
    /// back what leads to one.
    pub fn submit(&self, write: Write) {
        self.shared.queued_bytes.fetch_add(cost(&write), Ordering::AcqRel);
        if let Some(running) = &self.running {
            // When the thread is gone the storage has failed, and has said so.
            let _ = running.commands.send(Command::Write(write));
        }
    }

    /// Saves a snapshot in the background.
    pub fn save_snapshot(&self, snapshot: Snapshot) {
        if let Some(running) = &self.running {
            // As above.
            let _ = running.snapshots.send(snapshot);
        }
    }

    /// Whether new entries are welcome.
    pub fn accepting(&self) -> Acceptance {
        let shared = &self.shared;
        if shared.failed.load(Ordering::Acquire) {
            Acceptance::Failed
        } else if shared.spares.is_full() {
            Acceptance::DiskFull
        } else if shared.queued_bytes.load(Ordering::Acquire)
            > shared.options.max_queued_bytes as u64
        {
            Acceptance::Backlogged
        } else {
            Acceptance::Yes
        }
    }

    /// Says how large the state is, in keys and in the bytes of keys and values: so much room is kept
    /// for a snapshot of it.
    pub fn expect_snapshot_of(&self, keys: u64, bytes: u64) {
        let room = bytes + bytes / 4 + keys * KEY_OVERHEAD;
        if self.shared.room_by_state.swap(room, Ordering::AcqRel) != room {
            self.shared.keep_room();
        }
    }

    /// Whether a snapshot should be taken because the disk is nearly full. Not while the log is
    /// short: then the snapshot would cost more than it gives back.
    pub fn is_worth_compacting(&self) -> bool {
        let shared = &self.shared;
        let log = shared.log_bytes.load(Ordering::Acquire);
        let snapshot = shared.room_by_state.load(Ordering::Acquire);
        shared.spares.is_full() || log > snapshot.max(4 * shared.options.segment_bytes)
    }

    /// How many of a leader's entries can be taken in, from the first on, when `queued` bytes more
    /// than this knows of wait already.
    ///
    /// On a full disk there is still some room, or a cluster whose disks are all full could not even
    /// agree on a leader: what clients wrote goes in as far as the open segment has room, so that the
    /// spare stays in reserve; what removes something may take half of the spare as well; and what
    /// the servers need among themselves (a leader's no-op, a change of members) goes in always.
    pub fn room_for(&self, entries: &[Entry], queued: u64) -> usize {
        match self.accepting() {
            Acceptance::Yes => return entries.len(),
            Acceptance::Backlogged | Acceptance::Failed => return 0,
            Acceptance::DiskFull => {}
        }
        let shared = &self.shared;
        let room = shared.segment_room.load(Ordering::Acquire);
        let mut bytes = queued + shared.queued_bytes.load(Ordering::Acquire) + WRITE_OVERHEAD;
        let fits = |entry: &&Entry| {
            bytes += entry_cost(entry);
            bytes <= room
                || match &entry.payload {
                    Payload::Noop | Payload::Membership(_) => true,
                    Payload::Command(command) => {
                        bytes <= self.room_for_removals() && frees_room(command)
                    }
                }
        };
        entries.iter().take_while(fits).count()
    }

    /// Whether a client's command can be taken in although the disk is full, when `queued` bytes more
    /// than this knows of wait already: one that removes something, as long as there is room.
    pub fn takes_when_full(&self, command: &[u8], queued: u64) -> bool {
        let waiting = queued + self.shared.queued_bytes.load(Ordering::Acquire) + WRITE_OVERHEAD;
        self.accepting() == Acceptance::DiskFull
            && waiting + command.len() as u64 <= self.room_for_removals()
            && frees_room(command)
    }

    /// What commands that remove something may take of the log on a full disk, in bytes: the rest of
    /// the open segment and half of the spare in reserve.
    fn room_for_removals(&self) -> u64 {
        let shared = &self.shared;
        let room = shared.segment_room.load(Ordering::Acquire);
        let half = shared.options.segment_bytes / 2;
        if shared.spares.ready_bytes() > 0 { room + half } else { room.saturating_sub(half) }
    }

    /// What the storage is busy with for longer than `patience`, if anything.
    pub fn stall(&self, patience: Duration) -> Option<Stall> {
        let shared = &self.shared;
        let stalled = |pulse: &Pulse, what, blocks_writes| {
            let since = pulse.busy_for().filter(|since| *since > patience)?;
            Some(Stall { what, since, blocks_writes })
        };
        stalled(&shared.log_pulse, "writing the log", true)
            .or_else(|| stalled(&shared.snapshot_pulse, "saving a snapshot", false))
    }

    /// Reports a failure although the threads hang: nobody waits for them any more.
    pub fn give_up(&self, since: Duration) {
        self.shared.abandoned.store(true, Ordering::Release);
        let dir = self.peers.directory().path.clone();
        self.shared.fail(None, StorageError::Hangs { dir, since });
    }

    /// What the directory holds and what is under way.
    pub fn usage(&self) -> Usage {
        let shared = &self.shared;
        let progress = shared.snapshot_progress.load(Ordering::Acquire);
        Usage {
            log_bytes: shared.log_bytes.load(Ordering::Acquire),
            log_segments: shared.log_segments.load(Ordering::Acquire),
            reserve_bytes: shared.spares.ready_bytes(),
            snapshot_bytes: shared.snapshot_bytes.load(Ordering::Acquire),
            snapshots: shared.snapshots.load(Ordering::Acquire),
            queued_bytes: shared.queued_bytes.load(Ordering::Acquire),
            free_bytes: shared.spares.free_bytes(),
            full: shared.spares.is_full(),
            snapshot_progress: u32::try_from(progress)
                .ok()
                .map(|thousandths| f64::from(thousandths) / 1000.0),
            snapshot_failures: shared.snapshot_failures.load(Ordering::Acquire),
            snapshot_error: shared.snapshot_error().as_ref().map(|(error, _)| Arc::clone(error)),
        }
    }

    /// Makes durable what was submitted, seals the log, gives up a snapshot under way, and ends the
    /// threads. Blocks.
    pub fn close(mut self) -> Result<(), StorageError> {
        self.stop();
        if self.shared.failed.load(Ordering::Acquire) { Err(StorageError::Closed) } else { Ok(()) }
    }

    fn stop(&mut self) {
        let Some(running) = self.running.take() else { return };
        self.shared.closing.store(true, Ordering::Release);
        if self.shared.abandoned.load(Ordering::Acquire) {
            return;
        }
        // A thread that panicked has reported it as an event.
        drop(running.snapshots);
        let _ = running.snapshot_thread.join();
        self.shared.spares.finish();
        let _ = running.commands.send(Command::Close);
        let _ = running.log_thread.join();
        self.shared.spares.close();
        let _ = running.spares_thread.join();
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Running {
    fn start(shared: &Arc<Shared>, log: LogWriter, store: SnapshotStore) -> std::io::Result<Self> {
        let (commands, received) = mpsc::channel();
        let (snapshots, to_save): (_, Receiver<Snapshot>) = mpsc::channel();
        Ok(Self {
            log_thread: threads::spawn_log(Arc::clone(shared), log, received)?,
            snapshot_thread: threads::spawn_snapshots(
                Arc::clone(shared),
                store,
                to_save,
                commands.clone(),
            )?,
            spares_thread: threads::spawn_spares(Arc::clone(shared), commands.clone())?,
            commands,
            snapshots,
        })
    }
}

impl Shared {
    /// Takes over what the store says of itself.
    pub(super) fn update_snapshots(&self, store: &SnapshotStore) {
        let (count, bytes) = store.usage();
        self.snapshots.store(count, Ordering::Release);
        self.snapshot_bytes.store(bytes, Ordering::Release);
        self.spares.set_covered(store.fallback(), store.newest());
        self.room_by_newest.store(store.room_for_next(), Ordering::Release);
        self.keep_room();
    }

    fn keep_room(&self) {
        let by_newest = self.room_by_newest.load(Ordering::Acquire);
        let by_state = self.room_by_state.load(Ordering::Acquire);
        self.spares.set_keep_free(self.options.keep_free_bytes + by_newest.max(by_state));
    }

    pub(super) fn cause(&self) -> MutexGuard<'_, Option<StorageError>> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot_error(&self) -> MutexGuard<'_, Option<(Arc<StorageError>, Instant)>> {
        self.snapshot_error.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what the log says of itself.
    pub(super) fn update_log(&self, log: &LogWriter) {
        let (count, bytes) = log.usage();
        self.log_segments.store(count, Ordering::Release);
        self.log_bytes.store(bytes, Ordering::Release);
        self.segment_room.store(log.room(), Ordering::Release);
    }
}

/// Waiting for room on a full disk is no hanging.
impl SpareSource for Shared {
    fn take(&self, bytes: u64) -> Result<Option<Spare>, StorageError> {
        let taken = self.spares.take(bytes);
        self.log_pulse.beat();
        taken
    }

    fn covered(&self, base: LogIndex) -> LogIndex {
        self.spares.covered(base)
    }

    fn retire(&self, segments: Vec<Segment>) {
        self.spares.retire(segments);
    }
}

/// What a key takes in a snapshot beside itself and its value, in bytes: no less than that.
const KEY_OVERHEAD: u64 = 64;

/// Whether an encoded command makes the state no larger.
fn frees_room(command: &[u8]) -> bool {
    raft_core::kv::Command::decode(command).is_ok_and(|command| !command.grows())
}

/// What a write costs in the queue beside its entries, in bytes. No less than on the disk.
const WRITE_OVERHEAD: u64 = 128;

/// What a write costs in the queue, in bytes.
pub(super) fn cost(write: &Write) -> u64 {
    WRITE_OVERHEAD + write.entries.iter().map(entry_cost).sum::<u64>()
}

fn entry_cost(entry: &Entry) -> u64 {
    entry.size() as u64
}

/// Reads what the directory holds and makes it ready to go on.
pub(super) fn prepare(directory: &Directory, options: &Options) -> Result<Prepared, StorageError> {
    let (contents, lock) = directory.enter()?;
    directory.refuse_wrong_state()?;
    let directory = &directory.identified(&contents)?;
    // A name may be in the system's memory alone: its process died before the sync.
    directory.sync()?;
    let spares = Spares::open(
        directory.clone(),
        options.segment_bytes,
        options.keep_free_bytes,
        options.disk_retry,
        &contents.spares,
    )?;
    let (mut snapshots, mut loaded) =
        SnapshotStore::open(directory.clone(), options, &contents.snapshots)?;
    let (recovered, cut, log) = if contents.is_fresh() {
        let log = LogWriter::create(directory.clone(), &MadeAtOnce(&spares, directory))?;
        (Recovered::default(), None, log)
    } else {
        recover_log(directory, &contents, &mut loaded)?
    };
    snapshots.set_aside(&loaded.damaged)?;
    snapshots.clean_up(contents.unfinished_snapshot)?;
    if let Some(cut) = &cut {
        tracing::warn!(
            file = %cut.path.display(),
            offset = cut.offset,
            bytes = cut.bytes,
            "the last write was under way when the server stopped, and is cut off"
        );
    }
    let (id, fresh) = (directory.id, contents.is_fresh());
    let opened = Opened { id, recovered, snapshot: loaded.snapshot, fresh, cut };
    Ok(Prepared { opened, log, snapshots, spares, lock, directory: directory.clone() })
}

fn recover_log(
    directory: &Directory,
    contents: &Contents,
    loaded: &mut Loaded,
) -> Result<(Recovered, Option<CutTail>, LogWriter), StorageError> {
    let position =
        loaded.snapshot.as_ref().map_or(LogPosition::ZERO, |snapshot| snapshot.meta.last);
    let recovery = match recover(directory, &contents.segments, position) {
        Ok(recovery) => recovery,
        Err(StorageError::Gap { .. }) if !loaded.damaged.is_empty() => {
            return Err(without_fallback(loaded));
        }
        Err(error) => return Err(error),
    };
    if let Some((covered, _)) = loaded.damaged.first() {
        // What the damaged one covered must come from the log, all of it.
        let held = recovery.state.term_at(covered.index) == Some(covered.term);
        if !held && covered.index >= recovery.state.base.index {
            return Err(without_fallback(loaded));
        }
    }
    if loaded.snapshot.is_none()
        && !loaded.damaged.is_empty()
        && !recovery.recovered.tells_members()
    {
        return Err(without_fallback(loaded));
    }
    let (cut, recovered) = (recovery.cut, recovery.recovered);
    let log =
        LogWriter::resume(directory.clone(), recovery.state, recovery.segments, recovery.tail);
    Ok((recovered, cut, log))
}

/// The error for a damaged newest snapshot that the log cannot make up for.
fn without_fallback(loaded: &mut Loaded) -> StorageError {
    let (_, mut error) = loaded.damaged.remove(0);
    if let StorageError::Damaged { what, .. } = &mut error {
        what.push_str("; and no older snapshot and log together hold what it held");
    }
    error
}
