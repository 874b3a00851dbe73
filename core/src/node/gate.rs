//! Holds back what must not be said before it is durable.
//!
//! Figure 2: term, vote and entries are on stable storage before a server answers an RPC. Within
//! one step the changes gather into one batch; what depends on it waits here until the disk has
//! answered. The driver cannot get this wrong, and the disk works beside everything else.

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
    /// Its log too.
    Log,
}

/// A message that waits.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    after: WriteId,
    term: Term,
    pub(crate) to: NodeId,
    pub(crate) body: Body,
}

/// A batch that the disk works on.
#[derive(Clone, Debug)]
struct InFlight {
    id: WriteId,
    /// The last index that it makes durable; falls when that entry is truncated meanwhile.
    last_index: LogIndex,
    started: Time,
    /// What led to the batch: also what led to the messages that wait for it.
    cause: Option<EventId>,
}

/// See the module.
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
    /// Where the log on disk begins once it has done what it was asked for.
    disk_base: LogIndex,
    /// What led to the latest durable batch, and so to what it releases.
    durable_cause: Option<EventId>,
    in_flight: VecDeque<InFlight>,
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

    /// When the oldest batch that is not durable was handed to the disk.
    pub(crate) fn oldest_start(&self) -> Option<Time> {
        self.in_flight.front().map(|write| write.started)
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

    /// The entries from `from` on are no longer part of the log, on disk or on the way there.
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

    /// The log on disk begins after `to` from now on, which a durable snapshot covers.
    pub(crate) const fn compact(&mut self, to: LogPosition) {
        self.draft.dirty = true;
        self.draft.compact_to = Some(to);
        self.disk_base = to.index;
    }

    /// The last entry that the log on disk has forgotten, or is about to forget.
    pub(crate) const fn disk_base(&self) -> LogIndex {
        self.disk_base
    }

    /// A durable snapshot holds everything up to `index`.
    pub(crate) fn covered_by_snapshot(&mut self, index: LogIndex) {
        self.durable_index = self.durable_index.max(index);
    }

    // At the end of the step

    /// The batch of this step, if anything changed; from now on it is in flight.
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

    /// Takes a message that needs the disk; gives it back when it may leave at once.
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

    /// Whether term and vote are durable as they are now.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.hard_state_write <= self.durable
    }

    /// Messages of earlier terms have lost their meaning.
    pub(crate) fn forget_held(&mut self) {
        self.held.clear();
    }

    /// Takes in that a batch and all before it are durable; a late word about an earlier batch says
    /// nothing new. Whether it was news.
    pub(crate) fn persisted(&mut self, id: WriteId) -> bool {
        let before = self.durable;
        while let Some(write) = self.in_flight.pop_front_if(|write| write.id <= id) {
            self.durable = write.id;
            self.durable_index = self.durable_index.max(write.last_index);
            self.durable_cause = write.cause;
        }
        self.durable > before
    }

    /// What led to the latest durable batch.
    pub(crate) const fn durable_cause(&self) -> Option<EventId> {
        self.durable_cause
    }

    /// The next message that waits no longer.
    pub(crate) fn release(&mut self, term: Term) -> Option<Held> {
        let ready = self.held.iter().position(|held| held.after <= self.durable)?;
        let held = self.held.remove(ready).expect("just found");
        assert_eq!(held.term, term, "messages of earlier terms are forgotten when the term grows");
        Some(held)
    }
}
