//! A disk with the contents of the real log. Synced data survives a crash; other data may not.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::queue::Happening;
use crate::durable::{Recovered, Write};
use crate::kv::{Command, Snapshot};
use crate::log::{Entry, Log, Payload};
use crate::random::Random;
use crate::snapshot::SnapshotMeta;
use crate::types::{LogIndex, LogPosition, MILLISECOND, Micros, SECOND, WriteId};

/// How a disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskConfig {
    /// The shortest duration of a sync, in µs.
    pub sync_min: Micros,
    /// The longest duration of a sync, in µs.
    pub sync_max: Micros,
    /// How many bytes the disk writes per second, in addition to the sync time; 0 for no limit.
    /// With a limit, the disk syncs waiting batches piece by piece.
    pub bytes_per_second: u64,
    /// How many of 1000 unsynced batches survive a crash. As on a real disk, a batch survives only
    /// together with all batches before it.
    pub survive_permille: u16,
    /// Whether records carry checksums, as in the real log. Without checksums, torn records and
    /// flipped bits go unnoticed. This fault shows what checksums are good for.
    pub checksums: bool,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            sync_min: MILLISECOND,
            sync_max: 5 * MILLISECOND,
            bytes_per_second: 0,
            survive_permille: 0,
            checksums: true,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) config: DiskConfig,
    durable: Durable,
    /// The submitted batches, oldest first.
    waiting: VecDeque<Write>,
    /// How many of the waiting batches the current sync covers.
    syncing: usize,
    /// The snapshot that the disk is writing.
    saving: Option<Snapshot>,
    snapshot: Option<Snapshot>,
    pub(super) faults: DiskFaults,
    /// The completions that the stalled disk holds back.
    pub(super) late: Vec<Happening>,
    /// Whether a checksum will reveal that the durable data is damaged.
    damaged: bool,
}

/// A disk with limited speed syncs as many bytes at a time as it writes in about this time, in µs.
const PIECE_TIME: Micros = 20 * MILLISECOND;

/// The approximate size of a batch in the log, in bytes.
fn size(write: &Write) -> u64 {
    write.entries.iter().map(|entry| entry.size() as u64).sum()
}

/// The faults of a disk.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DiskFaults {
    /// The disk completes nothing.
    pub(super) stalled: bool,
    /// The next sync fails.
    pub(super) fails_sync: bool,
    /// The next snapshot cannot be saved.
    pub(super) fails_snapshot: bool,
    /// No snapshot can be saved.
    pub(super) fails_snapshots: bool,
}

/// How a sync ended.
pub(super) enum SyncEnd {
    /// This batch and all batches before it are durable.
    Durable(WriteId),
    /// This batch is not known to be durable.
    Failed(WriteId),
}

/// What survives a crash.
#[derive(Clone, Debug, Default)]
struct Durable {
    hard_state: crate::durable::HardState,
    log: Log,
    commit_index: LogIndex,
}

impl Disk {
    pub(super) fn new(config: DiskConfig) -> Self {
        Self {
            config,
            durable: Durable::default(),
            waiting: VecDeque::new(),
            syncing: 0,
            saving: None,
            snapshot: None,
            faults: DiskFaults::default(),
            late: Vec::new(),
            damaged: false,
        }
    }

    /// The duration of the current sync, in µs.
    pub(super) fn sync_time(&self, random: &mut Random) -> Micros {
        let bytes = self.waiting.iter().take(self.syncing).map(size).sum();
        random.between(self.config.sync_min, self.config.sync_max) + self.write_time(bytes)
    }

    /// The time to save a snapshot, in µs.
    pub(super) fn save_time(&self, snapshot: &Snapshot, random: &mut Random) -> Micros {
        let bytes = snapshot.store.bytes();
        random.between(self.config.sync_min, self.config.sync_max) + self.write_time(bytes)
    }

    fn write_time(&self, bytes: u64) -> Micros {
        match self.config.bytes_per_second {
            0 => 0,
            rate => bytes.saturating_mul(SECOND).div_ceil(rate),
        }
    }

    pub(super) fn submit(&mut self, write: Write) {
        self.waiting.push_back(write);
    }

    /// Starts a sync of waiting batches, unless a sync is already running. Returns whether it
    /// started a sync.
    pub(super) fn begin_sync(&mut self) -> bool {
        let starts = self.syncing == 0 && !self.waiting.is_empty();
        if starts {
            self.syncing = self.next_piece();
        }
        starts
    }

    /// How many of the waiting batches the next sync covers: all, or as many as a disk with limited
    /// speed writes in about [`PIECE_TIME`].
    fn next_piece(&self) -> usize {
        if self.config.bytes_per_second == 0 {
            return self.waiting.len();
        }
        let mut bytes = 0;
        let within = self.waiting.iter().take_while(|write| {
            let fits = self.write_time(bytes) < PIECE_TIME;
            bytes += size(write);
            fits
        });
        within.count()
    }

    /// Ends the current sync.
    pub(super) fn end_sync(&mut self) -> Option<SyncEnd> {
        let covered = std::mem::take(&mut self.syncing);
        if std::mem::take(&mut self.faults.fails_sync) {
            // The batches stay in the queue: a crash decides which of them are durable (pitfall
            // 30).
            return self.waiting.front().map(|write| SyncEnd::Failed(write.id));
        }
        self.make_durable(covered).map(SyncEnd::Durable)
    }

