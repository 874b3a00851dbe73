//! The storage as the driver sees it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;

use raft_core::durable::{Recovered, Write};
use raft_core::kv::Snapshot;
use raft_core::log::{Entry, Payload};
use raft_core::types::{LogIndex, LogPosition};

use super::directory::{Contents, Directory};
use super::disk::{Disk, LockGuard, RealDisk};
use super::log::segment::{Segment, Spare};
use super::log::spares::{Progress, SpareSource, Spares};
use super::log::{LogWriter, recover};
use super::snapshots::{Loaded, SnapshotStore};
use super::threads::{self, Command};
use super::{
    Acceptance, CutTail, Identity, KnownPeers, Opened, Options, StorageError, StorageEvent,
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
    pub(super) queued_bytes: AtomicU64,
    pub(super) log_segments: AtomicU64,
    pub(super) log_bytes: AtomicU64,
    /// What the last segment has room for beside what was written, in bytes.
    pub(super) segment_room: AtomicU64,
    pub(super) snapshots: AtomicU64,
    pub(super) snapshot_bytes: AtomicU64,
    /// In thousandths; above that none is being written.
    pub(super) snapshot_progress: AtomicU64,
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
        let peers = Arc::new(KnownPeers::load(directory));
        let shared = Arc::new(Shared {
            events: Box::new(events),
            options,
            spares,
            closing: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            queued_bytes: AtomicU64::new(0),
            log_segments: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            segment_room: AtomicU64::new(log.room()),
            snapshots: AtomicU64::new(0),
            snapshot_bytes: AtomicU64::new(0),
            snapshot_progress: AtomicU64::new(u64::MAX),
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

    /// How many of a leader's entries can be taken in, from the first on, when `queued` bytes more
    /// than this knows of wait already.
    ///
    /// On a full disk there is still some room, or a cluster whose disks are all full could not even
    /// agree on a leader: what clients wrote goes in as far as the open segment has room, so that the
    /// spare stays in reserve, and what the servers need among themselves (a leader's no-op, a change
    /// of members) goes in always.
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
            bytes <= room || !matches!(entry.payload, Payload::Command(_))
        };
        entries.iter().take_while(fits).count()
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
        self.spares.set_keep_free(self.options.keep_free_bytes + store.room_for_next());
    }

    /// Takes over what the log says of itself.
    pub(super) fn update_log(&self, log: &LogWriter) {
        let (count, bytes) = log.usage();
        self.log_segments.store(count, Ordering::Release);
        self.log_bytes.store(bytes, Ordering::Release);
        self.segment_room.store(log.room(), Ordering::Release);
    }
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
    let damaged: Vec<LogPosition> = loaded.damaged.iter().map(|(position, _)| *position).collect();
    for (_, error) in &loaded.damaged {
        tracing::warn!(%error, "going on from the snapshot before it and the log; removing it");
    }
    snapshots.remove_damaged(&damaged)?;
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

/// Spares for the start, when no thread makes them yet.
pub(super) struct MadeAtOnce<'a>(pub(super) &'a Spares, pub(super) &'a Directory);

impl SpareSource for MadeAtOnce<'_> {
    fn take(&self, bytes: u64) -> Result<Option<Spare>, StorageError> {
        loop {
            if let Some(spare) = self.0.try_take(bytes)? {
                return Ok(Some(spare));
            }
            if self.0.work()? != Progress::Done {
                return Err(StorageError::DiskFull {
                    path: self.1.path.clone(),
                    needed: self.0.needed_bytes(),
                    free: self.1.free_bytes()?,
                });
            }
        }
    }

    fn covered(&self) -> LogIndex {
        self.0.covered()
    }

    fn retire(&self, segments: Vec<Segment>) {
        self.0.retire(segments);
    }
}
