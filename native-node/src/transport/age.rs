//! Estimates how long a frame was in transit.
//!
//! The sender stamps each frame with its own clock. Two clocks cannot be compared, but their
//! difference is nearly constant. The smallest observed difference belongs to the fastest frame.
//! What another frame has above it is time that the frame spent in transit.

use std::time::{Duration, Instant};

/// The period over which the fastest frame is recorded. It counts for the next period too, and then
/// expires: clocks drift apart, they stop while a machine is paused, and paths become longer.
const LIFETIME: Duration = Duration::from_secs(5);

/// Computes the ages of the frames on one connection.
#[derive(Debug)]
pub(super) struct Ages {
    origin: Instant,
    /// The smallest difference between the clocks in the current and the previous period, in µs.
    current: i64,
    previous: i64,
    began: Instant,
}

impl Ages {
    pub(super) const fn new(now: Instant) -> Self {
        Self { origin: now, current: i64::MAX, previous: i64::MAX, began: now }
    }

    /// The age of a frame that arrives now. `stamp` is in µs of the sender's clock.
    pub(super) fn age(&mut self, stamp: u64, now: Instant) -> Duration {
        let micros = now.saturating_duration_since(self.origin).as_micros();
        let stamp = i64::try_from(stamp).unwrap_or(i64::MAX);
        let difference = i64::try_from(micros).unwrap_or(i64::MAX).saturating_sub(stamp);
        // A period starts only when a frame arrives, so a late frame is compared with older ones.
        if now.saturating_duration_since(self.began) >= LIFETIME {
            (self.previous, self.current, self.began) = (self.current, i64::MAX, now);
        }
        self.current = self.current.min(difference);
        let fastest = self.current.min(self.previous);
        Duration::from_micros(difference.saturating_sub(fastest).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const S: Duration = Duration::from_secs(1);

    /// Guards that a frame's age is its delay beyond the fastest frame, for any clocks and any
    /// first frame.
    #[test]
    fn an_age_is_what_a_frame_took_longer_than_the_fastest() {
        let start = Instant::now();
        let mut ages = Ages::new(start);
        // The sender's clock is far ahead.
        let stamp = |sent: u32| 5_000_000_000 + u64::from(sent) * 1000;
        assert_eq!(ages.age(stamp(0), start + 80 * MS), Duration::ZERO, "nothing to compare with");
        assert_eq!(ages.age(stamp(100), start + 110 * MS), Duration::ZERO, "faster");
        assert_eq!(ages.age(stamp(200), start + 1210 * MS), 1000 * MS);
        assert_eq!(ages.age(stamp(1205), start + 1215 * MS), Duration::ZERO);
    }

    /// Guards long connections: clock drift makes no frame look old, and a silence does not make
    /// late frames look fresh.
    #[test]
    fn drift_is_no_age_and_a_long_stall_is() {
        let start = Instant::now();
        let mut ages = Ages::new(start);
        // The sender's clock loses 500 µs each second.
        let stamp = |second: u32| u64::from(second) * 999_500;
        for second in 0..10_000 {
            let age = ages.age(stamp(second), start + second * S);
            assert!(age < 10 * MS, "{age:?} after {second} s");
        }
        // The frames of half a minute arrive at once.
        for second in 10_000..10_030 {
            let age = ages.age(stamp(second), start + 10_030 * S);
            let sent_before = (10_030 - second) * S;
            assert!(age <= sent_before + 30 * MS && age + 30 * MS >= sent_before, "{age:?}");
        }
    }

    /// Guards connections to a machine that was paused. Its clock stopped, so its frames look old
    /// only for a while.
    #[test]
    fn a_clock_that_stood_still_is_learned() {
        let start = Instant::now();
        let mut ages = Ages::new(start);
        let mut age = |second: u32| {
            let behind = if second < 20 { 0 } else { 3 };
            ages.age(u64::from(second - behind) * 1_000_000, start + second * S)
        };
        assert!((0..20).all(|second| age(second) == Duration::ZERO));
        assert_eq!(age(20), 3 * S);
        assert!((21..32).any(|second| age(second) == Duration::ZERO));
        assert!((32..100).all(|second| age(second) == Duration::ZERO));
    }

    /// Guards arithmetic against stamps that no clock shows.
    #[test]
    fn any_stamp_has_an_age() {
        let start = Instant::now();
        let mut ages = Ages::new(start);
        for stamp in [0, u64::MAX, 1, u64::MAX / 2, u64::MAX] {
            ages.age(stamp, start + MS);
        }
    }
}
