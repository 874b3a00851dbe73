//! Election Safety: at most one leader is elected in a term (§5.2).

use std::collections::BTreeMap;

use super::Verdict;
use crate::event::{Event, EventKind, RoleName};
use crate::types::{EventId, Term};

#[derive(Clone, Debug, Default)]
pub(super) struct ElectionSafety {
    /// The event that elected the leader of each term.
    leaders: BTreeMap<Term, EventId>,
}

impl ElectionSafety {
    pub(super) fn observe(&mut self, event: &Event) -> Verdict {
        let EventKind::RoleChanged { role: RoleName::Leader, term, .. } = &event.kind else {
            return Ok(());
        };
        let first = *self.leaders.entry(*term).or_insert(event.id);
        if first == event.id {
            return Ok(());
        }
        // This also applies to the same server: it must have forgotten its first election.
        let explanation =
            format!("{} and {} are both elected in term {term}", first.node, event.id.node);
        Err((explanation, vec![first]))
    }
}
