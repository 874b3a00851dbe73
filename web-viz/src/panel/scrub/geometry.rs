//! The scrubber's tape: the branches of a run as lanes over one time axis, each with its terms,
//! leaders and turning points. Positions are fractions of the width.

use raft_core::sim::{BranchId, BranchInfo};
use raft_core::types::{Micros, NodeId, SECOND, Term, Time};

use crate::domain::history::{History, branch_name};
use crate::domain::tape::{Mark, MarkKind, Span, Tape};
use crate::num::{self, len, place, real};

/// The content of the tape.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TapeScene {
    pub(crate) axis: Axis,
    pub(crate) ticks: Vec<(f64, String)>,
    pub(crate) lanes: Vec<Lane>,
}

/// The time range of the tape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Axis {
    /// The time at the left end.
    pub(crate) begin: Time,
    pub(crate) width: Micros,
}

impl Axis {
    /// The position of a time, as a fraction of the width.
    pub(crate) fn share(self, time: Time) -> f64 {
        real(time.since(self.begin)) / real(self.width.max(1))
    }

    /// The time at a position.
    pub(crate) fn time(self, share: f64) -> Time {
        self.begin.after(num::whole(share * real(self.width)))
    }
}

/// The lane of a branch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lane {
    pub(crate) id: BranchId,
    pub(crate) name: String,
    pub(crate) current: bool,
    /// Where it branched off, and from which branch.
    pub(crate) parted: Option<(f64, String)>,
    /// The time at which it branched off, or the beginning.
    pub(crate) from: Time,
    /// How far it has been run.
    pub(crate) end: Time,
    pub(crate) bars: Vec<Bar>,
    pub(crate) dots: Vec<Dot>,
}

/// A period in one term with one leader, or without a leader.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) x: f64,
    pub(crate) width: f64,
    pub(crate) term: Term,
    pub(crate) leader: Option<NodeId>,
    /// Whether it lies before the branching point, and so is shared with the parent.
    pub(crate) shared: bool,
}

/// Turning points of one kind that are so close together that they share one dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dot {
    pub(crate) kind: MarkKind,
    /// The position in hundredths of a percent of the width.
    pub(crate) place: u64,
    pub(crate) count: usize,
}

/// The minimum time range. It keeps the beginning of a run readable.
const SHORTEST: Micros = 2 * SECOND;

/// A bar narrower than this fraction of the width joins the bar before it.
const NARROWEST: f64 = 0.0015;

impl TapeScene {
    /// The tape of a run; the width has room for `room` dots.
    pub(crate) fn of(history: &History, room: usize) -> Self {
        let begin = history.begin;
        let axis = Axis { begin, width: round_up(history.run.end().since(begin)) };
        let lanes = history.run.shown().map(|info| Lane::of(info, history, axis, room)).collect();
        Self { axis, ticks: ticks(axis.width, room), lanes }
    }
}

impl Lane {
    fn of(info: &BranchInfo, history: &History, axis: Axis, room: usize) -> Self {
        let tape = history.tape(info.id);
        let parted = info.parted.map(|(parent, at)| (axis.share(at.time), branch_name(parent)));
        let from = info.parted.map_or(axis.begin, |(_, at)| at.time);
        Self {
            id: info.id,
            name: branch_name(info.id),
            current: info.id == history.run.current,
            parted,
            from,
            end: info.end.time,
            bars: bars(&tape.spans, from, info.end.time, axis),
            dots: dots(&tape, axis, room),
        }
    }
}

/// Rounds up to a time that reads well. The axis then rarely changes while a run grows.
fn round_up(time: Micros) -> Micros {
    let mut unit = SHORTEST / 2;
    loop {
        for steps in [2, 3, 5, 7] {
            if time <= unit * steps {
                return unit * steps;
            }
        }
        unit = unit.saturating_mul(5);
        if time > unit.saturating_mul(7) && unit == u64::MAX {
            return time;
        }
    }
}

