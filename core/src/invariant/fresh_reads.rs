//! Linearizability of reads, as it happens: a read sees everything that was answered to any client
//! before it was asked (§8). The whole history, writes and values included, is judged by
//! [`crate::history`] at the end of a run.

use std::collections::BTreeMap;

use super::Verdict;
use crate::event::{Event, EventKind, Operation, Outcome};
use crate::types::{EventId, LogIndex, NodeId, RequestId};

#[derive(Clone, Debug, Default)]
pub(super) struct FreshReads {
    /// The furthest that any client knows of, and the answer that told it.
    known: Option<(LogIndex, EventId)>,
    /// What was known when each read was asked that waits.
    waiting: BTreeMap<(NodeId, RequestId), (LogIndex, EventId)>,
}

impl FreshReads {
    pub(super) fn observe(&mut self, event: &Event) -> Verdict {
        let node = event.id.node;
        match &event.kind {
            EventKind::ClientRequest { request, operation: Operation::Read } => {
                if let Some(known) = self.known {
                    self.waiting.insert((node, *request), known);
                }
                Ok(())
            }
            EventKind::ClientAnswer { request, outcome } => {
                let asked = self.waiting.remove(&(node, *request));
                match outcome {
                    Outcome::Applied { position, .. } => self.learn(position.index, event.id),
                    Outcome::ReadReady { read_index } => {
                        self.learn(*read_index, event.id);
                        return seen(node, *read_index, asked);
                    }
                    _ => {}
                }
                Ok(())
            }
            EventKind::Crashed => {
                self.waiting.retain(|(asked, _), _| *asked != node);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn learn(&mut self, index: LogIndex, event: EventId) {
        if self.known.is_none_or(|(known, _)| index > known) {
            self.known = Some((index, event));
        }
    }
}

fn seen(node: NodeId, read_index: LogIndex, asked: Option<(LogIndex, EventId)>) -> Verdict {
    match asked {
        Some((known, by)) if known > read_index => {
            let explanation = format!(
                "{node} lets a read see the state up to index {read_index}, though index {known} was \
                 answered to a client before the read was asked"
            );
            Err((explanation, vec![by]))
        }
        Some(_) | None => Ok(()),
    }
}
