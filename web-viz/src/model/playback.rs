//! The clock of what is shown: running or held, and how fast against the one on the wall.

use raft_core::types::{Micros, Time};

use crate::num::{real, whole};

/// Simulated time against real time, slow to fast, as fractions that read well.
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

/// A pause of the page, such as a hidden tab, is not made up for beyond this.
const LONGEST_FRAME_MS: f64 = 100.0;

/// One of the speeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Speed(usize);

impl Default for Speed {
    /// At a twentieth of real time a heartbeat comes every second and an election can be followed
    /// with the eye.
    fn default() -> Self {
        Self(5)
    }
}

impl Speed {
    /// The position of the fastest one.
    pub(crate) const LAST: usize = SPEEDS.len() - 1;

    /// The speed at a position of the slider; positions past the end mean the fastest.
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

    /// How much simulated time passes in one unit of real time.
    pub(crate) fn ratio(self) -> f64 {
        let (over, under) = SPEEDS[self.0];
        f64::from(over) / f64::from(under)
    }

    /// `1/20 ×`, `5 ×`.
    pub(crate) fn label(self) -> String {
        match SPEEDS[self.0] {
            (over, 1) => format!("{over} ×"),
            (over, under) => format!("{over}/{under} ×"),
        }
    }

    /// For those who do not read fractions, screen readers among them.
    pub(crate) fn words(self) -> String {
        match SPEEDS[self.0] {
            (1, 1) => "real time".to_owned(),
            (over, 1) => format!("{over} times faster than real time"),
            (_, under) => format!("{under} times slower than real time"),
        }
    }
}

/// How source time relates to what an eye needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// Microseconds of the source in one millisecond on the wall.
    per_millisecond: f64,
}

impl Pace {
    /// A running cluster, watched as it is.
    pub(crate) const REAL: Self = Self { per_millisecond: 1000.0 };

    pub(crate) fn of(speed: Speed) -> Self {
        Self { per_millisecond: 1000.0 * speed.ratio() }
    }

    /// Whether the source is as fast as a real cluster, or faster.
    pub(crate) const fn is_brisk(self) -> bool {
        self.per_millisecond >= 1000.0
    }

    /// The source time that passes while `milliseconds` pass on the wall; never zero.
    pub(crate) fn span(self, milliseconds: f64) -> Micros {
        whole(milliseconds * self.per_millisecond).max(1)
    }

    /// How long `span` of the source lasts on the wall, in milliseconds.
    pub(crate) fn milliseconds(self, span: Micros) -> f64 {
        real(span) / self.per_millisecond
    }
}

/// Where the clock stands and whether it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Playback {
    pub(crate) playing: bool,
    pub(crate) speed: Speed,
    /// What is shown is the cluster at this time, by the source's clock.
    pub(crate) now: Time,
    /// The part of a microsecond that did not make a whole one yet.
    rest: f64,
}

impl Default for Playback {
    fn default() -> Self {
        Self { playing: true, speed: Speed::default(), now: Time(0), rest: 0.0 }
    }
}

impl Playback {
    /// Puts the clock to `now`.
    pub(crate) const fn jump(&mut self, now: Time) {
        self.now = now;
        self.rest = 0.0;
    }

    /// Where the clock will stand when `elapsed` milliseconds have passed on the wall.
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

    /// Guards the slowest speeds, where a frame is shorter than a microsecond of the simulation
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

    /// Guards against a leap when the tab comes back after a while.
    #[test]
    fn a_hidden_tab_is_not_made_up_for() {
        let mut playback = Playback { speed: Speed::at(9), ..Playback::default() };
        assert_eq!(playback.target(60_000.0), Time(100_000));
    }

    /// Guards the slider's ends and the words beside it.
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
