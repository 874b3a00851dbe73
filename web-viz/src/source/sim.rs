//! A simulated cluster on a timeline. A person can go back in it, and acting in its past starts
//! another branch. It has no clock: the page says up to which time it runs.

use raft_core::event::{Event, EventKind};
use raft_core::sim::{Action, ActionError, BranchId, JournalEntry, Moment, Simulation, Timeline};
use raft_core::types::{RequestId, Time};

use crate::domain::actions::conditions::Conditions;
use crate::domain::clients::Clients;
use crate::domain::compare::{Comparison, Side};
use crate::domain::history::{Jump, Run};
use crate::domain::run::{Happened, Landed, SimSetup, Stretch};
use crate::link::Recall;
use crate::shared::Shared;
use crate::source::script::Script;

pub(crate) struct Sim {
    timeline: Timeline,
    conditions: Shared<Conditions>,
    /// The last action that `conditions` includes.
    last_action: Option<JournalEntry>,
    clients: Shared<Clients>,
    /// A lesson's script. It ends with any other action.
    script: Option<Script>,
}

/// The maximum number of steps per frame. At a high speed the clock runs slower than requested, but
/// the page does not block.
const STEPS_PER_FRAME: usize = 3000;

impl Sim {
    pub(crate) fn new(setup: SimSetup) -> Self {
        let mut timeline = Timeline::new(setup.config());
        let conditions = Shared::new(Conditions::of(timeline.config(), &[]));
        let script = setup.lesson.and_then(|play| Script::new(play, &mut timeline));
        let clients = Shared::default();
        Self { timeline, conditions, last_action: None, clients, script }
    }

    /// A run that repeats the actions of another run and advances to the same time. Actions that
    /// are not possible are left out.
    pub(crate) fn again(setup: SimSetup, other: Option<&Self>) -> Self {
        let mut sim = Self::new(setup);
        if let Some(other) = other {
            for entry in other.simulation().journal() {
                sim.timeline.run_until(entry.at.time);
                let _ = sim.timeline.act(entry.action.clone());
            }
            sim.timeline.run_until(other.simulation().now());
        }
        sim
    }

    /// The run of a link, with all its actions.
    pub(crate) fn recall(setup: SimSetup, recall: &Recall) -> Self {
        // The journal contains what a lesson's script did. The cluster goes on without the script.
        let timeline = Timeline::of(setup.config(), recall.journal.clone());
        let mut sim = Self { timeline, script: None, ..Self::new(setup) };
        sim.timeline.run_to_moment(recall.at);
        sim
    }

    /// Goes back to a link's playhead, if that is in the past.
    pub(crate) fn rewind(&mut self, recall: &Recall) -> Option<Landed> {
        let next = self.timeline.journal().get(recall.actions);
        if next.is_some_and(|entry| entry.at == recall.at) {
            self.timeline.seek_before(recall.actions);
        } else if self.timeline.moment() > recall.at {
            self.timeline.seek(recall.at);
        } else {
            return None;
        }
        Some(self.landed())
    }

    /// All events from the beginning up to this moment.
    pub(crate) fn trace(&self) -> Vec<Event> {
        let simulation = self.simulation();
        let mut again = Timeline::of(self.timeline.config().clone(), simulation.journal().to_vec());
        again.run_to_moment(simulation.moment());
        again.take_events()
    }

    /// Compares two branches, then returns to the current moment. `None` if a branch does not
    /// exist.
    pub(crate) fn compare(&mut self, branches: [BranchId; 2]) -> Option<Comparison> {
        let end = |id| self.timeline.branches().find(|branch| branch.id == id).map(|it| it.end);
        let [Some(left), Some(right)] = branches.map(end) else { return None };
        let at = left.time.min(right.time);
        let difference = self.timeline.compare(branches[0], branches[1]);
        let (left, right) = difference.map_or((None, None), |it| (it.left, it.right));
        let (current, here) = (self.timeline.current(), self.link());
        let sides = [(branches[0], left), (branches[1], right)].map(|(branch, first)| {
            self.timeline.switch(branch);
            self.timeline.seek_time(at);
            let simulation = self.simulation();
            let violated = simulation.violations().iter().map(|it| it.property.to_string());
            Side::of(branch, first, self.timeline.view(), violated.collect(), simulation.digest())
        });
        self.timeline.switch(current);
        self.rewind(&here);
        Some(Comparison { at, sides })
    }

