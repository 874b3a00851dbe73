//! The leader tells the time through the log, while anything in the state ends with it.
//!
//! Replicas must end leases and sessions at the same entry, so no clock is read while applying: the
//! leader proposes the time now and then. It is the time that the cluster has had leaders: each new
//! leader goes on from where the log left off, so no wall clock matters, and a change of leaders
//! lengthens leases rather than shortening them.
//!
//! A lease counts from the second telling after it was granted (`kv/expiry.rs`). The leader proposes
//! that one only when it has applied the first, and the grant before it: so it reads its clock for it
//! after it answered, and no lease ends before its time has passed since the answer.

use super::Replica;
use crate::kv::Command;
use crate::types::{Micros, Time};

/// While a lease does not count yet the time is told so much more often, since what comes before
/// lengthens the lease.
const HASTE: u64 = 5;

/// How a leader's clock maps to the store's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timekeeper {
    /// When it began, by the leader's clock …
    since: Time,
    /// … and what the store's clock said then.
    from: Micros,
    /// When it told the time last.
    told_at: Time,
    /// What it told then.
    told: Micros,
}

impl Replica {
    /// Begins, ends or does the leader's telling of the time.
    pub(super) fn keep_time(&mut self) {
        // A new leader first applies what earlier ones told.
        let leads = self.node.is_leader() && self.last_applied.term == self.node.current_term();
        if !leads || !self.store.needs_clock() {
            self.timekeeper = None;
            return;
        }
        let (now, clock) = (self.node.now(), self.store.clock());
        let started = Timekeeper { since: now, from: clock, told_at: now, told: clock };
        let Timekeeper { since, from, .. } = *self.timekeeper.get_or_insert(started);
        if self.clock_due().is_none_or(|due| now < due) {
            return;
        }
        let to = from.saturating_add(now.since(since));
        // While leadership is handed over nothing is taken in; the next leader goes on.
        let proposed = self.node.propose(vec![Command::AdvanceClock { to }.encode()]);
        let told = if proposed.is_some() { to } else { clock };
        self.timekeeper = Some(Timekeeper { since, from, told_at: now, told });
    }

    /// When the time is to be told next; `None` while the last telling is on its way.
    pub(super) fn clock_due(&self) -> Option<Time> {
        let timekeeper =
            self.timekeeper.filter(|it| !self.node.halted && it.told <= self.store.clock())?;
        let interval = self.node.config().clock_interval;
        let hasty = self.store.has_uncounted_lease();
        let pause = if hasty { (interval / HASTE).max(1) } else { interval };
        Some(timekeeper.told_at.after(pause))
    }
}
