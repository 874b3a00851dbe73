//! The storage's three threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use raft_core::durable::Write;
use raft_core::kv::Snapshot;
use raft_core::types::WriteId;

use super::log::LogWriter;
use super::log::spares::Room;
use super::shared::{Shared, cost};
use super::snapshots::{SaveError, SnapshotStore};
use super::{StorageError, StorageEvent};

/// A command for the log thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Make this write durable.
    Write(Write),
    /// Remove superseded segments, because the disk is full.
    MakeRoom,
    /// Stop, because another thread failed.
    Poison(StorageError),
    /// Make all earlier writes durable, and end.
    Close,
}

/// Starts the thread that writes the log.
pub(super) fn spawn_log(
    shared: Arc<Shared>,
    log: LogWriter,
    commands: Receiver<Command>,
) -> io::Result<JoinHandle<()>> {
    spawn("log", shared.options.thread_begun, move || {
        let alarm = Alarm(|| shared.fail(None, BUG));
        LogThread { shared: &shared, log, commands, batch: Vec::new(), bytes: 0 }.run();
        drop(alarm);
    })
}

/// Starts the thread that saves snapshots.
pub(super) fn spawn_snapshots(
    shared: Arc<Shared>,
    mut store: SnapshotStore,
    snapshots: Receiver<Snapshot>,
    commands: Sender<Command>,
) -> io::Result<JoinHandle<()>> {
    spawn("snapshots", shared.options.thread_begun, move || {
        let alarm = Alarm(|| poison(&commands, BUG));
        for snapshot in snapshots {
            if let Err(error) = save(&shared, &mut store, &snapshot) {
                poison(&commands, error);
                break;
            }
        }
        drop(alarm);
    })
}

/// Starts the thread that creates and removes segments.
pub(super) fn spawn_spares(
    shared: Arc<Shared>,
    commands: Sender<Command>,
) -> io::Result<JoinHandle<()>> {
    spawn("segments", shared.options.thread_begun, move || {
        let alarm = Alarm(|| poison(&commands, BUG));
        let done = shared.spares.run(|room| {
            match room {
                Room::Full => {
                    tracing::warn!(
                        "the disk is full: until there is space, the server refuses new writes, \
                         except those that remove data"
                    );
                    (shared.events)(StorageEvent::DiskFull);
                }
                Room::StillFull | Room::Low => (shared.events)(StorageEvent::DiskIsShort),
                Room::Enough => {
                    tracing::info!("the disk has space again");
                    (shared.events)(StorageEvent::DiskHasSpace);
                    return;
                }
            }
            // If the log thread is gone, nothing is needed any more.
            let _ = commands.send(Command::MakeRoom);
        });
        if let Err(error) = done {
            *shared.cause() = Some(error);
            poison(&commands, StorageError::Closed);
            // There are no new spares any more: the log must not wait for one.
            shared.spares.close();
        }
        drop(alarm);
    })
}

/// The minimum interval between log lines about failed snapshots.
const TELL_AGAIN: Duration = Duration::from_secs(30);

const BUG: StorageError = StorageError::Bug { what: "one of its threads panicked" };

fn spawn(
    name: &str,
    begun: fn(&str),
    run: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let name = format!("raft-{name}");
    thread::Builder::new().name(name.clone()).spawn(move || {
        begun(&name);
        run();
    })
}

fn poison(commands: &Sender<Command>, error: StorageError) {
    // If the log thread is gone, no server can be misled.
    let _ = commands.send(Command::Poison(error));
}

/// Calls its function if the thread panics: a server must not continue without its disk.
struct Alarm<F: Fn()>(F);

impl<F: Fn()> Drop for Alarm<F> {
    fn drop(&mut self) {
        if thread::panicking() {
            (self.0)();
        }
    }
}

impl Shared {
    /// Reports once that nothing can become durable any more.
    pub(super) fn fail(&self, first_lost: Option<WriteId>, error: StorageError) {
        if !self.failed.swap(true, Ordering::AcqRel) {
            // If segments cannot be created, the log fails with `Closed`: report the cause instead.
            let closed = matches!(error, StorageError::Closed);
            let cause = if closed { self.cause().take() } else { None };
            let error = cause.unwrap_or(error);
            tracing::error!(%error, "the storage has failed; the server must stop");
            (self.events)(StorageEvent::Failed { first_lost, error: Arc::new(error) });
        }
    }
}

