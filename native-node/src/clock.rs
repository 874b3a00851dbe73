//! The core's time, derived from the machine's clocks.

use std::time::{Duration, SystemTime};

use raft_core::types::Time;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Microseconds since 1970. The wall clock sets the start. After that a clock counts that cannot be
/// set, and that also counts while the machine sleeps. Events of one run never go back in time, and
/// a changed wall clock moves no timer. After a sleep, leases have ended, and a leader knows that
/// it has not heard from others for long. The runtime's own timers stop during a sleep. The first
/// message, request or timer after it notices what is overdue.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Duration,
    origin_micros: u64,
}

impl Clock {
    /// Starts a clock now.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let origin_micros = since_epoch.map_or(0, micros);
        Self { origin: awake_or_asleep(), origin_micros }
    }

    /// The current time.
    pub fn now(&self) -> Time {
        self.at(awake_or_asleep())
    }

    /// The core's time for a reading of the machine's clock.
    fn at(&self, reading: Duration) -> Time {
        Time(self.origin_micros + micros(reading.saturating_sub(self.origin)))
    }

    /// Converts a time of the core for the runtime's timers.
    pub fn instant(&self, time: Time) -> Instant {
        Instant::now() + Duration::from_micros(time.since(self.now()))
    }

    /// How long ago a time was; zero if it is in the future.
    pub fn since(&self, time: Time) -> Duration {
        Duration::from_micros(self.now().since(time))
    }
}

/// The time since a moment before the process started. It includes sleep of the machine where the
/// platform has such a clock. macOS counts sleep in its monotonic clock.
fn awake_or_asleep() -> Duration {
    #[cfg(any(
        target_os = "linux",
        target_os = "android",
        target_os = "fuchsia",
        target_os = "openbsd"
    ))]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(any(
        target_os = "linux",
        target_os = "android",
        target_os = "fuchsia",
        target_os = "openbsd"
    )))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let reading = clock_gettime(CLOCK);
    let seconds = u64::try_from(reading.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(reading.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards leases and timers over a sleep of the machine: the core's time advances by what the
    /// clock counted. A timer that became due meanwhile is due at once.
    #[test]
    fn a_sleep_counts() {
        let clock = Clock::start();
        let before = clock.now();
        let after = clock.at(awake_or_asleep() + Duration::from_hours(8));
        assert!(after.since(before) >= 8 * 3600 * 1_000_000);
        assert!(clock.instant(before) <= Instant::now(), "what is overdue is due now");
        assert_eq!(clock.at(Duration::ZERO).0, clock.origin_micros, "it never goes back");
    }

    /// Guards the choice of the clock: the system derives its uptime from this clock, which counts
    /// sleep.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_clock_is_the_one_that_counts_sleep() {
        let before = awake_or_asleep();
        let uptime = std::fs::read_to_string("/proc/uptime").expect("the system tells it");
        let after = awake_or_asleep();
        let uptime: f64 =
            uptime.split(' ').next().and_then(|it| it.parse().ok()).expect("a number");
        // The uptime has two decimals.
        let uptime = uptime + 0.01;
        assert!(before.as_secs_f64() <= uptime && uptime <= after.as_secs_f64() + 0.02);
    }
}
