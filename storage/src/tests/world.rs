//! A server's life as its storage sees it: a sequence of writes and snapshots, and a simple model
//! of their result.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use raft_core::durable::{HardState, Recovered, Write};
use raft_core::kv::{Command, KvStore, Snapshot};
use raft_core::log::{Entries, Entry, Payload};
use raft_core::snapshot::SnapshotMeta;
use raft_core::types::{LogIndex, LogPosition, NodeId, Term, WriteId};

use super::disk::{Dice, MemoryDisk};
use crate::at_start::MadeAtOnce;
use crate::directory::Directory;
use crate::log::LogWriter;
use crate::log::spares::{Progress, Spares};
use crate::service::{Prepared, prepare};
use crate::snapshots::{SaveError, SnapshotStore};
use crate::{Identity, Opened, Options, StorageError, StorageId};

pub(super) const DIR: &str = "/data";

pub(super) fn identity() -> Identity {
    Identity { cluster: "test".to_owned(), node: NodeId(1) }
}

/// Small files, to reach all cases often.
pub(super) fn options() -> Options {
    Options {
        segment_bytes: 1 << 10,
        max_batch_bytes: 1 << 9,
        snapshot_chunk_bytes: 64,
        keep_free_bytes: 0,
        ..Options::default()
    }
}

/// The expected contents of the disk: all writes so far, applied in the simplest way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) hard_state: HardState,
    pub(super) base: LogPosition,
    pub(super) entries: Vec<Entry>,
    pub(super) commit_index: LogIndex,
}

impl Model {
    pub(super) fn last(&self) -> LogPosition {
        self.entries.last().map_or(self.base, Entry::position)
    }

    fn position(&self, index: LogIndex) -> Option<LogPosition> {
        self.entries.iter().map(Entry::position).find(|position| position.index == index)
    }

    pub(super) fn apply(&mut self, write: &Write) {
        self.hard_state = write.hard_state;
        if let Some(from) = write.truncate_from {
            self.entries.retain(|entry| entry.index < from);
        }
        if let Some(to) = write.compact_to
            && to.index > self.base.index
        {
            if self.position(to.index) == Some(to) {
                self.entries.retain(|entry| entry.index > to.index);
            } else {
                self.entries.clear();
            }
            self.base = to;
        }
        self.entries.extend(write.entries.iter().cloned());
        self.commit_index = self.commit_index.max(write.commit_index);
    }

    pub(super) fn of(recovered: &Recovered) -> Self {
        Self {
            hard_state: recovered.hard_state,
            base: recovered.base,
            entries: recovered.entries.clone(),
            commit_index: recovered.commit_index,
        }
    }
}

/// A state that depends only on the position.
pub(super) fn snapshot_at(position: LogPosition) -> Snapshot {
    let mut store = KvStore::default();
    for key in 0..position.index.0 % 7 {
        store.apply(Command::put(format!("key {key}"), format!("{position} {key}").repeat(3)));
    }
    Snapshot { meta: SnapshotMeta { last: position, ..SnapshotMeta::default() }, store }
}

/// A request to the storage.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Writes that become durable together.
    Writes(Vec<Write>),
    /// Save the state at this position.
    Save(LogPosition),
    /// Seal the log.
    Seal,
}

/// Generates steps that a core could request.
#[derive(Clone, Debug)]
pub(super) struct Author {
    dice: Dice,
    /// The expected result of all steps.
    pub(super) model: Model,
    next_id: u64,
    /// The last durable snapshot to which the log is not yet compacted.
    saved: Option<LogPosition>,
}

impl Author {
    /// Continues from the contents of a world. Like the core, compacts first if the snapshot is
    /// newer than the log.
    pub(super) fn new(seed: u64, world: &World) -> Self {
        let model = world.acknowledged.clone();
        let saved = Some(world.saved).filter(|saved| saved.index > model.base.index);
        Self { dice: Dice::new(seed), model, next_id: 1, saved }
    }