fn ticks(width: Micros, room: usize) -> Vec<(f64, String)> {
    let wanted = if room > 60 { 8 } else { 4 };
    let steps = [100_000, 200_000, 500_000, SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND];
    let longer = [20, 60, 120, 300, 600, 1200, 3600, 7200, 36_000].map(|it| it * SECOND);
    let all = steps.into_iter().chain(longer);
    let step = all.into_iter().find(|step| width / step <= wanted).unwrap_or(width.max(1));
    (0..=width / step)
        .map(|tick| tick * step)
        .map(|at| (real(at) / real(width), label(at)))
        .collect()
}

fn label(at: Micros) -> String {
    match at {
        0 => "0".to_owned(),
        _ if at.is_multiple_of(SECOND) && at < 60 * SECOND => format!("{} s", at / SECOND),
        _ if at < 60 * SECOND => format!("{:.1} s", real(at) / 1e6),
        _ => num::span(at),
    }
}

fn bars(spans: &[Span], from: Time, end: Time, axis: Axis) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    let ends = spans.iter().skip(1).map(|span| span.from).chain([end]);
    for (span, until) in spans.iter().zip(ends) {
        // A period across the branching point is drawn in two parts.
        let middle = from.clamp(span.from, until.max(span.from));
        for (start, stop, shared) in [(span.from, middle, true), (middle, until, false)] {
            let (x, stop) = (axis.share(start), axis.share(stop));
            let narrow = stop - x < NARROWEST;
            match bars.last_mut().filter(|last| narrow && last.shared == shared) {
                Some(last) => last.width = (stop - last.x).max(last.width),
                None if stop > x => {
                    let (term, leader) = (span.term, span.leader);
                    bars.push(Bar { x, width: stop - x, term, leader, shared });
                }
                None => {}
            }
        }
    }
    bars
}

fn dots(tape: &Tape, axis: Axis, room: usize) -> Vec<Dot> {
    let mut dots: Vec<Dot> = Vec::new();
    let mut last = std::collections::BTreeMap::<(MarkKind, usize), usize>::new();
    for Mark { kind, at, .. } in &tape.marks {
        let x = axis.share(*at);
        let bucket = place(x * len(room));
        if let Some(dot) = last.get(&(*kind, bucket)).and_then(|place| dots.get_mut(*place)) {
            dot.count += 1;
            continue;
        }
        last.insert((*kind, bucket), dots.len());
        dots.push(Dot { kind: *kind, place: num::whole(x * 10_000.0), count: 1 });
    }
    dots
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that the axis is always long enough, reads well, and has few labels.
    #[test]
    fn the_axis_fits_any_run() {
        for end in [0, 1, SECOND, 2 * SECOND + 1, 59 * SECOND, 3_600 * SECOND, 100 * 3_600 * SECOND]
        {
            let width = round_up(end);
            assert!(width >= end.max(SHORTEST) && width <= 2 * end.max(SHORTEST), "{end}: {width}");
            for room in [40, 120] {
                let ticks = ticks(width, room);
                assert!((2..=9).contains(&ticks.len()), "{end}: {ticks:?}");
            }
        }
        assert_eq!(label(1_500_000), "1.5 s");
        assert_eq!(label(3 * SECOND), "3 s");
    }

    /// Guards that dots too close together are merged and counted in long runs, and that bars do
    /// not overlap.
    #[test]
    fn what_lies_too_close_is_drawn_together() {
        let mut tape = Tape::default();
        for number in 0..1000 {
            let at = Time(number * 1000);
            tape.mark(MarkKind::Write, NodeId(1), at, number);
            tape.leaders(Term(number), Some(NodeId(1)), at, number);
        }
        let axis = Axis { begin: Time(0), width: SECOND };
        let dots = dots(&tape, axis, 50);
        assert_eq!(dots.len(), 50);
        assert_eq!(dots.iter().map(|dot| dot.count).sum::<usize>(), 1000);
        let bars = bars(&tape.spans, Time(SECOND / 2), Time(SECOND), axis);
        assert!(bars.len() <= 700, "{}", bars.len());
        assert!(bars.windows(2).all(|pair| pair[0].x + pair[0].width <= pair[1].x + 1e-9));
        let drawn: f64 = bars.iter().map(|bar| bar.width).sum();
        assert!((drawn - 1.0).abs() < 0.01, "{drawn}");
        assert!(bars.iter().all(|bar| bar.shared == (bar.x < 0.5)));
    }
}
