//! Sessions, in which a write takes effect once, even if it is sent several times (§8).
//!
//! A session has one request in flight, so the client opens a session for each concurrent write and
//! reuses it. The client drops idle sessions before the cluster expires them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The maximum number of idle sessions; further sessions expire.
const MAX_IDLE: usize = 256;

/// The sessions that are not in use.
#[derive(Debug)]
pub(super) struct Sessions {
    ttl: Duration,
    idle: Mutex<Vec<Session>>,
}

/// A session. Its owner is the only user.
#[derive(Debug)]
pub(super) struct Session {
    id: u64,
    /// The sequence number of the last request.
    sequence: u64,
    used: Instant,
}

/// The session and the sequence number of a request: retries have the same ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) session: u64,
    pub(super) sequence: u64,
}

impl Sessions {
    /// Sessions with this time to live after each use.
    pub(super) const fn new(ttl: Duration) -> Self {
        Self { ttl, idle: Mutex::new(Vec::new()) }
    }

    /// The time to live of a session after each use.
    pub(super) const fn ttl(&self) -> Duration {
        self.ttl
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an idle session that still exists, unless the cluster was restored to an earlier
    /// state.
    pub(super) fn take(&self) -> Option<Session> {
        // The cluster's clock for expiry stops without a leader, and is ahead of the client's by
        // clock drift at most. Half of the time to live is a safe margin.
        let fresh = self.ttl / 2;
        let mut idle = self.idle();
        idle.retain(|session| session.used.elapsed() < fresh);
        idle.pop()
    }

    /// Returns a session for the next use.
    pub(super) fn give_back(&self, session: Session) {
        let mut idle = self.idle();
        if idle.len() < MAX_IDLE {
            idle.push(session);
        }
    }

    /// Takes all idle sessions, to close them.
    pub(super) fn take_all(&self) -> Vec<u64> {
        self.idle().drain(..).map(|session| session.id).collect()
    }
}

impl Session {
    /// A newly opened session.
    pub(super) fn new(id: u64) -> Self {
        Self { id, sequence: 0, used: Instant::now() }
    }

    /// The ticket for the next request.
    pub(super) fn next(&mut self) -> Ticket {
        self.sequence += 1;
        self.used = Instant::now();
        Ticket { session: self.id, sequence: self.sequence }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a session has one request at a time, and that its sequence numbers grow.
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
