//! The queue of what will happen, in order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use crate::event::DropReason;
use crate::snapshot::SnapshotMeta;
use crate::types::{EventId, NodeId, Time};

/// Something that is scheduled to happen.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// A message arrives at its receiver, unless it was dropped, held or delayed meanwhile.
    Arrive { message: EventId },
    /// A message ends without arriving.
    Vanish { message: EventId, why: DropReason },
    /// A server learns that a message that it sent to a peer may be lost.
    SendFailed { node: NodeId, run: u64, peer: NodeId },
    /// A server's timer may be due. `run` counts the server's starts: a happening of an earlier run
    /// is ignored.
    Tick { node: NodeId, run: u64 },
    /// A disk has finished a sync.
    Synced { node: NodeId, run: u64 },
    /// A disk has finished saving a snapshot.
    SnapshotSaved { node: NodeId, run: u64, meta: SnapshotMeta },
}

/// A queue in order of time, and at equal times in order of insertion.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    order: BinaryHeap<Reverse<(Time, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    next: u64,
}

impl Queue {
    pub(super) fn push(&mut self, time: Time, happening: Happening) {
        self.order.push(Reverse((time, self.next)));
        self.happenings.insert(self.next, happening);
        self.next += 1;
    }

    pub(super) fn pop(&mut self) -> Option<(Time, Happening)> {
        let Reverse((time, number)) = self.order.pop()?;
        let happening = self.happenings.remove(&number).expect("every number has a happening");
        Some((time, happening))
    }

    pub(super) fn next_at(&self) -> Option<Time> {
        self.order.peek().map(|Reverse((time, _))| *time)
    }
}
