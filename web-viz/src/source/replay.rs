//! A recording: the events of a trace, played as they stand. One can go about in it, but not act.

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
    events: Vec<Event>,
    /// When each of them is shown: clocks of servers differ, but time does not go back.
    times: Vec<Time>,
    /// States now and then, by how many events lie before.
    checkpoints: Vec<Point>,
    present: Point,
    now: Time,
}

/// The state after some of the events.
#[derive(Clone, Default)]
struct Point {
    passed: usize,
    view: ClusterView,
    digest: StableHasher,
}

/// So many events lie between two checkpoints.
const DISTANCE: usize = 2_000;

/// A trace that begins later than this by its clocks was recorded by real servers, whose clocks count
/// from 1970; it is shown from zero on.
const EPOCH: u64 = 365 * 24 * 3600 * SECOND;

impl Replay {
    pub(crate) fn new(mut events: Vec<Event>) -> Self {
        let first = events.iter().map(|event| event.time).min().unwrap_or(Time(0));
        if first.0 > EPOCH {
            shift::apply(&mut events, -first.0.cast_signed());
        }
        let mut latest = Time(0);
        let times = events.iter().map(|event| {
            latest = latest.max(event.time);
            latest
        });
        let times = times.collect();
        let checkpoints = vec![Point::default()];
        Self { events, times, checkpoints, present: Point::default(), now: Time(0) }
    }

    /// Plays up to `time`.
    pub(crate) fn advance(&mut self, time: Time) -> Happened {
        let until = self.times.partition_point(|at| *at <= time);
        let events = self.play(until);
        let end = self.end();
        self.now = if self.present.passed == self.events.len() { end } else { time };
        self.happened(events)
    }

    /// Plays the next event.
    pub(crate) fn step(&mut self) -> Happened {
        let events = self.play((self.present.passed + 1).min(self.events.len()));
        self.now = self.latest();
        self.happened(events)
    }

    /// Goes elsewhere. `None` where there is no such place.
    pub(crate) fn jump(&mut self, jump: Jump) -> Option<Landed> {
        let passed = match jump {
            Jump::Time(time) | Jump::Branch(BranchId(0), time) => {
                self.now = time.min(self.end());
                self.times.partition_point(|at| *at <= time)
            }
            Jump::Back => self.present.passed.saturating_sub(1),
            Jump::End => self.events.len(),
            Jump::Undo | Jump::Branch(..) => return None,
        };
        let from = self.checkpoints.iter().rev().find(|point| point.passed <= passed);
        self.present = from.cloned().unwrap_or_default();
        let events = self.play(passed);
        if matches!(jump, Jump::Back | Jump::End) {
            self.now = self.latest();
        }
        Some(Landed { view: self.present.view.clone(), happened: self.happened(events) })
    }

    /// Stands for all events, as the trace's header names it.
    pub(crate) fn digest(&self) -> u64 {
        self.present.digest.finish()
    }

    /// All events that were played.
    pub(crate) fn trace(&self) -> &[Event] {
        &self.events[..self.present.passed]
    }

    /// Folds events up to a number of them into the state.
    fn play(&mut self, until: usize) -> Vec<Event> {
        let from = self.present.passed;
        for event in &self.events[from..until] {
            self.present.view.observe(event);
            event.hash(&mut self.present.digest);
            self.present.passed += 1;
            let last = self.checkpoints.last().map_or(0, |point| point.passed);
            if self.present.passed >= last + DISTANCE {
                self.checkpoints.push(self.present.clone());
            }
        }
        self.events[from..until].to_vec()
    }

    /// When the latest event was that has been played.
    fn latest(&self) -> Time {
        let last = self.present.passed.checked_sub(1);
        last.and_then(|last| self.times.get(last)).copied().unwrap_or(Time(0))
    }

    fn end(&self) -> Time {
        self.times.last().copied().unwrap_or(Time(0))
    }

    fn happened(&self, events: Vec<Event>) -> Happened {
        let end = Moment { happened: self.events.len() as u64, time: self.end() };
        let whole = BranchInfo { id: BranchId(0), parted: None, end, deeds: 0, own_deeds: 0 };
        Happened {
            now: self.now,
            events,
            digest: self.digest(),
            run: Run {
                current: BranchId(0),
                at_end: self.present.passed == self.events.len(),
                deeds: 0,
                branches: vec![whole],
            },
            ..Happened::default()
        }
    }
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
        assert!(replay.end() <= Time(4 * SECOND), "{}", replay.end());
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
