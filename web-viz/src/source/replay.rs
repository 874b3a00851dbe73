//! A recording: events that are played back without change. A person can move through it, but not
//! act. It is an opened trace, or the events of a live cluster, which keep arriving while its past
//! is shown.

mod opening;

use std::collections::VecDeque;
use std::hash::{Hash as _, Hasher as _};

use raft_core::digest::StableHasher;
use raft_core::event::Event;
use raft_core::sim::{BranchId, Moment};
use raft_core::types::{SECOND, Time};
use raft_core::view::ClusterView;

use super::live::shift;
use crate::domain::history::{Jump, Run, whole};
use crate::domain::run::{Happened, Landed};

pub(crate) struct Replay {
    /// The events that are kept.
    events: VecDeque<Event>,
    /// When each event is shown. Servers' clocks differ, but these times never decrease.
    times: VecDeque<Time>,
    /// States at intervals. The first one always exists: it is the state before the oldest kept
    /// event.
    checkpoints: VecDeque<Point>,
    /// The state after all events.
    edge: Point,
    present: Point,
    now: Time,
    /// The end of the recording, which can be later than the last event.
    end: Time,
    /// Whether the recording grows and drops its oldest events.
    live: bool,
}

/// The state after some of the events.
#[derive(Clone, Default)]
struct Point {
    /// How many events there were, including dropped ones.
    passed: usize,
    view: ClusterView,
    digest: StableHasher,
}

impl Point {
    fn take(&mut self, event: &Event, live: bool) {
        self.view.observe(event);
        self.passed += 1;
        // A live recording is never complete, so nobody compares its digest.
        if !live {
            event.hash(&mut self.digest);
        }
    }
}

/// How many events lie between two checkpoints.
const DISTANCE: usize = 2_000;

/// How many events of a live cluster are kept; there can be up to [`DISTANCE`] more.
const KEPT: usize = 100_000;

/// How many earlier events a jump returns.
const RECENT: usize = 1_500;

/// A trace that begins later than this was recorded by real servers, whose clocks count from 1970.
/// It is shifted to begin at zero.
const EPOCH: u64 = 365 * 24 * 3600 * SECOND;

impl Replay {
    /// A recording of a trace.
    pub(crate) fn new(mut events: Vec<Event>) -> Self {
        let first = events.iter().map(|event| event.time).min().unwrap_or(Time(0));
        if first.0 > EPOCH {
            shift::apply(&mut events, -first.0.cast_signed());
        }
        let mut replay = Self::empty(false);
        replay.append(events, Time(0));
        replay
    }

    /// An empty recording of a live cluster.
    pub(crate) fn live() -> Self {
        Self::empty(true)
    }

    fn empty(live: bool) -> Self {
        Self {
            events: VecDeque::new(),
            times: VecDeque::new(),
            checkpoints: VecDeque::from([Point::default()]),
            edge: Point::default(),
            present: Point::default(),
            now: Time(0),
            end: Time(0),
            live,
        }
    }

    /// Appends events, up to a time. Returns the moment at which the recording begins, if that
    /// changed.
    pub(crate) fn append(&mut self, events: Vec<Event>, end: Time) -> Option<Moment> {
        for event in events {
            self.edge.take(&event, self.live);
            self.end = self.end.max(event.time);
            self.times.push_back(self.end);
            self.events.push_back(event);
            let last = self.checkpoints.back().map_or(0, |point| point.passed);
            if self.edge.passed >= last + DISTANCE {
                self.checkpoints.push_back(self.edge.clone());
            }
        }
        self.end = self.end.max(end);
        self.forget()
    }

    /// Drops the oldest events, from checkpoint to checkpoint.
    fn forget(&mut self) -> Option<Moment> {
        let begun = self.first();
        while self.live && self.events.len() >= KEPT + DISTANCE && self.checkpoints.len() > 1 {
            let before = self.first();
            self.checkpoints.pop_front();
            self.events.drain(..self.first() - before);
            self.times.drain(..self.first() - before);
        }
        let time = self.times.front().copied().unwrap_or(self.end);
        (begun != self.first()).then_some(Moment { happened: self.first() as u64, time })
    }

