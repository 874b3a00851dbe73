//! The clock of the shown moment: whether it runs, and its speed compared with wall time.

use raft_core::types::{Micros, Time};

use crate::num::{real, whole};

/// Simulated time divided by real time, slow to fast, as simple fractions.
const SPEEDS: [(u32, u32); 16] = [
    (1, 1000),
    (1, 500),
    (1, 200),
    (1, 100),
    (1, 50),
    (1, 20),
    (1, 10),
    (1, 5),
    (1, 2),
    (1, 1),
    (2, 1),
    (5, 1),
    (10, 1),
    (20, 1),
    (50, 1),
    (100, 1),
];

/// The longest frame that is played. A longer pause, such as a hidden tab, is not made up for.
const LONGEST_FRAME_MS: f64 = 100.0;

/// An index into the speeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Speed(usize);

impl Default for Speed {
    /// 1/20 of real time: a heartbeat comes every second, and an election can be followed by eye.
    fn default() -> Self {
        Self(5)
    }
}

impl Speed {
    /// The position of the fastest speed.
    pub(crate) const LAST: usize = SPEEDS.len() - 1;

    /// The speed at a slider position; positions past the end mean the fastest speed.
    pub(crate) const fn at(position: usize) -> Self {
        Self(if position > Self::LAST { Self::LAST } else { position })
    }

    pub(crate) const fn position(self) -> usize {
        self.0
    }

    pub(crate) const fn slower(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    pub(crate) const fn faster(self) -> Self {
        Self::at(self.0 + 1)
    }

    /// Simulated time per unit of real time.
    pub(crate) fn ratio(self) -> f64 {
        let (over, under) = SPEEDS[self.0];
        f64::from(over) / f64::from(under)
    }

    /// For example `1/20 ×` or `5 ×`.
    pub(crate) fn label(self) -> String {
        match SPEEDS[self.0] {
            (over, 1) => format!("{over} ×"),
            (over, under) => format!("{over}/{under} ×"),
        }
    }

    /// The speed in words, for screen readers and others who do not read fractions.
    pub(crate) fn words(self) -> String {
        match SPEEDS[self.0] {
            (1, 1) => "real time".to_owned(),
            (over, 1) => format!("{over} times faster than real time"),
            (_, under) => format!("{under} times slower than real time"),
        }
    }
}

/// The relation of source time to wall time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// Microseconds of source time per millisecond of wall time.
    per_millisecond: f64,
}

impl Pace {
    /// Real time, for a live cluster.
    pub(crate) const REAL: Self = Self { per_millisecond: 1000.0 };

    pub(crate) fn of(speed: Speed) -> Self {
        Self { per_millisecond: 1000.0 * speed.ratio() }
    }

    /// Whether the source runs at least as fast as a real cluster.
    pub(crate) const fn is_brisk(self) -> bool {
        self.per_millisecond >= 1000.0
    }

    /// The source time that passes in `milliseconds` of wall time; never zero.
    pub(crate) fn span(self, milliseconds: f64) -> Micros {
        whole(milliseconds * self.per_millisecond).max(1)
    }

    /// The wall time of `span` of source time, in milliseconds.
    pub(crate) fn milliseconds(self, span: Micros) -> f64 {
        real(span) / self.per_millisecond
    }
}

/// The position of the clock, and whether it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Playback {
    pub(crate) playing: bool,
    pub(crate) speed: Speed,
    /// The shown moment, by the source's clock.
    pub(crate) now: Time,
    /// The fraction of a microsecond that is carried over.
    rest: f64,
}

impl Default for Playback {
    fn default() -> Self {
        Self { playing: true, speed: Speed::default(), now: Time(0), rest: 0.0 }
    }
}

impl Playback {
    /// Sets the clock to `now`.
    pub(crate) const fn jump(&mut self, now: Time) {
        self.now = now;
        self.rest = 0.0;
    }

    /// The clock's position after `elapsed` milliseconds of wall time.
    pub(crate) fn target(&mut self, elapsed: f64) -> Time {
        let elapsed = elapsed.clamp(0.0, LONGEST_FRAME_MS);
        let exact = elapsed * 1000.0 * self.speed.ratio() + self.rest;
        let micros = whole(exact);
        self.rest = exact - real(micros);
        self.now.after(micros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the slowest speeds. There a frame is shorter than a microsecond of the simulation,
    /// and rounding would stop the clock.
    #[test]
    fn slow_motion_loses_no_time() {
        let mut playback = Playback { speed: Speed::at(0), ..Playback::default() };
        for _ in 0..1000 {
            let target = playback.target(0.4);
            playback.now = target;
        }
        // 1000 frames of 0.4 ms at 1/1000 are 400 µs.
        assert!((399..=400).contains(&playback.now.0), "{}", playback.now);
    }

    /// Guards against a leap of the clock when a hidden tab is shown again.
    #[test]
    fn a_hidden_tab_is_not_made_up_for() {
        let mut playback = Playback { speed: Speed::at(9), ..Playback::default() };
        assert_eq!(playback.target(60_000.0), Time(100_000));
    }

    /// Guards the ends of the slider and the labels beside it.
    #[test]
    fn speeds_stay_on_the_scale() {
        assert_eq!(Speed::at(0).slower(), Speed::at(0));
        assert_eq!(Speed::at(99), Speed::at(Speed::LAST));
        assert_eq!(Speed::at(Speed::LAST).faster(), Speed::at(Speed::LAST));
        assert_eq!(Speed::default().label(), "1/20 ×");
        assert_eq!(Speed::default().words(), "20 times slower than real time");
        assert_eq!(Speed::at(10).label(), "2 ×");
    }
}
