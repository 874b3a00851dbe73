//! What a voter owes to the leader that it heard last (dissertation §4.2.3, §6.4.1).
//!
//! Whoever acknowledges a leader promises to elect nobody else for the shortest election timeout. A
//! leader's lease rests on that. The promise is a time, kept by the node itself: no message, term
//! or role ends it. A leader lets its voters off by handing over, and revokes its lease first.

use crate::config::Config;
use crate::types::{NodeId, Term, Time};

/// The promise, and to whom. Once its time is over it still tells who led that term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    /// The leader; `None` after a restart, which forgets it.
    to: Option<NodeId>,
    /// The term of that leader, or one above it.
    term: Term,
    until: Time,
}

impl Promise {
    /// What a server owes that starts in `term`: where leases are in use, as much as it can have
    /// promised just before.
    pub(crate) fn at_start(config: &Config, term: Term, now: Time) -> Self {
        let owes = config.lease_reads && term > Term(0);
        let span = if owes { config.election_timeout_min } else { 0 };
        Self { to: None, term, until: now.after(span) }
    }

    /// The leader of `term` was heard, and promised to until then. A message that was long on its
    /// way tells who leads and binds nobody: its `until` is `None`.
    pub(crate) fn heard(&mut self, leader: NodeId, term: Term, until: Option<Time>) {
        (self.to, self.term) = (Some(leader), term);
        self.until = self.until.max(until.unwrap_or_default());
    }

    /// Whether it stands.
    pub(crate) fn holds(&self, now: Time) -> bool {
        now < self.until
    }

    /// To whom; `None` where that was forgotten.
    pub(crate) const fn to(&self) -> Option<NodeId> {
        self.to
    }

    /// The leader of `term`, if it is known.
    pub(crate) fn leader_of(&self, term: Term) -> Option<NodeId> {
        self.to.filter(|_| self.term == term)
    }

    /// Whether it stands against an election of `term`. One that the leader itself asked for is of a
    /// later term than its own (dissertation §3.10).
    pub(crate) fn binds(&self, term: Term, transfer: bool, now: Time) -> bool {
        self.holds(now) && !(transfer && term > self.term)
    }
}
