//! The core's time, made from the machine's clocks.

use std::time::{Duration, SystemTime};

use raft_core::types::Time;
use tokio::time::Instant;

/// Microseconds since 1970 as the wall clock had it when the process started, and from there on by
/// the monotonic clock: events of one run never go back in time, and a changed wall clock moves no
/// timer.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    origin_micros: u64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let origin_micros = since_epoch.map_or(0, micros);
        Self { origin: Instant::now(), origin_micros }
    }

    /// Now.
    pub fn now(&self) -> Time {
        Time(self.origin_micros + micros(self.origin.elapsed()))
    }

    /// When a time of the core is, for the runtime's timers.
    pub fn instant(&self, time: Time) -> Instant {
        self.origin + Duration::from_micros(time.0.saturating_sub(self.origin_micros))
    }

    /// How long ago a time was; zero when it lies ahead.
    pub fn since(&self, time: Time) -> Duration {
        Duration::from_micros(self.now().since(time))
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