    fn make_durable(&mut self, count: usize) -> Option<WriteId> {
        let mut last = None;
        for write in self.waiting.drain(..count) {
            last = Some(write.id);
            self.durable.apply(write);
        }
        last
    }

    pub(super) fn save_snapshot(&mut self, snapshot: Snapshot) -> SnapshotMeta {
        let meta = snapshot.meta.clone();
        self.saving = Some(snapshot);
        meta
    }

    /// Ends the saving of a snapshot. Returns whether the snapshot is durable.
    pub(super) fn end_save(&mut self, meta: &SnapshotMeta) -> bool {
        if std::mem::take(&mut self.faults.fails_snapshot) || self.faults.fails_snapshots {
            self.saving = None;
            return false;
        }
        if let Some(saved) = self.saving.take_if(|saving| saving.meta == *meta) {
            self.snapshot = Some(saved);
        }
        true
    }

    /// Handles a power loss: unsynced batches are lost, except for the oldest ones that survive.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let survive = self.config.survive_permille;
        let survivors = self.waiting.iter().take_while(|_| random.chance(survive)).count();
        self.make_durable(survivors);
        self.waiting.clear();
        self.syncing = 0;
        self.saving = None;
        self.late.clear();
        let DiskFaults { stalled, fails_snapshots, .. } = self.faults;
        self.faults = DiskFaults { stalled, fails_snapshots, ..DiskFaults::default() };
    }

    /// Prepares a power loss in the middle of a record. The records before it become durable. With
    /// checksums, nothing of the torn record survives; without checksums, some of its entries may.
    /// Returns the record, and how many of its entries survive.
    pub(super) fn tear(&mut self, random: &mut Random) -> Option<(WriteId, u64)> {
        let before = random.between(0, self.waiting.len() as u64);
        self.make_durable(usize::try_from(before).expect("the number is small"));
        let mut torn = self.waiting.pop_front()?;
        self.waiting.clear();
        let (id, mut kept) = (torn.id, 0);
        if !self.config.checksums {
            kept = random.between(0, torn.entries.len() as u64);
            let whole = usize::try_from(kept).expect("the number is small");
            torn.entries = torn.entries.part(0..whole);
            self.durable.apply(torn);
        }
        Some((id, kept))
    }

    /// Flips one bit of the durable data. With checksums, the next start detects the damage.
    /// Without checksums, a command changes unnoticed.
    pub(super) fn flip_bit(&mut self, random: &mut Random) {
        if self.config.checksums {
            self.damaged = true;
            return;
        }
        self.durable.flip_bit(random);
    }

    /// Whether a checksum prevents a start from this disk.
    pub(super) const fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// The index of the last durable entry.
    pub(super) fn last_index(&self) -> LogIndex {
        self.durable.log.last().index
    }

    /// Whether the disk holds no durable data.
    pub(super) fn is_empty(&self) -> bool {
        self.durable.is_empty() && self.snapshot.is_none()
    }

    /// What a server recovers from the disk when it starts.
    pub(super) fn recover(&self) -> (Recovered, Option<Snapshot>) {
        let log = &self.durable.log;
        let recovered = Recovered {
            hard_state: self.durable.hard_state,
            base: log.base(),
            entries: log.iter().cloned().collect(),
            commit_index: self.durable.commit_index,
        };
        (recovered, self.snapshot.clone())
    }
}

impl Durable {
    fn is_empty(&self) -> bool {
        self.hard_state == crate::durable::HardState::default()
            && self.log.last() == LogPosition::ZERO
    }

    /// Flips the lowest bit of a byte in a command, if the log holds a command. Chooses the last
    /// byte that leaves a valid command, since a server stops at an invalid command.
    fn flip_bit(&mut self, random: &mut Random) {
        let base = self.log.base();
        let mut entries: Vec<Entry> = self.log.iter().cloned().collect();
        let mut commands: Vec<&mut bytes::Bytes> = entries
            .iter_mut()
            .filter_map(|entry| match &mut entry.payload {
                Payload::Command(bytes) => Some(bytes),
                Payload::Noop | Payload::Membership(_) => None,
            })
            .collect();
        let hit = random.between(0, commands.len() as u64);
        if let Some(command) = commands.get_mut(usize::try_from(hit).expect("the number is small"))
        {
            let mut bytes = command.to_vec();
            for at in (0..bytes.len()).rev() {
                bytes[at] ^= 1;
                if Command::decode(&bytes).is_ok() {
                    break;
                }
                bytes[at] ^= 1;
            }
            **command = bytes.into();
        }
        self.log = Log::new(base);
        self.log.recover(entries);
    }

    fn apply(&mut self, write: Write) {
        self.hard_state = write.hard_state;
        if let Some(from) = write.truncate_from {
            if from > self.log.base().index {
                self.log.truncate(from);
            } else {
                // Only with a broken rule: a snapshot that is older than the log replaces the log.
                self.log = Log::new(write.compact_to.unwrap_or_default());
            }
        }
        if let Some(to) = write.compact_to {
            self.log.compact(to);
        }
        self.log.extend(write.entries);
        self.commit_index = write.commit_index;
    }
}