    /// The contents of a link to this run and moment.
    pub(crate) fn link(&self) -> Recall {
        let simulation = self.simulation();
        Recall {
            journal: self.timeline.journal().to_vec(),
            at: simulation.moment(),
            actions: simulation.journal().len(),
            digest: simulation.digest(),
        }
    }

    /// Runs up to `time`, or as far as one frame allows.
    pub(crate) fn advance(&mut self, time: Time) -> Happened {
        let mut time = time;
        if let Some(script) = &mut self.script {
            if self.timeline.at_end() {
                script.advance(&mut self.timeline, time);
                return self.happened();
            }
            time = time.min(self.end().time);
        }
        let broken = self.simulation().violations().len();
        for _ in 0..STEPS_PER_FRAME {
            // Stop at a violation, to show it immediately.
            if self.simulation().violations().len() > broken {
                break;
            }
            if self.simulation().next_at().is_none_or(|next| next > time) {
                self.timeline.run_until(time);
                break;
            }
            self.timeline.step();
        }
        self.happened()
    }

    /// Runs until the next event.
    pub(crate) fn step(&mut self) -> Happened {
        let before = self.timeline.view().events;
        if let Some(script) = self.script.as_mut().filter(|_| self.timeline.at_end()) {
            while self.timeline.view().events == before && script.may_go_on() {
                let simulation = self.timeline.simulation();
                let next = simulation.next_at().unwrap_or(simulation.now());
                script.advance(&mut self.timeline, next);
            }
            return self.happened();
        }
        while self.timeline.step() && self.timeline.view().events == before {}
        self.happened()
    }

    /// Carries out an action. For a client's request also returns its ID.
    pub(crate) fn act(
        &mut self,
        action: Action,
    ) -> Result<(Option<RequestId>, Happened), ActionError> {
        let request = self.timeline.act(action)?;
        self.script = None;
        Ok((request, self.happened()))
    }

    /// Plays a lesson's script. In the past the script does nothing.
    pub(crate) fn play(&mut self, stretch: Stretch) -> Happened {
        if let Some(script) = self.script.as_mut().filter(|_| self.timeline.at_end()) {
            script.play(stretch, &mut self.timeline);
        }
        self.happened()
    }

    /// Drops the script: from now on the cluster runs by itself.
    pub(crate) fn drop_script(&mut self) {
        self.script = None;
    }

    /// Jumps to another moment of the run. `None` if there is no such moment.
    pub(crate) fn jump(&mut self, jump: Jump) -> Option<Landed> {
        match jump {
            Jump::Time(time) => self.timeline.seek_time(time),
            Jump::End => self.timeline.seek(self.end()),
            Jump::Back => self.back(),
            Jump::Undo => {
                let last = self.simulation().journal().len().checked_sub(1)?;
                self.timeline.seek_before(last);
                self.timeline.part();
                self.script = None;
            }
            Jump::Branch(branch, time) => {
                if !self.timeline.switch(branch) {
                    return None;
                }
                self.script = None;
                self.timeline.seek_time(time);
            }
        }
        Some(self.landed())
    }

    /// Goes to before the last step that produced an event.
    fn back(&mut self) {
        let events = self.timeline.view().events;
        while self.timeline.view().events == events {
            let Moment { happened, .. } = self.timeline.moment();
            let journal = self.simulation().journal();
            // An action comes after the events of its moment.
            if let Some(last) = journal.last().filter(|entry| entry.at.happened == happened) {
                let (last, at) = (journal.len() - 1, last.at);
                self.timeline.seek_before(last);
                debug_assert_eq!(self.timeline.moment(), at);
                continue;
            }
            let Some(before) = happened.checked_sub(1) else { return };
            let actions = journal.iter().rev().map(|entry| entry.at);
            let rested =
                actions.take_while(|at| at.happened >= before).find(|at| at.happened == before);
            self.timeline.seek(rested.unwrap_or(Moment { happened: before, time: Time(0) }));
        }
    }

    /// The end of the current branch, as far as it was run.
    fn end(&self) -> Moment {
        let current = self.timeline.current();
        let branch = self.timeline.branches().find(|branch| branch.id == current);
        branch.map_or(self.timeline.moment(), |branch| branch.end)
    }

    /// The state of the cluster.
    #[cfg(test)]
    pub(crate) const fn view(&self) -> &raft_core::view::ClusterView {
        self.timeline.view()
    }

