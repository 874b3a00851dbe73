//! State Machine Safety: servers apply the same entry at the same index (§5.4.3). State Agreement
//! checks that they have the same state after it.

use std::collections::BTreeMap;

use super::Verdict;
use crate::event::{Event, EventKind};
use crate::types::{EventId, LogIndex, LogPosition};

#[derive(Clone, Debug, Default)]
pub(super) struct StateMachineSafety {
    applied: BTreeMap<LogIndex, (LogPosition, EventId)>,
}

impl StateMachineSafety {
    pub(super) fn observe(&mut self, event: &Event) -> Verdict {
        match &event.kind {
            EventKind::Applied { position, .. } => self.applied(event, *position),
            EventKind::SnapshotInstalled { meta, .. } => self.applied(event, meta.last),
            _ => Ok(()),
        }
    }

    fn applied(&mut self, event: &Event, position: LogPosition) -> Verdict {
        let (first, by) = *self.applied.entry(position.index).or_insert((position, event.id));
        if first == position {
            return Ok(());
        }
        let (other, node) = (by.node, event.id.node);
        Err((
            format!("{other} applied index {first} and {node} applied index {position}"),
            vec![by],
        ))
    }
}
