//! The first events of a trace whose beginning was dropped. They restore the state at that point.

use raft_core::event::{Event, EventKind, Fault};
use raft_core::types::{EventId, NodeId, Time};
use raft_core::view::{ClusterView, DiskHealth, Liveness};

/// Sequence numbers of these events, far above the servers' own numbers.
const NUMBERS: u64 = 1 << 47;

/// The events that restore the state `view` at `time`.
pub(super) fn events(view: &ClusterView, time: Time) -> Vec<Event> {
    let mut kinds = Vec::new();
    for (id, node) in &view.nodes {
        kinds.push((*id, EventKind::Attached(Box::new(node.state()))));
        kinds.extend(match node.liveness {
            Liveness::Up => None,
            Liveness::Down => Some((*id, EventKind::Crashed)),
            Liveness::Frozen => Some((*id, EventKind::Frozen)),
        });
        let fault = match node.disk {
            DiskHealth::Well => None,
            DiskHealth::Stalled => Some(Fault::DiskStalled { node: *id }),
            DiskHealth::Full => Some(Fault::DiskFull { node: *id }),
        };
        kinds.extend(fault.map(|fault| (NodeId::ENVIRONMENT, EventKind::Fault(fault))));
    }
    let cut = view.cut_links.iter().map(|(from, to)| {
        (NodeId::ENVIRONMENT, EventKind::LinkChanged { from: *from, to: *to, up: false })
    });
    let kinds = kinds.into_iter().chain(cut);
    let event = |(number, (node, kind))| {
        let id = EventId { node, seq: NUMBERS + number };
        Event { id, time, cause: None, kind }
    };
    (0..).zip(kinds).map(event).collect()
}