    pub(super) fn step(&mut self) -> Step {
        if let Some(to) = self.saved.take() {
            return Step::Writes(vec![self.compaction(to)]);
        }
        match self.dice.below(12) {
            0 => Step::Seal,
            1 if self.model.commit_index > self.model.base.index => {
                let commit = self.model.commit_index;
                let position = self.model.position(commit).expect("it is in the log");
                self.saved = Some(position);
                Step::Save(position)
            }
            2 if self.dice.one_in(3) => self.installation(),
            _ => {
                let count = 1 + self.dice.below(3);
                Step::Writes((0..count).map(|_| self.write()).collect())
            }
        }
    }

    /// A write that only appends at least one entry, and commits some entries.
    pub(super) fn plain_write(&mut self) -> Write {
        loop {
            let before = (self.model.clone(), self.next_id);
            let write = self.write();
            if write.truncate_from.is_none() && !write.entries.is_empty() {
                return write;
            }
            (self.model, self.next_id) = before;
        }
    }

    /// The position at an index of the log.
    pub(super) fn position(&self, index: LogIndex) -> Option<LogPosition> {
        self.model.position(index)
    }

    /// Compacts the entries up to `to`, which a snapshot covers.
    pub(super) fn compact_exactly(&mut self, to: LogPosition) -> Write {
        let mut write = self.blank();
        write.compact_to = Some(to);
        self.model.apply(&write);
        write
    }

    fn blank(&mut self) -> Write {
        self.next_id += 1;
        Write {
            id: WriteId(self.next_id - 1),
            hard_state: self.model.hard_state,
            truncate_from: None,
            compact_to: None,
            entries: Entries::default(),
            commit_index: self.model.commit_index,
        }
    }

    /// Compacts up to a saved snapshot. If the snapshot is the log's own, compacts to a little
    /// before it.
    fn compaction(&mut self, to: LogPosition) -> Write {
        let mut write = self.blank();
        let own = self.model.position(to.index) == Some(to);
        let back = if own { self.dice.below(4) } else { 0 };
        let index = LogIndex(to.index.0.saturating_sub(back).max(self.model.base.index.0 + 1));
        write.compact_to = self.model.position(index).filter(|_| own).or(Some(to));
        write.commit_index = write.commit_index.max(to.index);
        self.model.apply(&write);
        write
    }

    /// A snapshot from a leader that the log does not contain: beyond its end, or in conflict with
    /// it.
    fn installation(&mut self) -> Step {
        let (commit, last) = (self.model.commit_index.0, self.model.last());
        let index = commit + 1 + self.dice.below(last.index.0 - commit + 5);
        let position = LogPosition::new(last.term.0 + 1, index);
        self.model.hard_state.current_term = position.term.max(self.model.hard_state.current_term);
        self.saved = Some(position);
        Step::Save(position)
    }

    fn write(&mut self) -> Write {
        if self.dice.one_in(6) {
            self.model.hard_state.current_term = self.model.hard_state.current_term.next();
            let vote = self.dice.below(4);
            self.model.hard_state.voted_for = (vote > 0).then_some(NodeId(vote));
        }
        let mut write = self.blank();
        let (commit, last) = (self.model.commit_index.0, self.model.last().index.0);
        if last > commit && self.dice.one_in(5) {
            write.truncate_from = Some(LogIndex(last - self.dice.below(last - commit)));
        }
        let before = write.truncate_from.map_or(LogIndex(last), LogIndex::previous);
        let before = self.model.position(before).unwrap_or(self.model.base);
        let term = Term(self.model.hard_state.current_term.0.max(before.term.0).max(1));
        write.hard_state.current_term = term.max(write.hard_state.current_term);
        let count = self.dice.below(4);
        let appended = (1..=count).map(|number| {
            let length = usize::try_from(self.dice.below(80)).expect("a small number");
            let fill = u8::try_from(write.id.0 % 256).expect("below 256");
            let payload = if length == 0 {
                Payload::Noop
            } else {
                Payload::Command(Bytes::from(vec![fill; length]))
            };
            Entry { index: LogIndex(before.index.0 + number), term, payload }
        });
        write.entries = appended.collect();
        let end = before.index.0 + write.entries.len() as u64;
        let commit = commit + self.dice.below(end - commit + 1);
        write.commit_index = LogIndex(commit);
        self.model.apply(&write);
        write
    }
}

