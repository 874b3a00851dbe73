//! Log Matching: logs that contain an entry with the same index and term are equal up to it (§5.3).
//!
//! By induction it is enough that entries with the same index and term always have the same content
//! and the same previous term.

use std::collections::BTreeMap;

use super::Verdict;
use super::logs::Logs;
use crate::event::{Event, EventKind};
use crate::log::Payload;
use crate::types::{EventId, LogPosition, Term};

#[derive(Clone, Debug, Default)]
pub(super) struct LogMatching {
    entries: BTreeMap<LogPosition, Seen>,
}

/// The first observation of an entry.
#[derive(Clone, Debug)]
struct Seen {
    payload: Payload,
    previous_term: Term,
    event: EventId,
}

impl LogMatching {
    pub(super) fn observe(&mut self, event: &Event, logs: &Logs) -> Verdict {
        let EventKind::EntriesAppended { entries, .. } = &event.kind else { return Ok(()) };
        let mut previous =
            logs.of(event.id.node).map_or(LogPosition::ZERO, super::logs::TermLog::last);
        for entry in entries {
            let position = entry.position();
            let seen = self.entries.entry(position).or_insert_with(|| Seen {
                payload: entry.payload.clone(),
                previous_term: previous.term,
                event: event.id,
            });
            let (first, node) = (seen.event, event.id.node);
            if seen.payload != entry.payload {
                let explanation =
                    format!("{} and {node} hold different entries at index {position}", first.node);
                return Err((explanation, vec![first]));
            }
            if seen.previous_term != previous.term {
                let explanation = format!(
                    "{} and {node} hold the same entry at index {position}, after entries of \
                     different terms, {} and {}",
                    first.node, seen.previous_term, previous.term
                );
                return Err((explanation, vec![first]));
            }
            previous = position;
        }
        Ok(())
    }
}
