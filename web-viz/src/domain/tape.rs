//! A summary of a run for the scrubber: terms, leaders and turning points.

use raft_core::event::{Event, EventKind, RequestKind, RoleName};
use raft_core::types::{MILLISECOND, Micros, NodeId, Term, Time};

/// A turning point of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MarkKind {
    /// A server becomes a candidate.
    Stand,
    /// A server wins an election.
    Win,
    /// A server stops: it crashed or is frozen.
    Stop,
    /// A server runs again.
    Return,
    /// Links were cut.
    Cut,
    /// Links were mended.
    Mend,
    /// A client requests a write.
    Write,
    /// The membership changes.
    Members,
    /// A Raft property is violated.
    Violation,
}

impl MarkKind {
    /// The mark of an event; `None` for most events.
    #[expect(clippy::wildcard_enum_match_arm, reason = "few kinds of events turn a story")]
    pub(crate) const fn of(event: &Event) -> Option<Self> {
        match &event.kind {
            EventKind::RoleChanged { role: RoleName::Candidate, .. } => Some(Self::Stand),
            EventKind::RoleChanged { role: RoleName::Leader, .. } => Some(Self::Win),
            EventKind::Crashed | EventKind::Frozen | EventKind::WriteFailed { .. } => {
                Some(Self::Stop)
            }
            EventKind::Started(_) | EventKind::Thawed if event.time.0 > 0 => Some(Self::Return),
            EventKind::LinkChanged { up: false, .. } => Some(Self::Cut),
            EventKind::LinkChanged { up: true, .. } => Some(Self::Mend),
            EventKind::ClientRequest { operation: RequestKind::Write(_), .. } => Some(Self::Write),
            EventKind::ConfigurationAppended { .. } => Some(Self::Members),
            _ => None,
        }
    }
}

/// A turning point with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) kind: MarkKind,
    /// The server that it is about; the environment for links.
    pub(crate) node: NodeId,
    pub(crate) at: Time,
    /// How many events there were, including this one.
    number: u64,
}

/// A period with one term and one leader, or with no leader. It lasts until the next span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) term: Term,
    pub(crate) leader: Option<NodeId>,
    pub(crate) from: Time,
    number: u64,
}

/// Writes of a busy cluster that are closer than this share one mark.
const CROWD: Micros = 50 * MILLISECOND;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tape {
    pub(crate) spans: Vec<Span>,
    pub(crate) marks: Vec<Mark>,
}

impl Tape {
    pub(crate) fn mark(&mut self, kind: MarkKind, node: NodeId, at: Time, number: u64) {
        // A partition cuts many links at once, but gets one mark.
        let links = matches!(kind, MarkKind::Cut | MarkKind::Mend);
        let again = |mark: &Mark| mark.kind == kind && mark.at == at;
        if !(links && self.marks.last().is_some_and(again)) {
            self.marks.push(Mark { kind, node, at, number });
        }
    }

    /// Records the term and the leader after `number` events.
    pub(crate) fn leaders(&mut self, term: Term, leader: Option<NodeId>, from: Time, number: u64) {
        if self.spans.last().is_none_or(|span| (span.term, span.leader) != (term, leader)) {
            self.spans.push(Span { term, leader, from, number });
        }
    }

    /// Whether a new mark of this kind would be too close to the previous one to be distinguished.
    pub(crate) fn is_crowded(&self, kind: MarkKind, at: Time) -> bool {
        let last = self.marks.iter().rev().find(|mark| mark.kind == kind);
        last.is_some_and(|mark| at.since(mark.at) < CROWD)
    }

    /// Drops what ended before `number` events.
    pub(crate) fn forget(&mut self, number: u64) {
        self.marks.retain(|mark| mark.number > number);
        let over = self.spans.partition_point(|span| span.number <= number);
        self.spans.drain(..over.saturating_sub(1));
    }

    /// The tape as it was after `number` events.
    pub(crate) fn until(&self, number: u64) -> Self {
        let spans = self.spans.iter().take_while(|span| span.number <= number);
        let marks = self.marks.iter().take_while(|mark| mark.number <= number);
        Self { spans: spans.copied().collect(), marks: marks.copied().collect() }
    }

    /// The nearest mark before a time.
    pub(crate) fn before(&self, now: Time) -> Option<Time> {
        self.marks.iter().rev().map(|mark| mark.at).find(|at| *at < now)
    }

    /// The nearest mark after a time.
    pub(crate) fn after(&self, now: Time) -> Option<Time> {
        self.marks.iter().map(|mark| mark.at).find(|at| *at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a partition gets one mark for all its links, and that a branch does not contain
    /// the future of its parent.
    #[test]
    fn a_tape_ends_where_a_branch_parts_from_it() {
        let mut tape = Tape::default();
        tape.leaders(Term(0), None, Time(0), 3);
        tape.mark(MarkKind::Cut, NodeId(0), Time(5), 4);
        tape.mark(MarkKind::Cut, NodeId(0), Time(5), 5);
        tape.leaders(Term(1), Some(NodeId(1)), Time(9), 8);
        tape.leaders(Term(1), Some(NodeId(1)), Time(10), 9);
        tape.mark(MarkKind::Win, NodeId(1), Time(9), 8);
        assert_eq!((tape.spans.len(), tape.marks.len()), (2, 2));
        assert_eq!((tape.before(Time(9)), tape.after(Time(5))), (Some(Time(5)), Some(Time(9))));
        let parted = tape.until(7);
        assert_eq!((parted.spans.len(), parted.marks.len()), (1, 1));
    }
}
