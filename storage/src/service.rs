//! The interface of the storage to the driver.

use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use raft_core::durable::{Recovered, Write};
use raft_core::kv::Snapshot;
use raft_core::log::{Entry, Payload};
use raft_core::types::LogPosition;

use super::at_start::MadeAtOnce;
use super::directory::{Contents, Directory};
use super::disk::{Disk, LockGuard, RealDisk};
use super::log::spares::Spares;
use super::log::{LogWriter, recover};
use super::pulse::Pulse;
use super::shared::{Shared, WRITE_OVERHEAD, cost, entry_cost};
use super::snapshots::{Loaded, SnapshotStore};
use super::threads::{self, Command};
use super::{
    Acceptance, CutTail, Identity, KnownPeers, Opened, Options, Stall, StorageError, StorageEvent,
    StorageId, Usage,
};

/// The open storage of a server. Dropping it closes it like [`Storage::close`], but without a
/// result.
#[derive(Debug)]
pub struct Storage {
    /// Taken when the storage closes.
    running: Option<Running>,
    shared: Arc<Shared>,
    peers: Arc<KnownPeers>,
    /// The last field, because the threads must end before the lock is released.
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

/// The result of [`prepare`].
pub(super) struct Prepared {
    pub(super) opened: Opened,
    pub(super) log: LogWriter,
    pub(super) snapshots: SnapshotStore,
    pub(super) spares: Spares,
    pub(super) lock: LockGuard,
    /// The directory with its id.
    pub(super) directory: Directory,
}

impl Storage {
    /// Opens the data directory of a server, and creates it if needed. Returns its contents.
    /// Threads of the storage call `events` with all reports; it must not block.
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

    /// Like [`Self::open`], on the given disk.
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

    /// The other servers and their data directories.
    pub fn peers(&self) -> Arc<KnownPeers> {
        Arc::clone(&self.peers)
    }

    /// Queues a write. Never blocks and never rejects: [`Self::accepting`] tells when to hold back
    /// new entries.
    pub fn submit(&self, write: Write) {
        self.shared.queued_bytes.fetch_add(cost(&write), Ordering::AcqRel);
        if let Some(running) = &self.running {
            // If the thread is gone, the storage has failed and has reported it.
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

    /// Whether the server should accept new entries.
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

    /// Sets the size of the state, in keys and in bytes of keys and values. The storage keeps space
    /// for a snapshot of it.
    pub fn expect_snapshot_of(&self, keys: u64, bytes: u64) {
        let room = bytes + bytes / 4 + keys * KEY_OVERHEAD;
        if self.shared.room_by_state.swap(room, Ordering::AcqRel) != room {
            self.shared.keep_room();
        }
    }

    /// Whether to take a snapshot because the disk is nearly full. Not if the log is short: the
    /// snapshot would need more space than it frees.
    pub fn is_worth_compacting(&self) -> bool {
        let shared = &self.shared;
        let log = shared.log_bytes.load(Ordering::Acquire);
        let snapshot = shared.room_by_state.load(Ordering::Acquire);
        shared.spares.is_full() || log > snapshot.max(4 * shared.options.segment_bytes)
    }

    /// How many of a leader's entries fit, starting at the first. `queued` is the size of other
    /// pending entries that the storage does not know, in bytes.
    ///
    /// A full disk still accepts some entries. Otherwise a cluster with only full disks could not
    /// even elect a leader. Clients' writes may fill the open segment, so the spare stays in
    /// reserve. Removals may also use half of the spare. Entries of the servers themselves (a
    /// leader's no-op, a membership change) always fit.
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

    /// Whether a full disk still accepts this client command: it must be a removal, and there must
    /// be space. `queued` is the size of other pending entries that the storage does not know, in
    /// bytes.
    pub fn takes_when_full(&self, command: &[u8], queued: u64) -> bool {
        let waiting = queued + self.shared.queued_bytes.load(Ordering::Acquire) + WRITE_OVERHEAD;
        self.accepting() == Acceptance::DiskFull
            && waiting + command.len() as u64 <= self.room_for_removals()
            && frees_room(command)
    }

    /// The log space for removals on a full disk, in bytes: the rest of the open segment and half
    /// of the reserved spare.
    fn room_for_removals(&self) -> u64 {
        let shared = &self.shared;
        let room = shared.segment_room.load(Ordering::Acquire);
        let half = shared.options.segment_bytes / 2;
        if shared.spares.ready_bytes() > 0 { room + half } else { room.saturating_sub(half) }
    }

    /// The operation that has taken longer than `patience`, if any.
    pub fn stall(&self, patience: Duration) -> Option<Stall> {
        let shared = &self.shared;
        let stalled = |pulse: &Pulse, what, blocks_writes| {
            let since = pulse.busy_for().filter(|since| *since > patience)?;
            Some(Stall { what, since, blocks_writes })
        };
        stalled(&shared.log_pulse, "writing the log", true)
            .or_else(|| stalled(&shared.snapshot_pulse, "saving a snapshot", false))
    }

    /// Reports a failure while the threads hang; closing then does not wait for them.
    pub fn give_up(&self, since: Duration) {
        self.shared.abandoned.store(true, Ordering::Release);
        let dir = self.peers.directory().path.clone();
        self.shared.fail(None, StorageError::Hangs { dir, since });
    }

    /// Sizes of the directory, and operations in progress.
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

    /// Makes all submitted writes durable, seals the log, aborts a snapshot in progress, and ends
    /// the threads. Blocks.
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

/// The overhead of a key in a snapshot, in bytes; an upper bound.
const KEY_OVERHEAD: u64 = 64;

/// Whether an encoded command does not enlarge the state.
fn frees_room(command: &[u8]) -> bool {
    raft_core::kv::Command::decode(command).is_ok_and(|command| !command.grows())
}

/// Reads the directory and prepares it for writing.
pub(super) fn prepare(directory: &Directory, options: &Options) -> Result<Prepared, StorageError> {
    let (contents, lock) = directory.enter()?;
    directory.refuse_wrong_state()?;
    let directory = &directory.identified(&contents)?;
    // A name may exist only in memory, if its process died before the sync.
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
            "removed the last write, which was incomplete when the server stopped"
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
        // All entries that the damaged snapshot covered must come from the log.
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

/// The error for a damaged newest snapshot that the log cannot replace.
fn without_fallback(loaded: &mut Loaded) -> StorageError {
    let (_, mut error) = loaded.damaged.remove(0);
    if let StorageError::Damaged { what, .. } = &mut error {
        what.push_str("; no older snapshot with the log can replace it");
    }
    error
}
