//! State Machine Safety: servers apply the same entry at the same index (§5.4.3), and so have the
//! same state after it.

use std::collections::BTreeMap;

use super::Verdict;
use crate::event::{Event, EventKind};
use crate::types::{EventId, LogIndex, LogPosition};

#[derive(Clone, Debug, Default)]
pub(super) struct StateMachineSafety {
    applied: BTreeMap<LogIndex, Applied>,
}

#[derive(Clone, Copy, Debug)]
struct Applied {
    position: LogPosition,
    digest: u64,
    event: EventId,
}

impl StateMachineSafety {
    pub(super) fn observe(&mut self, event: &Event) -> Verdict {
        match &event.kind {
            EventKind::Applied { position, digest, .. } => self.applied(event, *position, *digest),
            EventKind::SnapshotInstalled { meta, digest } => {
                self.applied(event, meta.last, *digest)
            }
            _ => Ok(()),
        }
    }

    fn applied(&mut self, event: &Event, position: LogPosition, digest: u64) -> Verdict {
        let now = Applied { position, digest, event: event.id };
        let first = *self.applied.entry(position.index).or_insert(now);
        let (other, node) = (first.event.node, event.id.node);
        if first.position != position {
            let explanation = format!(
                "{other} applied index {} and {node} applied index {position}",
                first.position
            );
            return Err((explanation, vec![first.event]));
        }
        if first.digest != digest {
            let explanation = format!(
                "after index {position} the state of {other} is {:016x}, that of {node} {digest:016x}",
                first.digest
            );
            return Err((explanation, vec![first.event]));
        }
        Ok(())
    }
}
