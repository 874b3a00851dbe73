//! Measures the speed of the storage, and the speed of the disk itself in the same run.
//!
//! `cargo run --release -p storage --example storage_speed -- [DIRECTORY] [KEYS]`
//!
//! DIRECTORY (default: the current directory) selects the disk. All files are in a new directory in
//! it, which is removed at the end. KEYS (default 200000) is the size of the snapshot.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_core::durable::{HardState, Write};
use raft_core::kv::{Command, KvStore, Snapshot};
use raft_core::log::{Entry, Payload};
use raft_core::snapshot::SnapshotMeta;
use raft_core::types::{LogIndex, LogPosition, NodeId, Term, WriteId};
use storage::{Identity, Options, Storage, StorageEvent};

const ENTRY_BYTES: usize = 256;
const A_FIGURE: Duration = Duration::from_secs(3);
/// After this many entries the example takes a snapshot and compacts the log, like a server.
const COMPACT_AFTER: u64 = 200_000;

/// How often the large snapshot is saved.
const SNAPSHOTS: u64 = 5;

type Failure = Box<dyn Error>;

/// The duration of each write, and of all writes together.
type Measured = (Vec<Duration>, Duration);

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let keys: u64 = arguments.next().map_or(Ok(200_000), |keys| keys.parse())?;
    let dir = tempfile::tempdir_in(parent)?;
    for entries in [1, 256] {
        report(
            &format!("disk alone, {entries} x {ENTRY_BYTES} B"),
            entries,
            &plain(&dir, entries)?,
        );
    }
    for (entries, in_flight) in [(1, 1), (1, 64), (256, 1), (256, 8)] {
        let mut bench = Bench::start(&dir.path().join("storage"))?;
        let times = bench.run(entries, in_flight)?;
        let name = format!("storage, {entries} x {ENTRY_BYTES} B, {in_flight} in flight");
        report(&name, entries, &times);
        bench.finish()?;
    }
    snapshot(&dir.path().join("snapshot"), keys)
}

/// Writes and calls `fdatasync` in turn, in a preallocated file: the best that the disk can do.
fn plain(dir: &tempfile::TempDir, entries: usize) -> Result<Measured, Failure> {
    let path = dir.path().join("plain");
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
    let length = 64 << 20;
    file.write_all_at(&vec![0; length], 0)?;
    file.sync_all()?;
    let bytes = vec![7; entries * (ENTRY_BYTES + 12)];
    let (mut times, mut offset, started) = (Vec::new(), 0, Instant::now());
    while started.elapsed() < A_FIGURE {
        let start = Instant::now();
        file.write_all_at(&bytes, offset)?;
        file.sync_data()?;
        times.push(start.elapsed());
        offset = (offset + bytes.len() as u64) % (length - bytes.len()) as u64;
    }
    let elapsed = started.elapsed();
    std::fs::remove_file(path)?;
    Ok((times, elapsed))
}

/// A storage and its sequence of writes.
struct Bench {
    storage: Storage,
    events: Receiver<StorageEvent>,
    next_id: u64,
    next_index: u64,
    compacted: u64,
}

impl Bench {
    fn start(dir: &Path) -> Result<Self, Failure> {
        let identity = Identity { cluster: "speed".to_owned(), node: NodeId(1) };
        let (sender, events) = mpsc::channel();
        let (opened, storage) = Storage::open(dir, identity, Options::default(), move |event| {
            let _ = sender.send(event);
        })?;
        let last = opened.recovered.entries.last().map_or(opened.recovered.base, Entry::position);
        let (next_index, compacted) = (last.index.0 + 1, opened.recovered.base.index.0);
        Ok(Self { storage, events, next_id: 1, next_index, compacted })
    }

    fn write(&mut self, entries: usize, compact_to: Option<u64>) -> Write {
        let first = self.next_index;
        self.next_index += entries as u64;
        self.next_id += 1;
        let value = Bytes::from(vec![7; ENTRY_BYTES]);
        Write {
            id: WriteId(self.next_id - 1),
            hard_state: HardState {
                current_term: Term(1),
                voted_for: Some(NodeId(1)),
                stranger_until: None,
            },
            truncate_from: None,
            compact_to: compact_to.map(|index| LogPosition::new(1, index)),
            entries: (first..self.next_index)
                .map(|index| Entry {
                    index: LogIndex(index),
                    term: Term(1),
                    payload: Payload::Command(value.clone()),
                })
                .collect(),
            commit_index: LogIndex(first - 1),
        }
    }