/// The storage without its threads, and the expected contents.
pub(super) struct World {
    pub(super) log: LogWriter,
    snapshots: SnapshotStore,
    pub(super) spares: Spares,
    pub(super) directory: Directory,
    /// The contents that must be found again.
    pub(super) acknowledged: Model,
    /// The contents that may be found instead: the same with the pending step.
    pub(super) under_way: Option<Model>,
    /// The newest snapshot that must be found again.
    pub(super) saved: LogPosition,
    /// The snapshot that may be found instead.
    pub(super) saving: Option<LogPosition>,
    _lock: Box<dyn std::any::Any>,
}

/// Opens the storage without its threads.
pub(super) fn open(disk: &MemoryDisk) -> Result<(Opened, World), StorageError> {
    let disk = Arc::new(disk.clone());
    let directory = Directory {
        disk,
        path: PathBuf::from(DIR),
        identity: identity(),
        id: StorageId::default(),
    };
    let Prepared { opened, log, snapshots, spares, lock, directory } =
        prepare(&directory, &options())?;
    let world = World {
        log,
        snapshots,
        spares,
        directory,
        acknowledged: Model::of(&opened.recovered),
        under_way: None,
        saved: opened.snapshot.as_ref().map_or(LogPosition::ZERO, |found| found.meta.last),
        saving: None,
        _lock: Box::new(lock),
    };
    Ok((opened, world))
}

impl World {
    pub(super) fn take(&mut self, step: &Step) -> Result<(), StorageError> {
        match step {
            Step::Writes(writes) => self.write(writes),
            Step::Save(position) => self.save(*position),
            Step::Seal => self.log.seal(),
        }
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), StorageError> {
        let mut model = self.acknowledged.clone();
        for write in writes {
            model.apply(write);
        }
        self.under_way = Some(model.clone());
        let spares = MadeAtOnce(&self.spares, &self.directory);
        self.spares.set_covered(self.snapshots.fallback(), self.snapshots.newest());
        self.log.append(writes, &spares)?;
        self.under_way = None;
        self.acknowledged = model;
        self.log.retire_superseded(&spares);
        while let Progress::Made | Progress::Removed = self.spares.work()? {}
        Ok(())
    }

    fn save(&mut self, position: LogPosition) -> Result<(), StorageError> {
        self.saving = Some(position);
        match self.snapshots.save(&snapshot_at(position), false, &mut |_| true) {
            Ok(_) => {
                self.saving = None;
                self.saved = position;
                Ok(())
            }
            Err(SaveError::Skipped(error) | SaveError::Failed(error)) => Err(error),
        }
    }

    /// Compares the result of a later start with the expected contents.
    pub(super) fn check(&self, opened: &Opened, context: &str) {
        let found = opened.snapshot.as_ref().map(|snapshot| snapshot.meta.last);
        let found = found.unwrap_or(LogPosition::ZERO);
        assert!(
            found == self.saved || Some(found) == self.saving,
            "{context}: found the snapshot of {found}, saved {}, saving {:?}",
            self.saved,
            self.saving
        );
        if let Some(snapshot) = &opened.snapshot {
            let expected = snapshot_at(found);
            assert_eq!(snapshot.store.digest(), expected.store.digest(), "{context}");
            assert_eq!(snapshot.meta, expected.meta, "{context}");
        }
        let model = Model::of(&opened.recovered);
        assert!(
            model == self.acknowledged || Some(&model) == self.under_way.as_ref(),
            "{context}: found {model:#?}\nacknowledged {:#?}\nunder way {:#?}",
            self.acknowledged,
            self.under_way
        );
    }
}

/// A path in the directory.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}
