//! What is chosen. All regions share it: whatever was chosen on the stage, in the matrix, in the
//! diagram, in the list or in the tray is marked in all of them.

use std::collections::BTreeSet;

use raft_core::event::{Event, EventKind, Fault};
use raft_core::types::{EventId, LogIndex, NodeId};

use super::why::Why;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Selection {
    #[default]
    Nothing,
    /// Never empty; in the order in which they were chosen.
    Servers(Vec<NodeId>),
    /// A message, by its name in the air.
    Message(EventId),
    /// An event, with what led to it.
    Event(Why),
    /// An index of the logs.
    Entry(LogIndex),
}

impl Selection {
    /// The server that deeds are about: the one chosen last, or that of the chosen event.
    pub(crate) fn server(&self) -> Option<NodeId> {
        match self {
            Self::Servers(servers) => servers.last().copied(),
            Self::Event(why) => {
                why.event().map(|id| id.node).filter(|node| *node != NodeId::ENVIRONMENT)
            }
            Self::Nothing | Self::Message(_) | Self::Entry(_) => None,
        }
    }

    /// All servers that are chosen.
    pub(crate) fn servers(&self) -> BTreeSet<NodeId> {
        match self {
            Self::Servers(servers) => servers.iter().copied().collect(),
            Self::Nothing | Self::Message(_) | Self::Event(_) | Self::Entry(_) => {
                self.server().into_iter().collect()
            }
        }
    }

    /// The chosen message, or that of the chosen event.
    pub(crate) fn message(&self) -> Option<EventId> {
        match self {
            Self::Message(message) => Some(*message),
            Self::Event(why) => message_of(&why.chain.first()?.event),
            Self::Nothing | Self::Servers(_) | Self::Entry(_) => None,
        }
    }

    /// The chosen index, or that of the chosen event.
    pub(crate) fn column(&self) -> Option<LogIndex> {
        match self {
            Self::Entry(index) => Some(*index),
            Self::Event(why) => index_of(&why.chain.first()?.event.kind),
            Self::Nothing | Self::Servers(_) | Self::Message(_) => None,
        }
    }

    /// Why the chosen event happened.
    pub(crate) const fn why(&self) -> Option<&Why> {
        match self {
            Self::Event(why) => Some(why),
            Self::Nothing | Self::Servers(_) | Self::Message(_) | Self::Entry(_) => None,
        }
    }

    /// Adds a server to those that are chosen, or takes it out again.
    pub(super) fn toggle(&mut self, node: NodeId) {
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

    /// Lets go of servers that are not there any more.
    pub(super) fn retain(&mut self, roster: &BTreeSet<NodeId>) {
        if let Self::Servers(servers) = self {
            servers.retain(|node| roster.contains(node));
            *self = Self::of(std::mem::take(servers));
        }
    }

    pub(super) fn of(servers: Vec<NodeId>) -> Self {
        if servers.is_empty() { Self::Nothing } else { Self::Servers(servers) }
    }
}

/// The message that an event is about, by its name in the air.
pub(crate) fn message_of(event: &Event) -> Option<EventId> {
    match &event.kind {
        // Both begin a flight, which is named by them.
        EventKind::MessageSent(_) | EventKind::Fault(Fault::MessageCopied { .. }) => Some(event.id),
        EventKind::MessageInTransit { message, .. }
        | EventKind::MessageReceived { message, .. }
        | EventKind::MessageDropped { message, .. }
        | EventKind::Fault(Fault::MessageHeld { message }) => Some(*message),
        EventKind::Fault(
            Fault::DiskStalled { .. }
            | Fault::DiskFull { .. }
            | Fault::DiskMended { .. }
            | Fault::SnapshotNotSaved { .. }
            | Fault::RecordTorn { .. }
            | Fault::BitFlipped { .. }
            | Fault::Wiped { .. }
            | Fault::ClockSet { .. },
        )
        | EventKind::Started(_)
        | EventKind::Attached(_)
        | EventKind::Crashed
        | EventKind::Frozen
        | EventKind::Thawed
        | EventKind::RoleChanged { .. }
        | EventKind::LeaderKnown { .. }
        | EventKind::TermChanged { .. }
        | EventKind::VoteGranted { .. }
        | EventKind::VoteRefused { .. }
        | EventKind::VoteCounted { .. }
        | EventKind::TimerArmed { .. }
        | EventKind::TimerFired { .. }
        | EventKind::EntriesAppended { .. }
        | EventKind::LogTruncated { .. }
        | EventKind::LogCompacted { .. }
        | EventKind::WriteStarted { .. }
        | EventKind::WritePersisted { .. }
        | EventKind::WriteFailed { .. }
        | EventKind::ConfigurationAppended { .. }
        | EventKind::ConfigurationCommitted { .. }
        | EventKind::ConfigurationRolledBack { .. }
        | EventKind::CommitAdvanced { .. }
        | EventKind::Applied { .. }
        | EventKind::SnapshotSaved { .. }
        | EventKind::SnapshotInstalled { .. }
        | EventKind::SnapshotIgnored { .. }
        | EventKind::ProgressChanged { .. }
        | EventKind::PeerDismissed { .. }
        | EventKind::PeerLostLog { .. }
        | EventKind::TransferStarted { .. }
        | EventKind::TransferAborted { .. }
        | EventKind::ClientRequest { .. }
        | EventKind::ClientAnswer { .. }
        | EventKind::ReadsConfirmed { .. }
        | EventKind::LeaseRead { .. }
        | EventKind::LinkChanged { .. }
        | EventKind::StateDiffers { .. }
        | EventKind::Summarised { .. } => None,
    }
}

/// The log index that an event is about.
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
        EventKind::Started(_)
        | EventKind::Attached(_)
        | EventKind::Crashed
        | EventKind::Frozen
        | EventKind::Thawed
        | EventKind::RoleChanged { .. }
        | EventKind::LeaderKnown { .. }
        | EventKind::TermChanged { .. }
        | EventKind::VoteGranted { .. }
        | EventKind::VoteRefused { .. }
        | EventKind::VoteCounted { .. }
        | EventKind::TimerArmed { .. }
        | EventKind::TimerFired { .. }
        | EventKind::MessageSent(_)
        | EventKind::MessageInTransit { .. }
        | EventKind::MessageReceived { .. }
        | EventKind::MessageDropped { .. }
        | EventKind::WriteFailed { .. }
        | EventKind::ConfigurationRolledBack { .. }
        | EventKind::ProgressChanged { .. }
        | EventKind::PeerDismissed { .. }
        | EventKind::PeerLostLog { .. }
        | EventKind::TransferStarted { .. }
        | EventKind::TransferAborted { .. }
        | EventKind::ClientRequest { .. }
        | EventKind::ClientAnswer { .. }
        | EventKind::ReadsConfirmed { .. }
        | EventKind::LeaseRead { .. }
        | EventKind::LinkChanged { .. }
        | EventKind::Fault(_)
        | EventKind::Summarised { .. } => return None,
    };
    (index > LogIndex(0)).then_some(index)
}

#[cfg(test)]
mod tests {
    use raft_core::types::{LogPosition, Time};

    use super::*;
    use crate::model::feed::Feed;

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

    /// Guards the one selection: an event also stands for its server, its message and its index.
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

    /// Guards the choice of several servers: each is added and taken out by itself, the last one
    /// chosen is what the keys act on, and something else lets go of all.
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