    const fn simulation(&self) -> &Simulation {
        self.timeline.simulation()
    }

    fn landed(&mut self) -> Landed {
        let lead_up = self.timeline.take_lead_up();
        self.judge_clients();
        Landed {
            view: self.timeline.view().clone(),
            happened: Happened { events: lead_up, ..self.happened() },
        }
    }

    /// What has happened since the last call.
    pub(crate) fn happened(&mut self) -> Happened {
        let conditions = self.conditions();
        // The script has taken the events that it caused; the timeline has the others.
        let mut events = self.script.as_mut().map(Script::news).unwrap_or_default();
        events.extend(self.timeline.take_events());
        if events.iter().any(concerns_clients) {
            self.judge_clients();
        }
        let simulation = self.timeline.simulation();
        Happened {
            now: simulation.now(),
            violations: simulation.violations().to_vec(),
            conditions,
            digest: simulation.digest(),
            run: Run {
                current: self.timeline.current(),
                at_end: self.timeline.at_end(),
                actions: simulation.journal().len(),
                branches: self.timeline.branches().collect(),
            },
            events,
            clients: self.clients.clone(),
            script: self.script.as_ref().map(|script| script.report(&self.timeline)),
        }
    }

    fn judge_clients(&mut self) {
        let judged = Clients::judge(self.timeline.simulation().history());
        if judged.operations != self.clients.operations {
            self.clients = Shared::new(judged);
        }
    }

    fn conditions(&mut self) -> Shared<Conditions> {
        let journal = self.timeline.simulation().journal();
        if journal.last() != self.last_action.as_ref() {
            self.last_action = journal.last().cloned();
            self.conditions = Shared::new(Conditions::of(self.timeline.config(), journal));
        }
        self.conditions.clone()
    }
}

/// Whether the event can change the clients' operations.
const fn concerns_clients(event: &Event) -> bool {
    matches!(event.kind, EventKind::ClientRequest { .. } | EventKind::ClientAnswer { .. })
}

#[cfg(test)]
mod tests {
    use raft_core::types::MILLISECOND;

    use raft_core::types::NodeId;

    use super::*;

    fn digest(sim: &Sim) -> u64 {
        sim.simulation().digest()
    }

    /// Guards that stepping back reverses the steps, through events and actions, and stops at the
    /// beginning.
    #[test]
    fn stepping_back_goes_the_way_of_the_steps() {
        let mut sim = Sim::new(SimSetup { seed: 3, ..SimSetup::default() });
        sim.advance(Time(300 * MILLISECOND));
        let mut digests = Vec::new();
        for number in 0..30 {
            digests.push(digest(&sim));
            match number {
                7 => drop(sim.act(Action::Crash(NodeId(2))).unwrap()),
                19 => drop(sim.act(Action::Restart(NodeId(2))).unwrap()),
                _ => drop(sim.step()),
            }
        }
        for expected in digests.iter().rev() {
            sim.jump(Jump::Back);
            assert_eq!(digest(&sim), *expected);
        }
        sim.jump(Jump::Time(Time(0)));
        let first = digest(&sim);
        assert_eq!(digest(&Sim::new(SimSetup { seed: 3, ..SimSetup::default() })), first);
        sim.jump(Jump::Back);
        assert_eq!(digest(&sim), first, "there is nothing before the beginning");
        sim.jump(Jump::End);
        assert!(sim.timeline.at_end());
        assert_eq!(sim.timeline.branches().count(), 1);
    }

    /// Guards that undo continues the cluster without the last action, and keeps the old branch.
    #[test]
    fn undo_branches_before_the_last_action() {
        let mut sim = Sim::new(SimSetup { seed: 3, ..SimSetup::default() });
        assert!(sim.jump(Jump::Undo).is_none(), "nothing was done yet");
        sim.advance(Time(300 * MILLISECOND));
        let before = digest(&sim);
        sim.act(Action::Crash(NodeId(1))).unwrap();
        sim.advance(Time(900 * MILLISECOND));
        let crashed = digest(&sim);
        let landed = sim.jump(Jump::Undo).unwrap();
        assert_eq!((digest(&sim), landed.happened.now), (before, Time(300 * MILLISECOND)));
        assert_eq!(landed.happened.run.current, BranchId(1));
        sim.jump(Jump::Branch(BranchId(0), Time(u64::MAX))).unwrap();
        assert_eq!(digest(&sim), crashed);
    }
}
