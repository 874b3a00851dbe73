//! Exactly Once: a request of a session takes effect once, however often the log contains it (§8;
//! dissertation §6.3).

use std::collections::BTreeMap;

use super::Verdict;
use crate::event::{Event, EventKind};
use crate::kv::Command;
use crate::log::Payload;
use crate::types::{EventId, LogIndex, LogPosition, NodeId, SessionId};

/// A session and the number of a request in it.
type Request = (SessionId, u64);

#[derive(Clone, Debug, Default)]
pub(super) struct ExactlyOnce {
    /// The session requests in the logs, by position.
    requests: BTreeMap<LogPosition, Request>,
    /// Where each request was first applied, by any server.
    first: BTreeMap<Request, (LogIndex, EventId)>,
    /// The revision of each server's state.
    revisions: BTreeMap<NodeId, u64>,
}

impl ExactlyOnce {
    pub(super) fn observe(&mut self, event: &Event) -> Verdict {
        let node = event.id.node;
        match &event.kind {
            EventKind::Started(state) | EventKind::Attached(state) => {
                self.revisions.insert(node, state.revision);
                Ok(())
            }
            EventKind::EntriesAppended { entries, .. } => {
                for entry in entries {
                    if let Payload::Command(command) = &entry.payload
                        && let Some(request) = Command::request_of_session(command)
                    {
                        self.requests.insert(entry.position(), request);
                    }
                }
                Ok(())
            }
            EventKind::Applied { position, revision, .. } => {
                let before = self.revisions.insert(node, *revision);
                let Some(request) = self.requests.get(position) else { return Ok(()) };
                let (first, by) = *self.first.entry(*request).or_insert((position.index, event.id));
                let changed = before.is_some_and(|before| before != *revision);
                if position.index == first || !changed {
                    return Ok(());
                }
                let (session, sequence) = request;
                let explanation = format!(
                    "request {sequence} of session {session} took effect at index {first}, and \
                     again at index {} on {node}",
                    position.index
                );
                Err((explanation, vec![by]))
            }
            _ => Ok(()),
        }
    }
}
