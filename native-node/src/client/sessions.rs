//! Sessions, in which a write takes effect once however often it is sent (§8).
//!
//! A session answers for one request at a time, so there are as many as there are writes under way.
//! Each is opened when it is first needed and lasts from use to use; one that lay idle for long is
//! forgotten here before the cluster forgets it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Sessions that wait for their next use, at most; others end by themselves.
const MAX_IDLE: usize = 256;

/// The sessions that are not in use.
#[derive(Debug)]
pub(super) struct Sessions {
    ttl: Duration,
    idle: Mutex<Vec<Session>>,
}

/// A session, which whoever holds it has for himself.
#[derive(Debug)]
pub(super) struct Session {
    id: u64,
    /// The number of the last request.
    sequence: u64,
    used: Instant,
}

/// Session and number of one request: the same each time that it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) session: u64,
    pub(super) sequence: u64,
}

impl Sessions {
    /// Those that last so long after each use.
    pub(super) const fn new(ttl: Duration) -> Self {
        Self { ttl, idle: Mutex::new(Vec::new()) }
    }

    /// How long a session lasts after each use.
    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session that certainly still exists, unless the cluster was restored to an earlier state.
    pub(super) fn take(&self) -> Option<Session> {
        // The time by which the cluster ends them stands still while nobody leads, and never runs
        // ahead of ours by more than clocks drift: half of the time is far from the edge.
        let fresh = self.ttl / 2;
        let mut idle = self.idle();
        idle.retain(|session| session.used.elapsed() < fresh);
        idle.pop()
    }

    /// Puts it back for the next use.
    pub(super) fn give_back(&self, session: Session) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push(session);
        }
    }

    /// All that are not in use, to be closed.
    pub(super) fn take_all(&self) -> Vec<u64> {
        self.idle().drain(..).map(|session| session.id).collect()
    }
}

impl Session {
    /// One that was just opened.
    pub(super) fn new(id: u64) -> Self {
        Self { id, sequence: 0, used: Instant::now() }
    }

    /// The number for the next request.
    pub(super) fn next(&mut self) -> Ticket {
        self.sequence += 1;
        self.used = Instant::now();
        Ticket { session: self.id, sequence: self.sequence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards "one request at a time": a session is handed out once, and counts up.
    #[test]
    fn a_session_is_handed_out_once_and_not_when_it_is_old() {
        let sessions = Sessions::new(Duration::from_secs(10));
        assert!(sessions.take().is_none());
        let mut session = Session::new(7);
        assert_eq!(session.next(), Ticket { session: 7, sequence: 1 });
        sessions.give_back(session);
        let mut again = sessions.take().expect("it is idle");
        assert!(sessions.take().is_none(), "it is in use");
        assert_eq!(again.next(), Ticket { session: 7, sequence: 2 });
        again.used =
            again.used.checked_sub(Duration::from_secs(6)).expect("the machine runs longer");
        sessions.give_back(again);
        assert!(sessions.take().is_none(), "it may end before the request arrives");
    }
}
