//! Whether a thread moves: one that hangs cannot say so itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When a thread began what it is doing, in microseconds since its own start; 0 while it waits.
#[derive(Debug)]
pub(super) struct Pulse {
    started: Instant,
    busy_since: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { started: Instant::now(), busy_since: AtomicU64::new(0) }
    }
}

impl Pulse {
    /// Something begins, or goes on after a step.
    pub(super) fn beat(&self) {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.busy_since.store(now.max(1), Ordering::Release);
    }

    /// Nothing is to be done.
    pub(super) fn rest(&self) {
        self.busy_since.store(0, Ordering::Release);
    }

    /// For how long it has been busy with one thing, if it is.
    pub(super) fn busy_for(&self) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Acquire);
        (since > 0).then(|| self.started.elapsed().saturating_sub(Duration::from_micros(since)))
    }
}
