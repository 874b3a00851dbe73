//! Holds back messages until what they depend on is durable.
//!
//! Figure 2: term, vote and entries are on stable storage before a server answers an RPC. The
//! changes of one step form one batch. Messages that depend on it wait here until the disk has
//! answered. The driver cannot get this wrong, and the disk works in parallel with everything else.

use std::collections::VecDeque;

use crate::durable::{HardState, Write};
use crate::log::Entries;
use crate::message::Body;
use crate::types::{EventId, LogIndex, LogPosition, NodeId, Term, Time, WriteId};

/// What must be durable before a message may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The sender's term and vote.
    HardState,
    /// The sender's term, vote and log.
    Log,
}

/// A message that waits for the disk.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    after: WriteId,
    term: Term,
    pub(crate) to: NodeId,
    pub(crate) body: Body,
}

/// A batch that the disk is writing.
#[derive(Clone, Debug)]
struct InFlight {
    id: WriteId,
    /// The last index that it makes durable; decreases if that entry is truncated meanwhile.
    last_index: LogIndex,
    started: Time,
    /// The cause of the batch and of the messages that wait for it.
    cause: Option<EventId>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    /// The changes of this step.
    draft: Draft,
    /// The latest batch that was submitted.
    submitted: WriteId,
    /// The latest batch that holds a change of term or vote.
    hard_state_write: WriteId,
    /// All batches up to here are durable.
    durable: WriteId,
    durable_index: LogIndex,
    /// The index after which the log on disk begins once all batches are done.
    disk_base: LogIndex,
    /// The cause of the latest durable batch and of the messages that it releases.
    durable_cause: Option<EventId>,
    in_flight: VecDeque<InFlight>,
    /// When the disk last finished a batch.
    finished_at: Time,
    held: VecDeque<Held>,
}

#[derive(Clone, Debug, Default)]
struct Draft {
    dirty: bool,
    truncate_from: Option<LogIndex>,
    compact_to: Option<LogPosition>,
    entries: Entries,
}

impl Gate {
    /// A gate for a server whose disk holds its log after `disk_base` up to `durable_index`.
    pub(crate) fn new(disk_base: LogIndex, durable_index: LogIndex) -> Self {
        Self { durable_index, disk_base, ..Self::default() }
    }

    /// The last log index that is durable here.
    pub(crate) const fn durable_index(&self) -> LogIndex {
        self.durable_index
    }

    /// Since when the disk has finished no batch, while a batch waits. A disk that finishes batches
    /// is busy; a disk that finishes none hangs.
    pub(crate) fn idle_since(&self) -> Option<Time> {
        self.in_flight.front().map(|write| write.started.max(self.finished_at))
    }

    // Changes of this step

    pub(crate) const fn hard_state_changed(&mut self) {
        self.draft.dirty = true;
        self.hard_state_write = self.submitted.next();
    }

    pub(crate) fn append(&mut self, entries: Entries) {
        self.draft.dirty = true;
        self.draft.entries = if self.draft.entries.is_empty() {
            entries
        } else {
            self.draft.entries.iter().chain(&entries).cloned().collect()
        };
    }

    /// Removes the entries from `from` on from the log, on disk or on the way there.
    pub(crate) fn truncate(&mut self, from: LogIndex) {
        self.draft.dirty = true;
        let kept = self.draft.entries.partition_point(|entry| entry.index < from);
        self.draft.entries = self.draft.entries.part(0..kept);
        let earlier = self.draft.truncate_from.unwrap_or(from);
        self.draft.truncate_from = Some(earlier.min(from));
        let last = from.previous();
        self.durable_index = self.durable_index.min(last);
        for write in &mut self.in_flight {
            write.last_index = write.last_index.min(last);
        }
    }

    /// Lets the log on disk begin after `to`, which a durable snapshot covers.
    pub(crate) const fn compact(&mut self, to: LogPosition) {
        self.draft.dirty = true;
        self.draft.compact_to = Some(to);
        self.disk_base = to.index;
    }