fn save(
    shared: &Shared,
    store: &mut SnapshotStore,
    snapshot: &Snapshot,
) -> Result<(), StorageError> {
    let (meta, total) = (snapshot.meta.clone(), snapshot.store.bytes().max(1));
    let full = shared.spares.is_full();
    shared.snapshot_pulse.beat();
    let saved = store.save(snapshot, full, &mut |written| {
        shared.snapshot_pulse.beat();
        let thousandths = (written.saturating_mul(1000) / total).min(1000);
        shared.snapshot_progress.store(thousandths, Ordering::Release);
        !shared.closing.load(Ordering::Acquire) && !shared.failed.load(Ordering::Acquire)
    });
    shared.snapshot_progress.store(u64::MAX, Ordering::Release);
    shared.snapshot_pulse.rest();
    // After a failure older snapshots may be removed, too.
    shared.update_snapshots(store);
    match saved {
        Ok(saved) => {
            *shared.snapshot_error() = None;
            let (bytes, took) = (saved.bytes, saved.took);
            tracing::info!(last = %meta.last, bytes, ?took, "snapshot saved");
            (shared.events)(StorageEvent::SnapshotSaved { meta, bytes, took });
            Ok(())
        }
        Err(SaveError::Skipped(error)) => {
            let failures = shared.snapshot_failures.fetch_add(1, Ordering::AcqRel) + 1;
            let error = Arc::new(error);
            let now = Instant::now();
            let told = shared.snapshot_error().as_ref().map(|(_, told)| *told);
            let told = told.filter(|told| now.duration_since(*told) < TELL_AGAIN);
            *shared.snapshot_error() = Some((Arc::clone(&error), told.unwrap_or(now)));
            if told.is_none() {
                tracing::warn!(last = %meta.last, %error, failures, "snapshot not saved");
            }
            (shared.events)(StorageEvent::SnapshotFailed { meta, error });
            Ok(())
        }
        Err(SaveError::Failed(error)) => Err(error),
    }
}

struct LogThread<'a> {
    shared: &'a Shared,
    log: LogWriter,
    commands: Receiver<Command>,
    /// The writes of the current group, and their size in bytes.
    batch: Vec<Write>,
    bytes: u64,
}

/// What to do after a group.
enum Then {
    GoOn,
    Close,
    Poison(StorageError),
}

impl LogThread<'_> {
    fn run(mut self) {
        self.remove_superseded();
        loop {
            let then = match self.gather() {
                Ok(then) => then,
                Err(error) => return self.fail(error),
            };
            if let Then::Poison(error) = then {
                return self.fail(error);
            }
            if let Err(error) = self.commit() {
                return self.fail(error);
            }
            if let Then::Close = then {
                if let Err(error) = self.log.seal() {
                    self.fail(error);
                }
                return;
            }
        }
    }

    /// Waits for a command, then takes all waiting commands up to the maximum group size. Seals the
    /// log if there is no command for a while.
    fn gather(&mut self) -> Result<Then, StorageError> {
        let mut command = self.wait()?;
        let limit = self.shared.options.max_batch_bytes as u64;
        loop {
            match command {
                Command::Write(write) => {
                    self.bytes += cost(&write);
                    self.batch.push(write);
                }
                Command::MakeRoom => self.remove_superseded(),
                Command::Poison(error) => return Ok(Then::Poison(error)),
                Command::Close => return Ok(Then::Close),
            }
            if self.bytes >= limit {
                return Ok(Then::GoOn);
            }
            command = match self.commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => return Ok(Then::GoOn),
                Err(TryRecvError::Disconnected) => return Ok(Then::Close),
            };
        }
    }

    fn wait(&mut self) -> Result<Command, StorageError> {
        if !self.log.is_sealed() {
            match self.commands.recv_timeout(self.shared.options.seal_after) {
                Ok(command) => return Ok(command),
                Err(RecvTimeoutError::Timeout) => {
                    self.shared.log_pulse.beat();
                    self.log.seal()?;
                    self.shared.log_pulse.rest();
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(Command::Close),
            }
        }
        Ok(self.commands.recv().unwrap_or(Command::Close))
    }

    /// Makes the group durable and reports it.
    fn commit(&mut self) -> Result<(), StorageError> {
        let Some(id) = self.batch.last().map(|write| write.id) else {
            return Ok(());
        };
        self.shared.log_pulse.beat();
        let appended = self.log.append(&self.batch, self.shared)?;
        self.shared.log_pulse.rest();
        let (bytes, sync) = (appended.bytes, appended.sync);
        // Update the free space before `queued_bytes`: the estimate of free space is never too
        // high.
        self.remove_superseded();
        self.shared.queued_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.batch.clear();
        self.bytes = 0;
        (self.shared.events)(StorageEvent::Persisted { id, bytes, sync });
        Ok(())
    }

    fn remove_superseded(&mut self) {
        self.log.retire_superseded(&self.shared.spares);
        self.shared.update_log(&self.log);
    }

    fn fail(self, error: StorageError) {
        let mut first_lost = self.batch.first().map(|write| write.id);
        while let (None, Ok(command)) = (first_lost, self.commands.try_recv()) {
            if let Command::Write(write) = command {
                first_lost = Some(write.id);
            }
        }
        self.shared.fail(first_lost, error);
    }
}
