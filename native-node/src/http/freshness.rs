//! How fresh the state is that a read sees, and how that is known.
//!
//! `max_staleness` is kept without trusting anybody's clock or the network's speed: a server notes
//! when it began a linearizable read that was confirmed. Whatever was committed by then it has
//! applied, so its state is never older than the time since. Hearing from a leader would prove less:
//! a heartbeat may have lain in a buffer while the server stood still.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use raft_core::kv::KvStore;
use raft_core::types::Time;
use tokio::time::{Instant, timeout_at};

use super::App;
use super::error::ApiError;
use super::request::{self, Consistency, ReadOptions};
use crate::handle::RequestError;

/// When this server's state was last known to hold all that was committed, in µs of the core's
/// time, which counts a sleep of the machine; 0 before the first time.
#[derive(Debug, Default)]
pub(super) struct Confirmed(AtomicU64);

/// What a read sees.
pub(super) struct Seen {
    pub(super) store: KvStore,
    /// What was in effect.
    pub(super) consistency: Consistency,
    /// How old it is at most, where that was asked.
    pub(super) age: Option<Duration>,
}

/// Why a read sees nothing.
pub(super) enum Unseen {
    Handle(RequestError),
    Api(ApiError),
}

impl From<RequestError> for Unseen {
    fn from(error: RequestError) -> Self {
        Self::Handle(error)
    }
}

/// The state as the options want it.
pub(super) async fn see(app: &App, options: ReadOptions) -> Result<Seen, Unseen> {
    let seen = match options.max_staleness {
        None => see_now(app, options.consistency).await?,
        Some(limit) => see_within(app, limit.0).await?,
    };
    match options.min_revision {
        Some(wanted) if seen.store.revision() < wanted => wait_for(app, wanted, seen).await,
        Some(_) | None => Ok(seen),
    }
}

/// The same without bounds.
pub(super) async fn see_now(app: &App, consistency: Consistency) -> Result<Seen, RequestError> {
    let permit = app.handle.admit(0)?;
    let lease = consistency == Consistency::Lease;
    let in_effect = if lease && !(app.lease_reads && app.handle.leads()) {
        Consistency::Linearizable
    } else {
        consistency
    };
    let store = match consistency {
        Consistency::Stale => app.handle.read_local(permit).await?,
        Consistency::Linearizable | Consistency::Lease => app.handle.read(lease, permit).await?,
    };
    Ok(Seen { store, consistency: in_effect, age: None })
}

/// What is here, if it is young enough; else it is confirmed first.
async fn see_within(app: &App, limit: Duration) -> Result<Seen, RequestError> {
    let now = app.clock.now();
    let confirmed = app.reads.confirmed.0.load(Relaxed);
    let age = Duration::from_micros(now.since(Time(confirmed)));
    if confirmed > 0 && age <= limit {
        let seen = see_now(app, Consistency::Stale).await?;
        return Ok(Seen { age: Some(age), ..seen });
    }
    let seen = see_now(app, Consistency::Linearizable).await?;
    app.reads.confirmed.0.fetch_max(now.0, Relaxed);
    Ok(seen)
}

/// Waits for a revision. What is applied here only grows, so whatever is seen later is no older than
/// what was seen first. Nothing is held meanwhile: neither a state nor a watcher's place.
async fn wait_for(app: &App, wanted: u64, seen: Seen) -> Result<Seen, Unseen> {
    let Seen { store, consistency, age } = seen;
    drop(store);
    let deadline = Instant::now() + app.forwarder.timeout();
    let _turn = app.reads.waiting.try_acquire().map_err(|_| RequestError::Overloaded)?;
    let mut revisions = app.handle.revisions();
    loop {
        // Looked at after joining those who are woken: nothing slips through in between.
        let store = app.handle.read_local(app.handle.admit(0)?).await?;
        let at = store.revision();
        if at >= wanted {
            return Ok(Seen { store, consistency, age });
        }
        drop(store);
        match timeout_at(deadline, revisions.wait_for(|revision| *revision >= wanted)).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Err(RequestError::Halted.into()),
            Err(_) => return Err(Unseen::Api(ApiError::RevisionNotReached { wanted, at })),
        }
    }
}

impl Unseen {
    /// How it is told to a client, where the leader is not to be asked.
    pub(super) fn told(self, app: &App) -> ApiError {
        match self {
            Self::Handle(RequestError::NotAMember { leader }) => {
                ApiError::NotAMember(app.leader(leader))
            }
            Self::Handle(error) => request::read_error(error),
            Self::Api(error) => error,
        }
    }
}
