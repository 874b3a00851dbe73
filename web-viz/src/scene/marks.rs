//! What a selection highlights, in whichever view it was made.

use std::collections::BTreeSet;

use raft_core::message::Body;
use raft_core::types::{EventId, LogIndex, NodeId};
use raft_core::view::Flight;

use super::grid::quorum;
use crate::domain::cluster::ClusterModel;
use crate::domain::selection::Selection;

/// Everything that the selection highlights.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Marks {
    /// The chosen servers.
    pub(crate) servers: BTreeSet<NodeId>,
    /// Servers whose disks hold the chosen index.
    pub(crate) holders: BTreeSet<NodeId>,
    pub(crate) message: Option<EventId>,
    pub(crate) event: Option<EventId>,
    /// Messages in transit that carry the chosen index.
    pub(crate) carriers: Vec<EventId>,
    /// The chosen index.
    pub(crate) column: Option<LogIndex>,
    /// The first and the last index that the chosen message carries.
    pub(crate) carried: Option<(LogIndex, LogIndex)>,
}

impl Marks {
    pub(crate) fn of(selection: &Selection, cluster: &ClusterModel) -> Self {
        let message = selection.message();
        let column = selection.column();
        let flight = message.and_then(|message| cluster.view.messages.get(&message));
        Self {
            servers: selection.servers(),
            holders: column.map(|index| holders(cluster, index)).unwrap_or_default(),
            message,
            event: selection.why().and_then(crate::domain::why::Why::event),
            carriers: column.map(|index| carriers(cluster, index)).unwrap_or_default(),
            column,
            carried: flight.and_then(carried),
        }
    }

    /// Whether the chosen message carries this index.
    pub(crate) fn carries(&self, index: LogIndex) -> bool {
        self.carried.is_some_and(|(first, last)| (first..=last).contains(&index))
    }
}

/// The servers whose disks hold the entry, voters or not.
fn holders(cluster: &ClusterModel, index: LogIndex) -> BTreeSet<NodeId> {
    let voters = quorum(cluster, index).holders;
    let learners = cluster.view.nodes.iter().filter(|(id, node)| {
        !cluster.voters().contains(id) && node.entry(index).is_some() && index <= node.durable_index
    });
    learners.map(|(id, _)| *id).chain(voters).collect()
}

/// The first and the last index of the entries that a message carries.
pub(crate) fn carried(flight: &Flight) -> Option<(LogIndex, LogIndex)> {
    let Body::AppendEntries { entries, .. } = &flight.message.body else { return None };
    Some((entries.first()?.index, entries.last()?.index))
}

fn carriers(cluster: &ClusterModel, index: LogIndex) -> Vec<EventId> {
    let flying = cluster.view.messages.iter().filter(|(_, flight)| flight.end.is_none());
    let carries = |flight: &Flight| {
        carried(flight).is_some_and(|(first, last)| (first..=last).contains(&index))
    };
    flying.filter(|(_, flight)| carries(flight)).map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use raft_core::event::EventKind;
    use raft_core::log::{Entry, Payload};
    use raft_core::message::Message;
    use raft_core::types::{LogPosition, Term, WriteId};

    use super::*;
    use crate::domain::testing::Script;

    /// Guards that stage and matrix share one selection: an index marks its holders and carriers, a
    /// message marks the indexes that it carries.
    #[test]
    fn an_index_marks_its_holders_and_its_carriers() {
        let entry = Entry { term: Term(1), index: LogIndex(1), payload: Payload::Noop };
        let last = LogPosition::new(1, 1);
        let appended = EventKind::EntriesAppended { last, entries: vec![entry.clone()].into() };
        let durable = EventKind::WritePersisted { write: WriteId(1), durable_index: LogIndex(1) };
        let script = Script::new(3).leader(1, 1).event(1, appended).event(1, durable);
        let seq = script.events().len() as u64;
        let body = Body::AppendEntries {
            prev_log: LogPosition::ZERO,
            entries: vec![entry].into(),
            leader_commit: LogIndex(0),
            round: 1,
        };
        let (from, to) = (NodeId(1), NodeId(2));
        let sent = EventKind::MessageSent(Message { from, to, seq, term: Term(1), body });
        let cluster = script.event(1, sent).cluster();
        let id = EventId { node: from, seq };

        let marks = Marks::of(&Selection::Entry(LogIndex(1)), &cluster);
        assert_eq!(marks.holders, BTreeSet::from([NodeId(1)]));
        assert_eq!(marks.carriers, [id]);
        assert!(marks.servers.is_empty());
        let marks = Marks::of(&Selection::Message(id), &cluster);
        assert!(marks.carries(LogIndex(1)) && !marks.carries(LogIndex(2)));
        assert_eq!(marks.message, Some(id));
        assert_eq!(Marks::of(&Selection::Nothing, &cluster), Marks::default());
    }
}
