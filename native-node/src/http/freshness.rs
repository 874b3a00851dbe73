//! How fresh the state of a read is, and how the server knows that.
//!
//! `max_staleness` trusts no clock of other servers and no network delay. A server notes when it
//! began a linearizable read that was confirmed. It has applied everything that was committed by
//! then, so its state is never older than the time since. A heartbeat would prove less: it may have
//! waited in a buffer while the server was suspended.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use api::kv::Consistency;
use raft_core::kv::KvStore;
use raft_core::types::Time;
use tokio::time::{Instant, timeout_at};

use super::App;
use super::error::ApiError;
use super::request::{self, ReadOptions};
use crate::driver::handle::RequestError;

/// When this server's state was last known to contain all committed entries, in µs of the core's
/// clock. That clock counts the machine's sleep. 0 before the first time.
#[derive(Debug, Default)]
pub(super) struct Confirmed(AtomicU64);

/// The state that a read sees.
pub(super) struct Seen {
    pub(super) store: KvStore,
    /// The consistency that was in effect.
    pub(super) consistency: Consistency,
    /// The maximum age of the state, if `max_staleness` was given and no confirmation was needed.
    pub(super) age: Option<Duration>,
}

/// Why a read fails.
pub(super) enum Unseen {
    Handle(RequestError),
    Api(ApiError),
}

impl From<RequestError> for Unseen {
    fn from(error: RequestError) -> Self {
        Self::Handle(error)
    }
}

/// The state with the requested consistency, age and revision.
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

/// The state without bounds on age and revision.
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

/// The local state, if it is fresh enough; otherwise it is confirmed first.
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

/// Waits for a revision. The local state only advances, so a later state is no older than the
/// first. Nothing is held meanwhile: neither a state nor a watcher's place.
async fn wait_for(app: &App, wanted: u64, seen: Seen) -> Result<Seen, Unseen> {
    let Seen { store, consistency, age } = seen;
    drop(store);
    let deadline = Instant::now() + app.forwarder.timeout();
    let _turn = app.reads.waiting.try_acquire().map_err(|_| RequestError::Overloaded)?;
    let mut revisions = app.handle.revisions();
    loop {
        // Read after subscribing, to miss no change in between.
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
    /// The error for a client, if the leader is not to be asked.
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
