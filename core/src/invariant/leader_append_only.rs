//! Leader Append-Only: a leader never overwrites or removes entries of its log (§5.3).

use std::collections::BTreeMap;

use super::Verdict;
use crate::event::{Event, EventKind, RoleName};
use crate::types::{EventId, NodeId};

#[derive(Clone, Debug, Default)]
pub(super) struct LeaderAppendOnly {
    /// The current leaders, with the event of their election.
    leading: BTreeMap<NodeId, EventId>,
}

impl LeaderAppendOnly {
    pub(super) fn observe(&mut self, event: &Event) -> Verdict {
        let node = event.id.node;
        match &event.kind {
            EventKind::RoleChanged { role: RoleName::Leader, .. } => {
                self.leading.insert(node, event.id);
            }
            EventKind::RoleChanged { .. } | EventKind::Crashed | EventKind::Started(_) => {
                self.leading.remove(&node);
            }
            EventKind::LogTruncated { from, .. } => {
                if let Some(election) = self.leading.get(&node) {
                    let explanation =
                        format!("{node} leads and removes its entries from index {from} on");
                    return Err((explanation, vec![*election]));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
