//! A voter's promise to the leader that it last heard (dissertation §4.2.3, §6.4.1).
//!
//! A voter that acknowledges a leader promises to elect no other server for the minimum election
//! timeout. A leader's lease relies on that promise. The promise is a time that the node keeps: no
//! message, term or role ends it. A leader releases its voters by a leadership transfer, and
//! revokes its lease first.

use crate::config::Config;
use crate::types::{NodeId, Term, Time};

/// The promise and its leader. After its time it still says who led that term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    /// The leader; `None` after a restart.
    to: Option<NodeId>,
    /// The term of that leader, or after a restart perhaps a higher term.
    term: Term,
    until: Time,
}

impl Promise {
    /// The promise of a server that starts in `term`. With leases, it lasts as long as any promise
    /// that the server can have made just before.
    pub(crate) fn at_start(config: &Config, term: Term, now: Time) -> Self {
        let owes = config.lease_reads && term > Term(0);
        let span = if owes { config.election_timeout_min } else { 0 };
        Self { to: None, term, until: now.after(span) }
    }

    /// Records that the leader of `term` was heard, with a promise until `until`. A late message
    /// shows who leads but promises nothing: its `until` is `None`.
    pub(crate) fn heard(&mut self, leader: NodeId, term: Term, until: Option<Time>) {
        (self.to, self.term) = (Some(leader), term);
        self.until = self.until.max(until.unwrap_or_default());
    }

    /// Whether the promise is still valid.
    pub(crate) fn holds(&self, now: Time) -> bool {
        now < self.until
    }

    /// The leader that has the promise; `None` after a restart.
    pub(crate) const fn to(&self) -> Option<NodeId> {
        self.to
    }

    /// The leader of `term`, if it is known.
    pub(crate) fn leader_of(&self, term: Term) -> Option<NodeId> {
        self.to.filter(|_| self.term == term)
    }

    /// Whether the promise forbids an election of `term`. It does not forbid an election that the
    /// leader itself asked for, in a later term than its own (dissertation §3.10).
    pub(crate) fn binds(&self, term: Term, transfer: bool, now: Time) -> bool {
        self.holds(now) && !(transfer && term > self.term)
    }
}
