//! Numbers events and keeps them until the driver takes them.

use crate::event::{Event, EventKind};
use crate::types::{EventId, NodeId, Time};

/// Records the events of a server. Without subscribers an event only increments the sequence
/// number.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    node: NodeId,
    next_seq: u64,
    listening: bool,
    /// The cause of the events that follow.
    cause: Option<EventId>,
    now: Time,
    pub(crate) events: Vec<Event>,
}

impl Recorder {
    pub(crate) const fn new(node: NodeId, first_seq: u64, listening: bool, now: Time) -> Self {
        Self { node, next_seq: first_seq, listening, cause: None, now, events: Vec::new() }
    }

    /// Starts the record of one input.
    pub(crate) const fn begin(&mut self, now: Time) {
        self.now = now;
        self.cause = None;
    }

    /// Records the event that `kind` builds, if there is a subscriber.
    pub(crate) fn emit(&mut self, kind: impl FnOnce() -> EventKind) -> EventId {
        let id = self.next_id();
        if self.listening {
            self.events.push(Event { id, time: self.now, cause: self.cause, kind: kind() });
        }
        id
    }

    /// Records an event as the cause of the events that follow.
    pub(crate) fn emit_cause(&mut self, kind: impl FnOnce() -> EventKind) -> EventId {
        let id = self.emit(kind);
        self.cause = Some(id);
        id
    }

    /// Sets the cause of the events that follow.
    pub(crate) const fn set_cause(&mut self, cause: Option<EventId>) {
        self.cause = cause;
    }

    pub(crate) const fn cause(&self) -> Option<EventId> {
        self.cause
    }

    pub(crate) const fn listen(&mut self, listening: bool) {
        self.listening = listening;
    }

    pub(crate) const fn listening(&self) -> bool {
        self.listening
    }

    /// The number of the next event.
    pub(crate) const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    const fn next_id(&mut self) -> EventId {
        let id = EventId { node: self.node, seq: self.next_seq };
        self.next_seq += 1;
        id
    }
}
