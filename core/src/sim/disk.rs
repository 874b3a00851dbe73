//! A disk that holds what the real log holds: what was synced survives a crash, the rest may not.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::durable::{Recovered, Write};
use crate::kv::Snapshot;
use crate::log::Log;
use crate::message::SnapshotMeta;
use crate::random::Random;
use crate::types::{LogIndex, MILLISECOND, Micros, WriteId};

/// How a disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskConfig {
    /// The shortest time that a sync takes, in µs.
    pub sync_min: Micros,
    /// The longest, in µs.
    pub sync_max: Micros,
    /// How many of 1000 batches that were not synced survive a crash all the same; as on a real
    /// disk only together with all batches before them.
    pub survive_permille: u16,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self { sync_min: MILLISECOND, sync_max: 5 * MILLISECOND, survive_permille: 0 }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) config: DiskConfig,
    durable: Durable,
    /// Batches that were handed over, oldest first.
    waiting: VecDeque<Write>,
    /// How many of them the sync under way covers.
    syncing: usize,
    /// The snapshot that is being written.
    saving: Option<Snapshot>,
    snapshot: Option<Snapshot>,
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
        }
    }

    pub(super) fn sync_time(&self, random: &mut Random) -> Micros {
        random.between(self.config.sync_min, self.config.sync_max)
    }

    pub(super) fn submit(&mut self, write: Write) {
        self.waiting.push_back(write);
    }

    /// Starts a sync of all that waits. Whether one starts: not while another is under way.
    pub(super) fn begin_sync(&mut self) -> bool {
        let starts = self.syncing == 0 && !self.waiting.is_empty();
        if starts {
            self.syncing = self.waiting.len();
        }
        starts
    }

    /// Ends the sync under way. Gives the last batch that it made durable.
    pub(super) fn end_sync(&mut self) -> Option<WriteId> {
        let covered = std::mem::take(&mut self.syncing);
        self.make_durable(covered)
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

    pub(super) fn snapshot_saved(&mut self, meta: &SnapshotMeta) {
        if let Some(saved) = self.saving.take_if(|saving| saving.meta == *meta) {
            self.snapshot = Some(saved);
        }
    }

    /// Power is lost: what was not synced is gone, or part of it is not.
    pub(super) fn crash(&mut self, random: &mut Random) {
        let survive = self.config.survive_permille;
        let survivors = self.waiting.iter().take_while(|_| random.chance(survive)).count();
        self.make_durable(survivors);
        self.waiting.clear();
        self.syncing = 0;
        self.saving = None;
    }

    /// What a server finds when it starts.
    pub(super) fn recover(&self) -> (Recovered, Option<Snapshot>) {
        let log = &self.durable.log;
        let recovered = Recovered {
            hard_state: self.durable.hard_state,
            base: log.base(),
            entries: log.from(log.base().index.next()).to_vec(),
            commit_index: self.durable.commit_index,
        };
        (recovered, self.snapshot.clone())
    }
}

impl Durable {
    fn apply(&mut self, write: Write) {
        self.hard_state = write.hard_state;
        if let Some(from) = write.truncate_from {
            if from > self.log.base().index {
                self.log.truncate(from);
            } else {
                // Only with a rule broken: a snapshot that is older than the log replaces it.
                self.log = Log::new(write.compact_to.unwrap_or_default());
            }
        }
        if let Some(to) = write.compact_to {
            self.log.compact(to);
        }
        for entry in write.entries {
            self.log.append(entry);
        }
        self.commit_index = write.commit_index;
    }
}
