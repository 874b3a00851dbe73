//! The leader advances the replicated clock through the log, while anything in the state expires.
//!
//! Replicas must expire leases and sessions at the same entry, so they read no clock while they
//! apply. Instead the leader proposes the time regularly. The clock counts the time during which
//! the cluster had leaders. Each new leader continues from the time in the log, so wall clocks do
//! not matter. A change of leaders lengthens leases and never shortens them.
//!
//! A lease counts from the second clock entry after its grant (`kv/expiry.rs`). The leader proposes
//! that entry only after it has applied the first one, and the grant before it. It therefore reads
//! its clock after it answered the grant, so no lease ends earlier than its TTL after the answer.

use super::Replica;
use crate::kv::Command;
use crate::types::{Micros, Time};

/// While a lease does not count yet, the time is proposed more often by this factor. The wait
/// lengthens the lease.
const HASTE: u64 = 5;

/// Maps the leader's clock to the store's clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timekeeper {
    /// The leader's clock when it became the timekeeper.
    since: Time,
    /// The store's clock at that moment.
    from: Micros,
    /// When the leader last proposed the time.
    told_at: Time,
    /// The time that it proposed; the store's clock if the proposal failed.
    told: Micros,
}

impl Replica {
    /// Starts or stops the timekeeping of the leader, and proposes the time if that is due.
    pub(super) fn keep_time(&mut self) {
        // A new leader must first apply the clock entries of earlier leaders.
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
        // A leader that is transferring leadership accepts no proposals; the next leader continues.
        let proposed = self.node.propose(vec![Command::AdvanceClock { to }.encode()]);
        let told = if proposed.is_some() { to } else { clock };
        self.timekeeper = Some(Timekeeper { since, from, told_at: now, told });
    }

    /// When the next clock entry is due; `None` while the last one is pending.
    pub(super) fn clock_due(&self) -> Option<Time> {
        let timekeeper =
            self.timekeeper.filter(|it| !self.node.halted && it.told <= self.store.clock())?;
        let interval = self.node.config().clock_interval;
        let hasty = self.store.has_uncounted_lease();
        let pause = if hasty { (interval / HASTE).max(1) } else { interval };
        Some(timekeeper.told_at.after(pause))
    }
}
