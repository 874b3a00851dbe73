//! State Agreement: after the same entry all servers have the same state (§5.4.3, §7). State
//! Machine Safety checks that the entries are the same.

use std::collections::BTreeMap;

use super::Verdict;
use crate::event::{Event, EventKind};
use crate::types::{EventId, LogPosition};

#[derive(Clone, Debug, Default)]
pub(super) struct StateAgreement {
    digests: BTreeMap<LogPosition, (u64, EventId)>,
}

impl StateAgreement {
    pub(super) fn observe(&mut self, event: &Event) -> Verdict {
        match &event.kind {
            EventKind::Applied { position, digest, .. } => self.state(event, *position, *digest),
            EventKind::SnapshotInstalled { meta, digest } => self.state(event, meta.last, *digest),
            _ => Ok(()),
        }
    }

    fn state(&mut self, event: &Event, position: LogPosition, digest: u64) -> Verdict {
        let (first, by) = *self.digests.entry(position).or_insert((digest, event.id));
        if first == digest {
            return Ok(());
        }
        let explanation = format!(
            "after index {position} the state of {} has digest {first:016x}, and that of {} has \
             {digest:016x}",
            by.node, event.id.node
        );
        Err((explanation, vec![by]))
    }
}
