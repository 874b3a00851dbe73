//! The logs of all servers, derived from their events, for properties that concern logs.

use std::collections::BTreeMap;

use crate::event::{Event, EventKind};
use crate::types::{LogIndex, LogPosition, NodeId, Term};

/// The log of each server.
#[derive(Clone, Debug, Default)]
pub(super) struct Logs(BTreeMap<NodeId, TermLog>);

/// The terms of one log's entries.
#[derive(Clone, Debug, Default)]
pub(super) struct TermLog {
    base: LogPosition,
    terms: Vec<Term>,
}

impl TermLog {
    pub(super) fn last(&self) -> LogPosition {
        let index = LogIndex(self.base.index.0 + self.terms.len() as u64);
        LogPosition { term: self.terms.last().copied().unwrap_or(self.base.term), index }
    }

    pub(super) const fn base(&self) -> LogPosition {
        self.base
    }

    /// The term at `index`; `None` outside the log.
    pub(super) fn term_at(&self, index: LogIndex) -> Option<Term> {
        let offset = index.0.checked_sub(self.base.index.0 + 1)?;
        self.terms.get(usize::try_from(offset).ok()?).copied()
    }

    fn keep(&mut self, last: LogIndex) {
        let kept = last.0.saturating_sub(self.base.index.0);
        self.terms.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    fn compact(&mut self, to: LogPosition) {
        if self.term_at(to.index) == Some(to.term) {
            let gone = usize::try_from(to.index.0 - self.base.index.0).unwrap_or(usize::MAX);
            self.terms.drain(..gone);
        } else if to != self.base {
            self.terms.clear();
        }
        self.base = to;
    }
}

impl Logs {
    pub(super) fn of(&self, node: NodeId) -> Option<&TermLog> {
        self.0.get(&node)
    }

    pub(super) fn observe(&mut self, event: &Event) {
        match &event.kind {
            EventKind::Started(state) | EventKind::Attached(state) => {
                let first = state.entries.first().map_or(state.last.index.next(), |it| it.index);
                // Before the shown entries, only the term of the base is known.
                let term = if first == state.base.index.next() { state.base.term } else { Term(0) };
                let base = LogPosition { term, index: first.previous() };
                let terms = state.entries.iter().map(|entry| entry.term).collect();
                self.0.insert(event.id.node, TermLog { base, terms });
            }
            EventKind::EntriesAppended { entries, .. } => {
                let log = self.0.entry(event.id.node).or_default();
                log.terms.extend(entries.iter().map(|entry| entry.term));
            }
            EventKind::LogTruncated { last, .. } => {
                self.0.entry(event.id.node).or_default().keep(last.index);
            }
            EventKind::LogCompacted { to } => {
                self.0.entry(event.id.node).or_default().compact(*to);
            }
            _ => {}
        }
    }
}
