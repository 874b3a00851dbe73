//! A recording: events, played as they stand. One can go about in it, but not act. It is a trace that
//! was opened, or what came of a live cluster, which grows while one looks at its past.

mod opening;

use std::collections::VecDeque;
use std::hash::{Hash as _, Hasher as _};

use raft_core::digest::StableHasher;
use raft_core::event::Event;
use raft_core::sim::{BranchId, BranchInfo, Moment};
use raft_core::types::{SECOND, Time};
use raft_core::view::ClusterView;

use super::live::shift;
use super::sim::{Happened, Landed};
use crate::model::history::{Jump, Run};

/// See the module.
pub(crate) struct Replay {
    /// Those that are kept.
    events: VecDeque<Event>,
    /// When each of them is shown: clocks of servers differ, but time does not go back.
    times: VecDeque<Time>,
    /// States now and then. The first, of which there is always one, is that before all that is kept.
    checkpoints: VecDeque<Point>,
    /// The state after all that is kept.
    edge: Point,
    present: Point,
    now: Time,
    /// How far time has come; that may be later than the last event.
    end: Time,
    /// Whether it grows, and forgets what is oldest.
    live: bool,
}

/// The state after some of the events.
#[derive(Clone, Default)]
struct Point {
    /// How many there were, those that are forgotten included.
    passed: usize,
    view: ClusterView,
    digest: StableHasher,
}

impl Point {
    fn take(&mut self, event: &Event, live: bool) {
        self.view.observe(event);
        self.passed += 1;
        // Nobody compares what is never whole.
        if !live {
            event.hash(&mut self.digest);
        }
    }
}

/// So many events lie between two checkpoints.
const DISTANCE: usize = 2_000;

/// So many events of a live cluster are kept, and up to [`DISTANCE`] more.
const KEPT: usize = 100_000;

/// So many of the events before it are told of a moment.
const RECENT: usize = 1_500;

/// A trace that begins later than this by its clocks was recorded by real servers, whose clocks count
/// from 1970; it is shown from zero on.
const EPOCH: u64 = 365 * 24 * 3600 * SECOND;

impl Replay {
    /// A trace.
    pub(crate) fn new(mut events: Vec<Event>) -> Self {
        let first = events.iter().map(|event| event.time).min().unwrap_or(Time(0));
        if first.0 > EPOCH {
            shift::apply(&mut events, -first.0.cast_signed());
        }
        let mut replay = Self::empty(false);
        replay.append(events, Time(0));
        replay
    }

    /// What is going to come of a live cluster.
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

    /// Takes in what came, up to a time. Gives the moment at which what is kept begins, where that is
    /// another one than before.
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

    /// Forgets whole stretches between checkpoints, the oldest first.
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

    /// How many events are forgotten.
    fn first(&self) -> usize {
        self.checkpoints.front().map_or(0, |point| point.passed)
    }

    /// How many events there were, those that are forgotten included.
    fn total(&self) -> usize {
        self.edge.passed
    }

    /// How many events are kept.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.events.len()
    }

    /// Where what follows on the shown moment is forgotten, goes to the oldest that is kept.
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

    /// Goes elsewhere. `None` where there is no such place.
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

    /// Stands for all events up to the shown moment; of a live cluster for nothing.
    pub(crate) fn digest(&self) -> u64 {
        if self.live { 0 } else { self.present.digest.finish() }
    }

    /// All events up to the shown moment, and where what was before is forgotten first the state to
    /// which it led.
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

    /// Shows the state after so many events, or the nearest that is kept.
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

    /// Folds events up to a number of them into the state.
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

    /// When the latest event was that has been played.
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
                deeds: 0,
                branches: vec![whole(Moment { happened: self.total() as u64, time: self.end })],
            },
            ..Happened::default()
        }
    }
}

/// Stands for these events.
pub(crate) fn digest(events: &[Event]) -> u64 {
    let mut digest = StableHasher::default();
    for event in events {
        event.hash(&mut digest);
    }
    digest.finish()
}

/// The only branch of what is recorded.
pub(crate) const fn whole(end: Moment) -> BranchInfo {
    BranchInfo { id: BranchId(0), parted: None, end, deeds: 0, own_deeds: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::sim::{Sim, SimSetup};
    use crate::source::trace;

    fn recorded() -> (Vec<Event>, u64) {
        let mut sim = Sim::new(SimSetup::default());
        sim.advance(Time(4 * SECOND));
        (sim.trace(), sim.link().digest)
    }

    /// Guards recordings: a saved trace is read back as the same events, of the same digest.
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

    /// Guards going about in a recording: any way to a moment shows the same there.
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
        // As such a server sends them: many in a line, without a header.
        let lines: Vec<String> =
            events.chunks(7).map(|some| serde_json::to_string(some).unwrap()).collect();
        assert_eq!(trace::read(&lines.join("\n")).unwrap().0, events);
    }

    /// Guards people with the wrong file: they are told what is wrong, where, and what to do.
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