    /// How many events were dropped.
    fn first(&self) -> usize {
        self.checkpoints.front().map_or(0, |point| point.passed)
    }

    /// How many events there were, including dropped ones.
    fn total(&self) -> usize {
        self.edge.passed
    }

    /// How many events are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.events.len()
    }

    /// Goes to the oldest kept moment if the events after the shown moment were dropped.
    pub(crate) fn regain(&mut self) -> Option<Landed> {
        if self.present.passed >= self.first() {
            return None;
        }
        self.now = self.times.front().copied().unwrap_or(self.end);
        Some(self.land(self.first()))
    }

    /// Plays up to `time`.
    pub(crate) fn advance(&mut self, time: Time) -> Happened {
        let time = time.min(self.end);
        let until = self.passed_at(time);
        let events = self.play(until);
        self.now = time;
        self.happened(events)
    }

    /// Plays the next event.
    pub(crate) fn step(&mut self) -> Happened {
        let events = self.play(self.present.passed + 1);
        self.now = self.now.max(self.latest());
        self.happened(events)
    }

    /// Goes to another moment. `None` if there is no such moment.
    pub(crate) fn jump(&mut self, jump: Jump) -> Option<Landed> {
        let passed = match jump {
            Jump::Time(time) | Jump::Branch(BranchId(0), time) => {
                self.now = time.min(self.end);
                self.passed_at(time)
            }
            Jump::Back => self.present.passed.saturating_sub(1),
            Jump::End => self.total(),
            Jump::Undo | Jump::Branch(..) => return None,
        };
        let mut landed = self.land(passed);
        if matches!(jump, Jump::Back | Jump::End) {
            self.now = self.latest();
            landed.happened.now = self.now;
            landed.happened.run.at_end = self.at_end();
        }
        Some(landed)
    }

    /// The digest of all events up to the shown moment; 0 for a live cluster.
    pub(crate) fn digest(&self) -> u64 {
        if self.live { 0 } else { self.present.digest.finish() }
    }

    /// All events up to the shown moment. If older events were dropped, events that restore their
    /// final state come first.
    pub(crate) fn trace(&self) -> Vec<Event> {
        let first = self.first();
        let played = self.events.iter().take(self.present.passed.saturating_sub(first)).cloned();
        let begin = self.checkpoints.front().filter(|begin| begin.passed > 0);
        let time = self.times.front().copied().unwrap_or(self.end);
        let state = begin.map(|begin| opening::events(&begin.view, time)).unwrap_or_default();
        state.into_iter().chain(played).collect()
    }

    /// How many events there were at `time`.
    fn passed_at(&self, time: Time) -> usize {
        self.first() + self.times.partition_point(|at| *at <= time)
    }

    /// Goes to the state after `passed` events, or to the nearest state that is kept.
    fn land(&mut self, passed: usize) -> Landed {
        let passed = passed.clamp(self.first(), self.total());
        if passed == self.total() {
            self.present = self.edge.clone();
        } else {
            let from = self.checkpoints.partition_point(|point| point.passed <= passed);
            let from = from.checked_sub(1).and_then(|from| self.checkpoints.get(from));
            self.present = from.cloned().unwrap_or_default();
            let way = self.present.passed - self.first()..passed - self.first();
            for event in self.events.range(way) {
                self.present.take(event, self.live);
            }
        }
        let (first, last) = (self.first(), self.present.passed);
        let recent = last.saturating_sub(RECENT).max(first);
        let events = self.events.range(recent - first..last - first).cloned().collect();
        Landed { view: self.present.view.clone(), happened: self.happened(events) }
    }

    /// Applies the events up to this number.
    fn play(&mut self, until: usize) -> Vec<Event> {
        let (first, from) = (self.first(), self.present.passed);
        let until = until.min(self.total());
        if from < first || until <= from {
            return Vec::new();
        }
        let played: Vec<Event> = self.events.range(from - first..until - first).cloned().collect();
        for event in &played {
            self.present.take(event, self.live);
        }
        played
    }

    /// The time of the last event that was played.
    fn latest(&self) -> Time {
        let last = self.present.passed.checked_sub(self.first() + 1);
        last.and_then(|last| self.times.get(last)).copied().unwrap_or(Time(0))
    }

    fn at_end(&self) -> bool {
        self.present.passed == self.total() && self.now >= self.end
    }

    fn happened(&self, events: Vec<Event>) -> Happened {
        Happened {
            now: self.now,
            events,
            digest: self.digest(),
            run: Run {
                current: BranchId(0),
                at_end: self.at_end(),
                actions: 0,
                branches: vec![whole(Moment { happened: self.total() as u64, time: self.end })],
            },
            ..Happened::default()
        }
    }
}

