//! Detects threads that hang, because such a thread cannot report it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When a thread began its current work, in µs since the pulse was created; 0 while it waits.
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
    /// Records that work begins, or continues after a step.
    pub(super) fn beat(&self) {
        let now = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.busy_since.store(now.max(1), Ordering::Release);
    }

    /// Records that there is no work.
    pub(super) fn rest(&self) {
        self.busy_since.store(0, Ordering::Release);
    }

    /// How long the thread has been busy with its current work, if it is.
    pub(super) fn busy_for(&self) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Acquire);
        (since > 0).then(|| self.started.elapsed().saturating_sub(Duration::from_micros(since)))
    }
}
