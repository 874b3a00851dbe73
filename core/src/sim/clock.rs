//! A server's clock, with its own start and its own rate.

use crate::types::Time;

/// Maps true time to the time that a server's clock shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// At this true time …
    truly: Time,
    /// … the clock showed this time …
    shown: Time,
    /// … and since then it advances by this many seconds in 1000 true seconds.
    rate_permille: u32,
}

impl Clock {
    /// A clock that shows true time.
    pub(super) const TRUE: Self = Self { truly: Time(0), shown: Time(0), rate_permille: 1000 };

    /// The time that the clock shows at a true time.
    pub(super) fn local(&self, now: Time) -> Time {
        let passed = u128::from(now.since(self.truly)) * u128::from(self.rate_permille) / 1000;
        self.shown.after(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// The first true time at which the clock shows `local` or more.
    pub(super) fn truly(&self, local: Time) -> Time {
        let missing = u128::from(local.since(self.shown)) * 1000;
        let passed = missing.div_ceil(u128::from(self.rate_permille));
        self.truly.after(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    /// Makes the clock jump and then run at another rate.
    pub(super) fn set(&mut self, now: Time, jump: i64, rate_permille: u32) {
        let shown = Time(self.local(now).0.saturating_add_signed(jump));
        *self = Self { truly: now, shown, rate_permille };
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use crate::types::Time;

    /// Guards that a deadline on the server's clock never maps to a true time at which the server
    /// finds it too early.
    #[test]
    fn a_deadline_is_due_when_it_is_said_to_be() {
        for rate_permille in [1, 7, 500, 999, 1000, 1001, 1300, 100_000] {
            let mut clock = Clock::TRUE;
            clock.set(Time(12_345), 777, rate_permille);
            for local in (13_122..14_000).map(Time) {
                let due = clock.truly(local);
                assert!(clock.local(due) >= local, "rate {rate_permille}");
                let before = Time(due.0 - 1);
                let early = before < Time(12_345) || clock.local(before) < local;
                assert!(early || due == Time(12_345), "rate {rate_permille}");
            }
        }
    }

    /// Guards that a backward jump stops at zero, and that the clock runs on from there.
    #[test]
    fn a_clock_jumps_and_goes_on() {
        let mut clock = Clock::TRUE;
        clock.set(Time(100), -500, 2000);
        assert_eq!(clock.local(Time(100)), Time(0));
        assert_eq!(clock.local(Time(150)), Time(100));
        clock.set(Time(150), 1000, 1000);
        assert_eq!(clock.local(Time(151)), Time(1101));
    }
}