    /// The last entry that is removed, or about to be removed, from the log on disk.
    pub(crate) const fn disk_base(&self) -> LogIndex {
        self.disk_base
    }

    /// Records that a durable snapshot covers everything up to `index`.
    pub(crate) fn covered_by_snapshot(&mut self, index: LogIndex) {
        self.durable_index = self.durable_index.max(index);
    }

    // At the end of the step

    /// Takes the batch of this step, if anything changed. From now on it is in flight.
    pub(crate) fn submit(
        &mut self,
        hard_state: HardState,
        last_index: LogIndex,
        commit_index: LogIndex,
        now: Time,
        cause: Option<EventId>,
    ) -> Option<Write> {
        if !self.draft.dirty {
            return None;
        }
        self.submitted = self.submitted.next();
        let id = self.submitted;
        self.in_flight.push_back(InFlight { id, last_index, started: now, cause });
        let draft = std::mem::take(&mut self.draft);
        Some(Write {
            id,
            hard_state,
            truncate_from: draft.truncate_from,
            compact_to: draft.compact_to,
            entries: draft.entries,
            commit_index: commit_index.min(last_index),
        })
    }

    /// See [`super::canonical`].
    #[cfg(feature = "sim")]
    pub(super) fn hash_behaviour<H: std::hash::Hasher>(&self, hasher: &mut H) {
        use std::hash::Hash;
        let Self {
            draft,
            submitted: _,
            hard_state_write,
            durable,
            durable_index,
            disk_base: _,
            durable_cause: _,
            in_flight,
            finished_at: _,
            held,
        } = self;
        assert!(!draft.dirty, "between two steps every change is submitted");
        let after = |write: WriteId| write.0.saturating_sub(durable.0);
        (after(*hard_state_write), durable_index, in_flight.len(), held.len()).hash(hasher);
        for InFlight { id, last_index, started: _, cause: _ } in in_flight {
            (after(*id), last_index).hash(hasher);
        }
        for Held { after: write, term, to, body } in held {
            (after(*write), term, to, body).hash(hasher);
        }
    }

    // Messages

    /// Holds a message that needs the disk. Returns the body if it may be sent at once.
    pub(crate) fn hold(
        &mut self,
        to: NodeId,
        term: Term,
        body: Body,
        needs: Needs,
    ) -> Option<Body> {
        let after = match needs {
            Needs::HardState => self.hard_state_write,
            Needs::Log if self.draft.dirty => self.submitted.next(),
            Needs::Log => self.submitted,
        };
        if after <= self.durable {
            return Some(body);
        }
        self.held.push_back(Held { after, term, to, body });
        None
    }

    /// Whether the current term and vote are durable.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.hard_state_write <= self.durable
    }

    /// Drops the held messages: messages of earlier terms are obsolete.
    pub(crate) fn forget_held(&mut self) {
        self.held.clear();
    }

    /// Records that a batch and all before it are durable. Returns whether that is news: a late
    /// report about an earlier batch is not.
    pub(crate) fn persisted(&mut self, id: WriteId, now: Time) -> bool {
        let before = self.durable;
        while let Some(write) = self.in_flight.pop_front_if(|write| write.id <= id) {
            self.durable = write.id;
            self.durable_index = self.durable_index.max(write.last_index);
            self.durable_cause = write.cause;
            self.finished_at = now;
        }
        self.durable > before
    }

    /// The cause of the latest durable batch.
    pub(crate) const fn durable_cause(&self) -> Option<EventId> {
        self.durable_cause
    }

    /// Takes the next message that need not wait any more.
    pub(crate) fn release(&mut self, term: Term) -> Option<Held> {
        let ready = self.held.iter().position(|held| held.after <= self.durable)?;
        let held = self.held.remove(ready).expect("just found");
        assert_eq!(held.term, term, "a new term discards messages of earlier terms");
        Some(held)
    }
}
