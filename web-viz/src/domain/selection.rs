//! The selection. All regions share it: the stage, the matrix, the diagram, the list and the fault
//! panel mark what is selected in any of them.
//!
//! **Invariant:** The selection is in one place of the model: nothing, one thing, or several
//! servers. Regions therefore cannot disagree on it.

use std::collections::BTreeSet;

use raft_core::event::{Event, EventKind, Fault};
use raft_core::types::{EventId, LogIndex, NodeId};

use super::why::Why;

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Selection {
    #[default]
    Nothing,
    /// Never empty, in the order of selection.
    Servers(Vec<NodeId>),
    /// A message in flight, by the ID of the flight.
    Message(EventId),
    /// An event, with its chain of causes.
    Event(Why),
    /// A log index.
    Entry(LogIndex),
}

impl Selection {
    /// The server that actions apply to: the last selected one, or the server of the selected
    /// event.
    pub(crate) fn server(&self) -> Option<NodeId> {
        match self {
            Self::Servers(servers) => servers.last().copied(),
            Self::Event(why) => {
                why.event().map(|id| id.node).filter(|node| *node != NodeId::ENVIRONMENT)
            }
            Self::Nothing | Self::Message(_) | Self::Entry(_) => None,
        }
    }

    /// All selected servers.
    pub(crate) fn servers(&self) -> BTreeSet<NodeId> {
        match self {
            Self::Servers(servers) => servers.iter().copied().collect(),
            Self::Nothing | Self::Message(_) | Self::Event(_) | Self::Entry(_) => {
                self.server().into_iter().collect()
            }
        }
    }

    /// The selected message, or the message of the selected event.
    pub(crate) fn message(&self) -> Option<EventId> {
        match self {
            Self::Message(message) => Some(*message),
            Self::Event(why) => message_of(&why.chain.first()?.event),
            Self::Nothing | Self::Servers(_) | Self::Entry(_) => None,
        }
    }

    /// The selected index, or the index of the selected event.
    pub(crate) fn column(&self) -> Option<LogIndex> {
        match self {
            Self::Entry(index) => Some(*index),
            Self::Event(why) => index_of(&why.chain.first()?.event.kind),
            Self::Nothing | Self::Servers(_) | Self::Message(_) => None,
        }
    }

    /// Why the selected event happened.
    pub(crate) const fn why(&self) -> Option<&Why> {
        match self {
            Self::Event(why) => Some(why),
            Self::Nothing | Self::Servers(_) | Self::Message(_) | Self::Entry(_) => None,
        }
    }

    /// Adds a server to the selection, or removes it.
    pub(crate) fn toggle(&mut self, node: NodeId) {
        let mut servers = match std::mem::take(self) {
            Self::Servers(servers) => servers,
            Self::Nothing | Self::Message(_) | Self::Event(_) | Self::Entry(_) => Vec::new(),
        };
        let count = servers.len();
        servers.retain(|other| *other != node);
        if servers.len() == count {
            servers.push(node);
        }
        *self = Self::of(servers);
    }

    /// Deselects servers that no longer exist.
    pub(crate) fn retain(&mut self, roster: &BTreeSet<NodeId>) {
        if let Self::Servers(servers) = self {
            servers.retain(|node| roster.contains(node));
            *self = Self::of(std::mem::take(servers));
        }
    }

    pub(crate) fn of(servers: Vec<NodeId>) -> Self {
        if servers.is_empty() { Self::Nothing } else { Self::Servers(servers) }
    }
}

/// The message that an event is about, by the ID of the flight.
#[expect(clippy::wildcard_enum_match_arm, reason = "few kinds concern a message")]
pub(crate) fn message_of(event: &Event) -> Option<EventId> {
    match &event.kind {
        // Both start a flight, which has the ID of the event.
        EventKind::MessageSent(_) | EventKind::Fault(Fault::MessageCopied { .. }) => Some(event.id),
        EventKind::MessageInTransit { message, .. }
        | EventKind::MessageReceived { message, .. }
        | EventKind::MessageDropped { message, .. }
        | EventKind::Fault(Fault::MessageHeld { message }) => Some(*message),
        _ => None,
    }
}

/// The log index that an event is about.
#[expect(clippy::wildcard_enum_match_arm, reason = "few kinds concern a log index")]
pub(crate) fn index_of(kind: &EventKind) -> Option<LogIndex> {
    let index = match kind {
        EventKind::EntriesAppended { last, .. } | EventKind::SnapshotIgnored { last, .. } => {
            last.index
        }
        EventKind::LogTruncated { from, .. } => *from,
        EventKind::LogCompacted { to } => to.index,
        EventKind::WriteStarted { last_index: index, .. }
        | EventKind::WritePersisted { durable_index: index, .. }
        | EventKind::CommitAdvanced { to: index, .. }
        | EventKind::ConfigurationCommitted { index, .. }
        | EventKind::StateDiffers { index, .. } => *index,
        EventKind::ConfigurationAppended { position, .. } | EventKind::Applied { position, .. } => {
            position.index
        }
        EventKind::SnapshotSaved { meta } | EventKind::SnapshotInstalled { meta, .. } => {
            meta.last.index
        }
        _ => return None,
    };
    (index > LogIndex(0)).then_some(index)
}

#[cfg(test)]
mod tests {
    use raft_core::types::{LogPosition, Time};

    use super::*;
    use crate::domain::feed::Feed;

    fn event(kind: EventKind) -> Event {
        let id = EventId { node: NodeId(2), seq: 7 };
        Event { id, time: Time(0), cause: None, kind }
    }

    fn chosen(kind: EventKind) -> Selection {
        let mut feed = Feed::default();
        let event = event(kind);
        let id = event.id;
        feed.push(event, true);
        Selection::Event(Why::of(&feed, id).unwrap())
    }

    /// Guards that an event also selects its server, its message and its index.
    #[test]
    fn an_event_stands_for_what_it_is_about() {
        let message = EventId { node: NodeId(1), seq: 3 };
        let name = raft_core::message::MessageName::Heartbeat;
        let received = chosen(EventKind::MessageReceived { message, name });
        assert_eq!(received.server(), Some(NodeId(2)));
        assert_eq!((received.message(), received.column()), (Some(message), None));
        let applied =
            EventKind::Applied { position: LogPosition::new(1, 4), digest: 0, revision: 0 };
        let applied = chosen(applied);
        assert_eq!((applied.message(), applied.column()), (None, Some(LogIndex(4))));
        assert_eq!(chosen(EventKind::Crashed).column(), None);
    }

    /// Guards the selection of several servers: each is added and removed separately. The keys act
    /// on the last one, and any other selection replaces them.
    #[test]
    fn servers_are_chosen_together() {
        let mut selection = Selection::Message(EventId { node: NodeId(1), seq: 3 });
        selection.toggle(NodeId(3));
        selection.toggle(NodeId(1));
        assert_eq!(selection.message(), None);
        assert_eq!(selection.server(), Some(NodeId(1)));
        assert_eq!(selection.servers(), BTreeSet::from([NodeId(1), NodeId(3)]));
        selection.toggle(NodeId(1));
        assert_eq!(selection.server(), Some(NodeId(3)));
        selection.retain(&BTreeSet::from([NodeId(1)]));
        assert_eq!(selection, Selection::Nothing);
    }
}
