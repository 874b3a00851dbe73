//! How long a frame was under way, as its receiver can tell.
//!
//! The sender stamps what it sends with its own clock. Two clocks cannot be compared, but their
//! difference is nearly constant: the smallest that was seen belongs to the frame that came
//! fastest, and whatever another frame has above it is time that it spent under way.

use std::time::{Duration, Instant};

/// Two clocks run apart by less than this part of the time. The smallest difference is trusted so
/// much less with time.
const MAX_DRIFT_PER_THOUSAND: i64 = 1;

/// Ages of what comes in on one connection.
#[derive(Debug)]
pub(super) struct Ages {
    origin: Instant,
    /// The smallest difference between the clocks, in µs, and when it was that.
    base: Option<(i64, Instant)>,
}

impl Ages {
    pub(super) const fn new(now: Instant) -> Self {
        Self { origin: now, base: None }
    }

    /// The age of what was stamped with `stamp`, in µs of its sender's clock, and came in now.
    pub(super) fn age(&mut self, stamp: u64, now: Instant) -> Duration {
        let difference = micros(now.saturating_duration_since(self.origin))
            .saturating_sub(i64::try_from(stamp).unwrap_or(i64::MAX));
        let base = self.base.map_or(difference, |(base, at)| {
            let drift = micros(now.saturating_duration_since(at)) * MAX_DRIFT_PER_THOUSAND / 1000;
            difference.min(base.saturating_add(drift))
        });
        self.base = Some((base, now));
        Duration::from_micros(difference.saturating_sub(base).unsigned_abs())
    }
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Guards the whole of it: a frame's age is what it took longer than the fastest one, whatever
    /// the clocks show and however the first one fared.
    #[test]
    fn an_age_is_what_a_frame_took_longer_than_the_fastest() {
        let start = Instant::now();
        let mut ages = Ages::new(start);
        // The sender's clock is far ahead.
        let stamp = |sent: u32| 5_000_000_000 + u64::from(sent) * 1000;
        assert_eq!(ages.age(stamp(0), start + 80 * MS), Duration::ZERO, "nothing to compare with");
        assert_eq!(ages.age(stamp(100), start + 110 * MS), Duration::ZERO, "faster");
        let late = ages.age(stamp(200), start + 1210 * MS);
        assert!((990 * MS..=1000 * MS).contains(&late), "{late:?}");
        let next = ages.age(stamp(1205), start + 1215 * MS);
        assert!(next <= MS, "{next:?}");
    }

    /// Guards long connections: clocks that drift apart make nothing old, and a silence does not
    /// make what comes after it look fresh.
    #[test]
    fn drift_is_no_age_and_a_long_stall_is() {
        let start = Instant::now();
        let mut ages = Ages::new(start);
        for second in 0..10_000u64 {
            // It loses 500 µs each second.
            let age = ages.age(second * 999_500, start + Duration::from_secs(second));
            assert!(age < MS, "{age:?} after {second} s");
        }
        // What was sent over half a minute comes in at once.
        let now = start + Duration::from_secs(10_030);
        for second in 10_000..10_025u64 {
            let age = ages.age(second * 999_500, now);
            assert!(age > Duration::from_secs(4), "{age:?}");
        }
    }

    /// Guards arithmetic against stamps that no clock shows.
    #[test]
    fn any_stamp_has_an_age() {
        let start = Instant::now();
        let mut ages = Ages::new(start);
        for stamp in [0, u64::MAX, 1, i64::MAX as u64, u64::MAX] {
            ages.age(stamp, start + MS);
        }
    }
}