    /// Keeps `in_flight` writes of `entries` entries in flight and compacts meanwhile. Returns the
    /// duration of each write.
    fn run(&mut self, entries: usize, in_flight: usize) -> Result<Measured, Failure> {
        let (mut times, mut waiting) = (Vec::new(), std::collections::VecDeque::new());
        let (started, mut compact_to) = (Instant::now(), None);
        while started.elapsed() < A_FIGURE || !waiting.is_empty() {
            while waiting.len() < in_flight && started.elapsed() < A_FIGURE {
                let write = self.write(entries, compact_to.take());
                waiting.push_back((write.id, Instant::now()));
                self.storage.submit(write);
            }
            match self.events.recv()? {
                StorageEvent::Persisted { id, .. } => {
                    while let Some((_, start)) = waiting.pop_front_if(|(first, _)| *first <= id) {
                        times.push(start.elapsed());
                    }
                }
                StorageEvent::SnapshotSaved { meta, .. } => compact_to = Some(meta.last.index.0),
                StorageEvent::Failed { error, .. } => return Err(error.into()),
                StorageEvent::SnapshotFailed { .. }
                | StorageEvent::DiskFull
                | StorageEvent::DiskIsShort
                | StorageEvent::DiskHasSpace => {}
            }
            let end = self.next_index - 1;
            if waiting.is_empty() && end - self.compacted > COMPACT_AFTER {
                self.compacted = end;
                self.storage.save_snapshot(snapshot_of(KvStore::default(), end));
            }
        }
        Ok((times, started.elapsed()))
    }

    /// Waits until a write is durable; returns the snapshots that were saved meanwhile.
    fn wait_for(&self, id: WriteId) -> Result<Vec<(u64, Duration)>, Failure> {
        let mut saved = Vec::new();
        loop {
            match self.events.recv()? {
                StorageEvent::Persisted { id: durable, .. } if durable >= id => return Ok(saved),
                StorageEvent::SnapshotSaved { bytes, took, .. } => saved.push((bytes, took)),
                StorageEvent::Failed { error, .. } | StorageEvent::SnapshotFailed { error, .. } => {
                    return Err(error.into());
                }
                StorageEvent::Persisted { .. }
                | StorageEvent::DiskFull
                | StorageEvent::DiskIsShort
                | StorageEvent::DiskHasSpace => {}
            }
        }
    }

    fn finish(self) -> Result<(), Failure> {
        Ok(self.storage.close()?)
    }
}

fn snapshot_of(store: KvStore, index: u64) -> Snapshot {
    let meta = SnapshotMeta { last: LogPosition::new(1, index), ..SnapshotMeta::default() };
    Snapshot { meta, store }
}

/// The cost of a snapshot, and its effect on concurrent writes.
fn snapshot(dir: &Path, keys: u64) -> Result<(), Failure> {
    let mut store = KvStore::default();
    for key in 0..keys {
        store.apply(Command::put(format!("key {key:012}"), vec![7; ENTRY_BYTES]));
    }
    let mut bench = Bench::start(dir)?;
    let quiet = bench.run(1, 1)?;
    report("writes without a snapshot beside them", 1, &quiet);
    let (mut beside, mut saved) = (Vec::new(), Vec::new());
    for index in 1..=SNAPSHOTS {
        bench.storage.save_snapshot(snapshot_of(store.clone(), index));
        while saved.len() < usize::try_from(index)? {
            let write = bench.write(1, None);
            let (id, start) = (write.id, Instant::now());
            bench.storage.submit(write);
            saved.extend(bench.wait_for(id)?);
            beside.push(start.elapsed());
        }
    }
    let elapsed = beside.iter().sum();
    report("writes beside a snapshot", 1, &(beside, elapsed));
    for (bytes, took) in saved {
        println!("snapshot of {keys} keys: {} MB saved in {took:.1?}", bytes / 1_000_000);
    }
    bench.finish()?;
    let start = Instant::now();
    let bench = Bench::start(dir)?;
    println!("start with that snapshot and {} entries: {:.1?}", bench.next_index, start.elapsed());
    bench.finish()
}

#[allow(clippy::cast_precision_loss, reason = "a rate is shown with few digits")]
fn report(name: &str, entries: usize, (times, elapsed): &Measured) {
    let rate = (times.len() * entries) as f64 / elapsed.as_secs_f64();
    let mut sorted = times.clone();
    sorted.sort_unstable();
    let at = |hundredths: usize| sorted[(sorted.len() - 1) * hundredths / 100];
    let (middle, high) = (at(50), at(99));
    println!("{name:<44} {rate:>10.0} entries/s  p50 {middle:>8.1?}  p99 {high:>8.1?}");
}
