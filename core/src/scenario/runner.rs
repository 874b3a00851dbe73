//! Runs a scenario, one command at a time, in a simulation that the caller owns.

use super::guarantee::{Guarantee, Watch};
use super::judge::Scene;
use super::{Arm, Fault, Line, Scenario};
use crate::event::{Event, EventKind, Outcome};
use crate::kv;
use crate::message::Message;
use crate::sim::{Action, ActionError, Simulation, Timeline};
use crate::types::{EventId, RequestId, SessionId, Time};
use crate::view::ClusterView;

/// Where a scenario runs: a simulation, perhaps with more around it (a screen, a timeline).
pub trait World {
    /// The simulated cluster.
    fn simulation(&self) -> &Simulation;
    /// Takes an action on the cluster.
    fn act(&mut self, action: Action) -> Result<Option<RequestId>, ActionError>;
    /// Processes the next happening.
    fn step(&mut self);
    /// Lets time pass; nothing happens before `time`.
    fn rest_until(&mut self, time: Time);
    /// All events since the last call.
    fn news(&mut self) -> Vec<Event>;
}

impl World for Simulation {
    fn simulation(&self) -> &Simulation {
        self
    }

    fn act(&mut self, action: Action) -> Result<Option<RequestId>, ActionError> {
        Self::act(self, action)
    }

    fn step(&mut self) {
        Self::step(self);
    }

    fn rest_until(&mut self, time: Time) {
        self.run_until(time);
    }

    fn news(&mut self) -> Vec<Event> {
        self.take_events()
    }
}

/// With a timeline, a learner can go back in the run and try another action there.
impl World for Timeline {
    fn simulation(&self) -> &Simulation {
        self.simulation()
    }

    fn act(&mut self, action: Action) -> Result<Option<RequestId>, ActionError> {
        self.act(action)
    }

    fn step(&mut self) {
        self.step();
    }

    fn rest_until(&mut self, time: Time) {
        self.run_until(time);
    }

    fn news(&mut self) -> Vec<Event> {
        self.take_events()
    }
}

/// The progress of [`Runner::advance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A command is done. The next call begins the next command.
    Done,
    /// The command still waits for something. The next call continues it.
    Waits,
    /// All commands are done, and everything was as the file says.
    Finished,
}

/// Runs one arm of a scenario.
#[derive(Clone, Debug)]
pub struct Runner {
    scenario: Scenario,
    arm: Arm,
    /// The lines of this arm, each with the number of its step.
    lines: Vec<(usize, Line)>,
    next: usize,
    /// The deadline of the current waiting command.
    pub(super) limit: Option<Time>,
    pub(super) record: Record,
}

/// The events and requests so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    events: Vec<Event>,
    view: ClusterView,
    watch: Watch,
    /// Where the events of the current step begin.
    step_begins: usize,
    /// The requests and the words of their lines, oldest first.
    requests: Vec<(String, RequestId)>,
}

impl Runner {
    /// A runner of one arm, before its first command. Its simulation must start from
    /// [`Scenario::config`].
    pub fn new(scenario: &Scenario, arm: Arm) -> Self {
        let lines = scenario.lines(arm).map(|(step, line)| (step, line.clone())).collect();
        let scenario = scenario.clone();
        Self { scenario, arm, lines, next: 0, limit: None, record: Record::default() }
    }

    /// The next command, with the number of its step; `None` at the end.
    pub fn next_line(&self) -> Option<(usize, &Line)> {
        self.lines.get(self.next).map(|(step, line)| (*step, line))
    }

    /// All events since the beginning.
    pub fn events(&self) -> &[Event] {
        &self.record.events
    }

    /// The guarantees that were violated so far, first to last.
    pub fn broken(&self, simulation: &Simulation) -> Vec<(Guarantee, Time)> {
        self.record.broken(simulation)
    }

    /// Records what has happened so far, such as the start of the servers. [`Runner::advance`] does
    /// this itself. A screen needs it to show the cluster before the first command.
    pub fn take_in(&mut self, world: &mut impl World) {
        self.record.take_in(world);
    }

    /// Carries out the next command, or continues a waiting command. A command that lets time pass
    /// stops at `until`, to let a screen show the progress.
    pub fn advance(&mut self, world: &mut impl World, until: Time) -> Result<Progress, Fault> {
        self.record.take_in(world);
        let Some((step, line)) = self.lines.get(self.next).cloned() else {
            self.judge(world.simulation())?;
            return Ok(Progress::Finished);
        };
        let begins_step = self.next == 0 || self.lines[self.next - 1].0 != step;
        if begins_step && self.limit.is_none() {
            self.record.begin_step();
        }
        let done = self.perform(&line, world, until);
        self.record.take_in(world);
        let done = done.map_err(|message| self.fault(line.number, message))?;
        if !done {
            return Ok(Progress::Waits);
        }
        self.limit = None;
        self.next += 1;
        Ok(Progress::Done)
    }

