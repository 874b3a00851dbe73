//! Leader Completeness: an entry committed in a term is in the logs of the leaders of all later
//! terms (§5.4).

use std::collections::BTreeMap;

use super::Verdict;
use super::logs::{Logs, TermLog};
use crate::event::{CommitReason, Event, EventKind, RoleName};
use crate::types::{EventId, LogIndex, Term};

#[derive(Clone, Debug, Default)]
pub(super) struct LeaderCompleteness {
    committed: BTreeMap<LogIndex, Committed>,
    /// The latest elected leaders, by term.
    leaders: BTreeMap<Term, Elected>,
}

/// The number of elections that are remembered. A leader deposed longer ago commits nothing.
const ELECTIONS: usize = 32;

#[derive(Clone, Debug)]
struct Elected {
    by: EventId,
    /// The leader's log at its election. It only grows while the leader leads; what its disk loses
    /// later does not matter here.
    log: TermLog,
}

#[derive(Clone, Copy, Debug)]
struct Committed {
    /// The term of the entry.
    entry_term: Term,
    /// The term in which a leader committed it.
    in_term: Term,
    by: EventId,
}

impl LeaderCompleteness {
    pub(super) fn observe(&mut self, event: &Event, logs: &Logs) -> Verdict {
        match &event.kind {
            EventKind::RoleChanged { role: RoleName::Leader, term, .. } => {
                let log = logs.of(event.id.node).cloned().unwrap_or_default();
                self.leaders.insert(*term, Elected { by: event.id, log });
                if self.leaders.len() > ELECTIONS {
                    self.leaders.pop_first();
                }
                self.elected(event, *term, logs)
            }
            EventKind::CommitAdvanced { from, to, why: CommitReason::Majority(_) } => {
                self.committed(event, (*from, *to), logs)
            }
            _ => Ok(()),
        }
    }

    /// Checks entries that a leader commits.
    fn committed(&mut self, event: &Event, range: (LogIndex, LogIndex), logs: &Logs) -> Verdict {
        let node = event.id.node;
        let Some(log) = logs.of(node) else { return Ok(()) };
        let term = self.leaders.iter().rev().find(|(_, it)| it.by.node == node);
        let Some((&in_term, _)) = term else { return Ok(()) };
        for index in (range.0.0 + 1..=range.1.0).map(LogIndex) {
            let Some(entry_term) = log.term_at(index) else { continue };
            let known = *self.committed.entry(index).or_insert(Committed {
                entry_term,
                in_term,
                by: event.id,
            });
            if known.entry_term != entry_term {
                let explanation = format!(
                    "{} committed index {index} of term {}, and {node} commits index {index} of \
                     term {entry_term}",
                    known.by.node, known.entry_term
                );
                return Err((explanation, vec![known.by]));
            }
            self.held_by_later_leaders(known, index)?;
        }
        Ok(())
    }

    /// A deposed leader must not commit what its successors do not hold.
    fn held_by_later_leaders(&self, entry: Committed, index: LogIndex) -> Verdict {
        for (later, Elected { by: election, log }) in self.leaders.range(entry.in_term.next()..) {
            if index > log.base().index && log.term_at(index) != Some(entry.entry_term) {
                let explanation = format!(
                    "{} commits index {index} of term {} in term {}, but {} leads term {later} \
                     without it",
                    entry.by.node, entry.entry_term, entry.in_term, election.node
                );
                return Err((explanation, vec![*election]));
            }
        }
        Ok(())
    }

    /// A new leader must hold all entries that were committed in earlier terms.
    fn elected(&self, event: &Event, term: Term, logs: &Logs) -> Verdict {
        let node = event.id.node;
        let Some(log) = logs.of(node) else { return Ok(()) };
        for (index, committed) in self.committed.range(log.base().index.next()..) {
            if committed.in_term < term && log.term_at(*index) != Some(committed.entry_term) {
                let explanation = format!(
                    "{node} leads term {term} without index {index} of term {}, which {} committed",
                    committed.entry_term, committed.by.node
                );
                return Err((explanation, vec![committed.by]));
            }
        }
        Ok(())
    }
}
