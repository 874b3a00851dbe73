//! One Configuration at a Time: a leader begins no change of the members while an earlier one is
//! uncommitted (§6, dissertation §4.1).

use std::collections::BTreeMap;

use super::Verdict;
use crate::event::{Event, EventKind, RoleName};
use crate::types::{EventId, LogIndex, NodeId};

#[derive(Clone, Debug, Default)]
pub(super) struct OneConfiguration {
    servers: BTreeMap<NodeId, Server>,
}

#[derive(Clone, Debug, Default)]
struct Server {
    leads: bool,
    commit_index: LogIndex,
    /// The configurations in the server's log that it does not know to be committed.
    open: Vec<(LogIndex, EventId)>,
}

impl OneConfiguration {
    pub(super) fn observe(&mut self, event: &Event) -> Verdict {
        let node = event.id.node;
        match &event.kind {
            EventKind::Started(state) => {
                let commit_index = state.commit_index;
                self.servers.insert(node, Server { commit_index, ..Server::default() });
            }
            EventKind::RoleChanged { role, .. } => {
                self.servers.entry(node).or_default().leads = *role == RoleName::Leader;
            }
            EventKind::CommitAdvanced { to, .. } => {
                let server = self.servers.entry(node).or_default();
                server.commit_index = *to;
                server.open.retain(|(index, _)| *index > *to);
            }
            EventKind::LogTruncated { from, .. } => {
                let server = self.servers.entry(node).or_default();
                server.open.retain(|(index, _)| *index < *from);
            }
            EventKind::ConfigurationAppended { position, .. } => {
                let server = self.servers.entry(node).or_default();
                let before = server.open.last().copied();
                server.open.push((position.index, event.id));
                if let Some((index, appended)) = before.filter(|_| server.leads) {
                    let explanation = format!(
                        "{node} leads and appends a configuration at index {}, before the \
                         configuration at index {index} is committed",
                        position.index
                    );
                    return Err((explanation, vec![appended]));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
