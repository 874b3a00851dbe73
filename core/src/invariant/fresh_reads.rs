//! Linearizability of reads, checked during the run: a read sees everything that any client knew
//! before the read was requested (§8). At the end of a run, [`crate::history`] checks the whole
//! history, including writes and values.

use std::collections::BTreeMap;

use super::Verdict;
use crate::event::{Event, EventKind, Outcome, RequestKind};
use crate::types::{EventId, LogIndex, NodeId, RequestId};

#[derive(Clone, Debug, Default)]
pub(super) struct FreshReads {
    /// The highest index that any client knows, and the answer that revealed it.
    known: Option<(LogIndex, EventId)>,
    /// For each pending read, what was known when it was requested.
    waiting: BTreeMap<(NodeId, RequestId), (LogIndex, EventId)>,
}

impl FreshReads {
    pub(super) fn observe(&mut self, event: &Event) -> Verdict {
        let node = event.id.node;
        match &event.kind {
            EventKind::ClientRequest { request, operation: RequestKind::Read } => {
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
                "{node} lets a read see the state up to index {read_index}. A client had an answer \
                 from index {known} before that read"
            );
            Err((explanation, vec![by]))
        }
        Some(_) | None => Ok(()),
    }
}
