//! The leader tells the time through the log, while anything in the state ends with it.
//!
//! Replicas must end leases and sessions at the same entry, so no clock is read while applying: the
//! leader proposes the time now and then. It is the time that the cluster has had leaders: each new
//! leader goes on from where the log left off, so no wall clock matters, and a change of leaders
//! lengthens leases rather than shortening them.

use super::Replica;
use crate::kv::Command;
use crate::types::{Micros, Time};

/// How a leader's clock maps to the store's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timekeeper {
    /// When it began, by the leader's clock …
    since: Time,
    /// … and what the store's clock said then.
    from: Micros,
    /// When it writes the next time.
    due: Time,
}

impl Replica {
    /// Begins, ends or does the leader's telling of the time.
    pub(super) fn keep_time(&mut self) {
        if !self.node.is_leader() || !self.store.needs_clock() {
            self.timekeeper = None;
            return;
        }
        let (now, interval) = (self.node.now(), self.node.config().clock_interval);
        let timekeeper = self.timekeeper.get_or_insert(Timekeeper {
            since: now,
            from: self.store.clock(),
            due: now.after(interval),
        });
        if now >= timekeeper.due {
            timekeeper.due = now.after(interval);
            let to = timekeeper.from.saturating_add(now.since(timekeeper.since));
            // While leadership is handed over nothing is taken in; the next leader goes on.
            self.node.propose(vec![Command::AdvanceClock { to }.encode()]);
        }
    }

    /// When the time is to be told next.
    pub(super) fn clock_due(&self) -> Option<Time> {
        self.timekeeper.filter(|_| !self.node.halted).map(|timekeeper| timekeeper.due)
    }
}