    /// Runs all remaining commands.
    pub fn finish(mut self, world: &mut impl World) -> Result<(), Fault> {
        while self.advance(world, Time(u64::MAX))? != Progress::Finished {}
        Ok(())
    }

    fn fault(&self, line: usize, message: String) -> Fault {
        Fault { file: self.scenario.file.clone(), line, message }
    }

    /// The final check. In the kept arm, no guarantee may be violated. In the broken arm, the
    /// promised guarantee must be the first to fail.
    fn judge(&mut self, simulation: &Simulation) -> Result<(), Fault> {
        self.record.watch.judge_history(simulation);
        let promised = self.scenario.header.fails;
        let broken = self.record.broken(simulation);
        let safety = broken.iter().find(|(it, _)| it.is_safety()).map(|(it, _)| *it);
        let of_time = broken.iter().map(|(it, _)| *it).find(|it| Some(*it) == promised);
        let first = safety.or(of_time);
        let line = self.lines.last().map_or(1, |(_, line)| line.number);
        match (self.arm, first) {
            (Arm::Kept, None) => Ok(()),
            (Arm::Kept, Some(first)) => {
                let explanation = explanation(simulation, first);
                let rules = if simulation.config().mutation.is_some() {
                    "a rule is broken"
                } else {
                    "every rule is in place"
                };
                Err(self.fault(line, format!("{rules}, and {first} is violated{explanation}")))
            }
            (Arm::Broken, first) if first == promised => Ok(()),
            (Arm::Broken, first) => {
                let found = first.map_or("nothing".to_owned(), |first| first.to_string());
                let promised = promised.map_or("nothing".to_owned(), |it| it.to_string());
                let message = format!(
                    "expected {promised} to be violated first, found {found} {}",
                    self.scene(simulation).summary()
                );
                Err(self.fault(line, message))
            }
        }
    }

    pub(super) const fn scene<'a>(&'a self, simulation: &'a Simulation) -> Scene<'a> {
        Scene { simulation, record: &self.record }
    }

    /// Records the request that a line made.
    pub(super) fn asked(&mut self, line: &Line, request: Option<RequestId>, at: Time) {
        if let Some(request) = request {
            self.record.requests.push((line.text.clone(), request));
            self.record.watch.asked(request, at);
        }
    }
}

fn explanation(simulation: &Simulation, guarantee: Guarantee) -> String {
    let violation = simulation
        .violations()
        .iter()
        .find(|violation| guarantee == Guarantee::from(violation.property));
    violation.map_or_else(String::new, |it| format!(": {}", it.explanation))
}

impl Record {
    /// Records the new events.
    pub(super) fn take_in(&mut self, world: &mut impl World) {
        for event in world.news() {
            self.view.observe(&event);
            self.watch.observe(&event, world.simulation());
            self.events.push(event);
        }
    }

    const fn begin_step(&mut self) {
        self.step_begins = self.events.len();
    }

    pub(super) fn events_of_step(&self) -> &[Event] {
        &self.events[self.step_begins..]
    }

    pub(super) fn message(&self, id: EventId) -> Option<&Message> {
        self.view.messages.get(&id).map(|flight| &flight.message)
    }

    /// The latest request with these words.
    pub(super) fn request(&self, words: &str) -> Option<RequestId> {
        self.requests.iter().rev().find(|(asked, _)| asked == words).map(|(_, id)| *id)
    }

    /// The words of all requests.
    pub(super) fn asked(&self) -> String {
        let asked: Vec<String> =
            self.requests.iter().map(|(words, _)| format!("`{words}`")).collect();
        if asked.is_empty() { "none".to_owned() } else { asked.join(", ") }
    }

    /// The answer to a request; `None` before it arrives.
    pub(super) fn outcome(&self, id: RequestId) -> Option<&Outcome> {
        self.events.iter().rev().find_map(|event| {
            let EventKind::ClientAnswer { request, outcome } = &event.kind else { return None };
            (*request == id).then_some(outcome)
        })
    }

    /// The session that was opened last.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.events.iter().rev().find_map(|event| {
            let EventKind::ClientAnswer { outcome: Outcome::Applied { applied, .. }, .. } =
                &event.kind
            else {
                return None;
            };
            if let kv::Answer::Session(id) = applied.answer { Some(id) } else { None }
        })
    }

    /// The guarantees that were violated so far, first to last.
    pub(super) fn broken(&self, simulation: &Simulation) -> Vec<(Guarantee, Time)> {
        let checked = simulation.violations().iter();
        let checked = checked.map(|it| (Guarantee::from(it.property), it.time));
        let mut all: Vec<(Guarantee, Time)> =
            checked.chain(self.watch.broken().iter().copied()).collect();
        all.sort_by_key(|(_, time)| *time);
        // A read is judged when it is answered, and again with the whole history.
        let mut seen = Vec::new();
        all.retain(|(guarantee, _)| {
            let new = !seen.contains(guarantee);
            seen.push(*guarantee);
            new
        });
        all
    }

    pub(super) fn judge_history(&mut self, simulation: &Simulation) {
        self.watch.judge_history(simulation);
    }
}