/// The digest of these events.
pub(crate) fn digest(events: &[Event]) -> u64 {
    let mut digest = StableHasher::default();
    for event in events {
        event.hash(&mut digest);
    }
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::run::SimSetup;
    use crate::source::sim::Sim;
    use crate::source::trace;

    fn recorded() -> (Vec<Event>, u64) {
        let mut sim = Sim::new(SimSetup::default());
        sim.advance(Time(4 * SECOND));
        (sim.trace(), sim.link().digest)
    }

    /// Guards that a saved trace is read back as the same events with the same digest.
    #[test]
    fn a_saved_trace_is_the_run_that_it_was() {
        let (events, digest) = recorded();
        let text = trace::write(&events, digest, "#seed=1".to_owned());
        let (read, header) = trace::read(&text).unwrap();
        assert_eq!(read, events);
        let mut replay = Replay::new(read);
        replay.jump(Jump::End);
        assert_eq!(replay.digest(), digest);
        assert_eq!(header.unwrap().digest, format!("{digest:016x}"));
        assert_eq!(replay.trace(), events);
    }

    /// Guards that a moment of a recording shows the same however it was reached.
    #[test]
    fn a_moment_of_a_recording_is_the_same_by_any_way() {
        let (events, _) = recorded();
        assert!(events.len() > 2 * 500, "{}", events.len());
        let mut replay = Replay::new(events.clone());
        let middle = events[events.len() / 2].time;
        let played = replay.advance(middle);
        assert!(!played.run.at_end);
        replay.jump(Jump::End);
        let landed = replay.jump(Jump::Time(middle)).unwrap();
        assert_eq!((landed.happened.digest, landed.happened.now), (played.digest, middle));
        let stepped = replay.step();
        assert_eq!(stepped.events.len(), 1);
        assert_eq!(replay.jump(Jump::Back).unwrap().happened.digest, played.digest);
        assert!(replay.jump(Jump::Undo).is_none());
    }

    /// Guards traces of real servers, whose clocks count from 1970.
    #[test]
    fn a_trace_of_real_servers_begins_at_zero() {
        let (mut events, _) = recorded();
        shift::apply(&mut events, 1_790_000_000 * SECOND.cast_signed());
        let replay = Replay::new(events.clone());
        assert!(replay.end <= Time(4 * SECOND), "{}", replay.end);
        // A server sends several events per line and no header.
        let lines: Vec<String> =
            events.chunks(7).map(|some| serde_json::to_string(some).unwrap()).collect();
        assert_eq!(trace::read(&lines.join("\n")).unwrap().0, events);
    }

    /// Guards that a wrong file is refused with the error, its line, and advice.
    #[test]
    fn a_file_that_is_no_trace_is_named_as_such() {
        let (events, digest) = recorded();
        let text = trace::write(&events, digest, String::new());
        let wrong = |text: &str| trace::read(text).unwrap_err().to_string();
        assert!(wrong("").contains("no event"));
        assert!(wrong("{\"name\": 1}").starts_with("Line 1 of this file is no event"));
        assert!(wrong("PNG\u{0}\u{1}").starts_with("Line 1"));
        let half = text.lines().take(5).collect::<Vec<_>>().join("\n");
        assert!(wrong(&half).contains("cut off: 4 of its"), "{}", wrong(&half));
        let newer = text.replacen("\"glassraft_trace\":1", "\"glassraft_trace\":9", 1);
        assert!(wrong(&newer).contains("version 9"));
        let damaged = text.replacen("\"time\":", "\"tiem\":", 40);
        assert!(wrong(&damaged).starts_with("Line 2"), "{}", wrong(&damaged));
    }
}
