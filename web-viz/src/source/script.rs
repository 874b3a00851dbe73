//! Plays the commands of a lesson, step by step, in a cluster that the caller owns.

use raft_core::event::Event;
use raft_core::scenario::{Progress, Runner, World};
use raft_core::types::Time;

use crate::domain::lessons::Play;
use crate::domain::run::{ScriptReport, Stretch};

pub(crate) struct Script {
    runner: Runner,
    /// How many of the runner's events were returned.
    told: usize,
    /// The last step that may be played.
    to: Option<usize>,
    /// The lesson's last step with commands.
    last: usize,
    end: Option<Result<(), String>>,
}

impl Script {
    /// Prepares a lesson before its first command, in a cluster that has just started.
    pub(crate) fn new(play: Play, world: &mut impl World) -> Option<Self> {
        let lesson = play.lesson()?;
        let last = lesson.lines(play.arm).map(|(step, _)| step).max()?;
        let mut runner = Runner::new(lesson, play.arm);
        runner.take_in(world);
        Some(Self { runner, told: 0, to: None, last, end: None })
    }

    pub(crate) fn play(&mut self, stretch: Stretch, world: &mut impl World) {
        self.to = stretch.ahead.checked_sub(1);
        self.advance(world, Time(u64::MAX));
        self.to = stretch.to.max(self.to);
    }

    /// Plays up to a time, or to the end of what may be played.
    pub(crate) fn advance(&mut self, world: &mut impl World, until: Time) {
        while self.may_go_on() {
            match self.runner.advance(world, until) {
                Ok(Progress::Done) => {}
                Ok(Progress::Waits) => return,
                Ok(Progress::Finished) => self.end = Some(Ok(())),
                Err(fault) => self.end = Some(Err(fault.to_string())),
            }
        }
    }

    pub(crate) fn may_go_on(&self) -> bool {
        let next = self.runner.next_line().map_or(self.last, |(step, _)| step);
        self.end.is_none() && self.to.is_some_and(|to| next <= to)
    }

    /// The events since the last call.
    pub(crate) fn news(&mut self) -> Vec<Event> {
        let all = self.runner.events();
        let news = all[self.told..].to_vec();
        self.told = all.len();
        news
    }

    pub(crate) fn report(&self, world: &impl World) -> ScriptReport {
        let broken = self.runner.broken(world.simulation());
        ScriptReport {
            line: self.runner.next_line().map(|(_, line)| line.number),
            held: !self.may_go_on(),
            end: self.end.clone(),
            broken: broken.into_iter().map(|(what, at)| (what.to_string(), at)).collect(),
        }
    }
}
