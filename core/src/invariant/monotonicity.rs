//! Monotonicity: a server's term, commit index and applied index never go back while it runs (§5.1,
//! figure 2). After a restart its term is not below the terms that it has sent.

use std::collections::BTreeMap;

use super::Verdict;
use crate::event::{Event, EventKind, Fault};
use crate::types::{EventId, LogIndex, NodeId, Term};

#[derive(Clone, Debug, Default)]
pub(super) struct Monotonicity {
    servers: BTreeMap<NodeId, Reached>,
}

/// How far a server has come, with the events that showed it.
#[derive(Clone, Copy, Debug)]
struct Reached {
    term: (Term, EventId),
    commit_index: (LogIndex, EventId),
    last_applied: (LogIndex, EventId),
    /// The highest term in a message that the server sent.
    said: (Term, EventId),
}

impl Monotonicity {
    pub(super) fn observe(&mut self, event: &Event) -> Verdict {
        if let EventKind::Fault(Fault::Wiped { node }) = &event.kind {
            self.servers.remove(node);
            return Ok(());
        }
        let (id, node) = (event.id, event.id.node);
        let blank = Reached {
            term: (Term(0), id),
            commit_index: (LogIndex(0), id),
            last_applied: (LogIndex(0), id),
            said: (Term(0), id),
        };
        match &event.kind {
            EventKind::Started(state) => {
                let server = self.servers.entry(node).or_insert(blank);
                let said = server.said;
                *server = Reached {
                    term: (state.term, id),
                    commit_index: (state.commit_index, id),
                    last_applied: (state.last_applied, id),
                    said,
                };
                grows(node, "term", said, state.term)
            }
            EventKind::MessageSent(message) => {
                let server = self.servers.entry(node).or_insert(blank);
                if message.term > server.said.0 {
                    server.said = (message.term, id);
                }
                Ok(())
            }
            EventKind::TermChanged { to, .. } => {
                let server = self.servers.entry(node).or_insert(blank);
                let before = std::mem::replace(&mut server.term, (*to, id));
                grows(node, "term", before, *to)
            }
            EventKind::CommitAdvanced { to, .. } => {
                let server = self.servers.entry(node).or_insert(blank);
                let before = std::mem::replace(&mut server.commit_index, (*to, id));
                grows(node, "commit index", before, *to)
            }
            EventKind::Applied { position, .. } => {
                let server = self.servers.entry(node).or_insert(blank);
                let before = std::mem::replace(&mut server.last_applied, (position.index, id));
                grows(node, "applied index", before, position.index)
            }
            EventKind::SnapshotInstalled { meta, .. } => {
                let server = self.servers.entry(node).or_insert(blank);
                let before = std::mem::replace(&mut server.last_applied, (meta.last.index, id));
                grows(node, "applied index", before, meta.last.index)
            }
            _ => Ok(()),
        }
    }
}

fn grows<T: Copy + Ord + std::fmt::Display>(
    node: NodeId,
    what: &str,
    (before, event): (T, EventId),
    now: T,
) -> Verdict {
    if now >= before {
        return Ok(());
    }
    Err((format!("the {what} of {node} goes back from {before} to {now}"), vec![event]))
}
