//! A cluster that runs inside the page, on a timeline: one can go back in it, and acting in its past
//! begins another branch. It knows no clock: the page says up to when it shall run.

use raft_core::event::{Event, EventKind};
use raft_core::invariant::Violation;
use raft_core::rules::Mutation;
use raft_core::sim::{
    Action, ActionError, BranchId, Deed, Moment, NetworkConfig, SimConfig, Simulation, Timeline,
};
use raft_core::types::{MILLISECOND, RequestId, Time};
use raft_core::view::ClusterView;

use crate::link::Recall;
use crate::model::clients::Clients;
use crate::model::compare::{Comparison, Side};
use crate::model::deeds::conditions::Conditions;
use crate::model::history::{Jump, Run};
use crate::model::lessons::Play;
use crate::shared::Shared;
use crate::source::script::{Script, ScriptReport, Stretch};

/// What makes a run: the same setup and the same actions give the same events, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SimSetup {
    pub(crate) seed: u64,
    pub(crate) servers: u64,
    /// The rule that is broken, if any.
    pub(crate) broken: Option<Mutation>,
    /// The lesson whose cluster it is, if any; then the lesson's file says the rest.
    pub(crate) lesson: Option<Play>,
}

impl Default for SimSetup {
    fn default() -> Self {
        Self { seed: 1, servers: 3, broken: None, lesson: None }
    }
}

impl SimSetup {
    /// The largest cluster that is simulated.
    pub(crate) const MOST: u64 = 9;

    pub(crate) const fn servers_fit(servers: u64) -> bool {
        1 <= servers && servers <= Self::MOST
    }

    /// The page's network is a little slower than the simulator's own, so that messages are seen
    /// on their way at the same speed at which timers are seen to drain.
    pub(crate) fn config(self) -> SimConfig {
        if let Some((lesson, play)) = self.lesson.and_then(|play| Some((play.lesson()?, play))) {
            return lesson.config(play.arm);
        }
        let network = NetworkConfig {
            delay_min: 10 * MILLISECOND,
            delay_max: 25 * MILLISECOND,
            ..NetworkConfig::default()
        };
        SimConfig {
            seed: self.seed,
            servers: self.servers,
            network,
            mutation: self.broken,
            ..SimConfig::default()
        }
    }

    /// The same without a lesson.
    pub(crate) const fn free(self) -> Self {
        Self { lesson: None, ..self }
    }
}

/// What a simulation did when it was let run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Happened {
    pub(crate) now: Time,
    pub(crate) events: Vec<Event>,
    /// Properties of Raft that were broken so far, first to last.
    pub(crate) violations: Vec<Violation>,
    /// How network, disks and clocks behave now.
    pub(crate) conditions: Shared<Conditions>,
    /// Stands for all events so far; the same wherever the same run runs.
    pub(crate) digest: u64,
    pub(crate) run: Run,
    /// What clients asked and got so far.
    pub(crate) clients: Shared<Clients>,
    /// How the lesson's script stands, as long as there is one.
    pub(crate) script: Option<ScriptReport>,
}

/// Where a jump landed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Landed {
    /// What is shown there.
    pub(crate) view: ClusterView,
    /// Where it is; its events are those right before, not those since.
    pub(crate) happened: Happened,
}

/// See the module.
pub(crate) struct Sim {
    timeline: Timeline,
    conditions: Shared<Conditions>,
    /// The last thing that those conditions take into account.
    last_deed: Option<Deed>,
    clients: Shared<Clients>,
    /// A lesson's commands; none once somebody else acts.
    script: Option<Script>,
}

/// What happens in one frame at most, so that a high speed cannot stop the page: then the clock
/// runs slower than asked.
const STEPS_PER_FRAME: usize = 3000;

impl Sim {
    pub(crate) fn new(setup: SimSetup) -> Self {
        let mut timeline = Timeline::new(setup.config());
        let conditions = Shared::new(Conditions::of(timeline.config(), &[]));
        let script = setup.lesson.and_then(|play| Script::new(play, &mut timeline));
        let clients = Shared::default();
        Self { timeline, conditions, last_deed: None, clients, script }
    }

    /// A run in which everything is done that was done in another, and which goes as far. What is
    /// not possible in it is left out.
    pub(crate) fn again(setup: SimSetup, other: Option<&Self>) -> Self {
        let mut sim = Self::new(setup);
        if let Some(other) = other {
            for deed in other.simulation().journal() {
                sim.timeline.run_until(deed.at.time);
                let _ = sim.timeline.act(deed.action.clone());
            }
            sim.timeline.run_until(other.simulation().now());
        }
        sim
    }

    /// The run that a link tells of, all that was done in it included.
    pub(crate) fn recall(setup: SimSetup, recall: &Recall) -> Self {
        // What a lesson's script did is in the journal; the cluster goes on without it.
        let timeline = Timeline::of(setup.config(), recall.journal.clone());
        let mut sim = Self { timeline, script: None, ..Self::new(setup) };
        sim.timeline.run_to_moment(recall.at);
        sim
    }

    /// Goes to where a link's playhead stands, where that lies back.
    pub(crate) fn rewind(&mut self, recall: &Recall) -> Option<Landed> {
        let next = self.timeline.journal().get(recall.deeds);
        if next.is_some_and(|deed| deed.at == recall.at) {
            self.timeline.seek_before(recall.deeds);
        } else if self.timeline.moment() > recall.at {
            self.timeline.seek(recall.at);
        } else {
            return None;
        }
        Some(self.landed())
    }

    /// All that happened up to this moment, from the beginning on.
    pub(crate) fn trace(&self) -> Vec<Event> {
        let simulation = self.simulation();
        let mut again = Timeline::of(self.timeline.config().clone(), simulation.journal().to_vec());
        again.run_to_moment(simulation.moment());
        again.take_events()
    }

    /// Looks at two branches side by side, and comes back. `None` where there are no such two.
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

    /// What a link to this run and moment tells.
    pub(crate) fn link(&self) -> Recall {
        let simulation = self.simulation();
        Recall {
            journal: self.timeline.journal().to_vec(),
            at: simulation.moment(),
            deeds: simulation.journal().len(),
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
            // What breaks a promise is to be seen at once, and not some events later.
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

    /// Lets the next thing happen that leaves a trace.
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

    /// Does something to the cluster; for a client's question also gives its number.
    pub(crate) fn act(
        &mut self,
        action: Action,
    ) -> Result<(Option<RequestId>, Happened), ActionError> {
        let request = self.timeline.act(action)?;
        self.script = None;
        Ok((request, self.happened()))
    }

    /// Lets a lesson's script go on; in the past it has no say.
    pub(crate) fn play(&mut self, stretch: Stretch) -> Happened {
        if let Some(script) = self.script.as_mut().filter(|_| self.timeline.at_end()) {
            script.play(stretch, &mut self.timeline);
        }
        self.happened()
    }

    /// From now on the cluster goes on by itself.
    pub(crate) fn drop_script(&mut self) {
        self.script = None;
    }

    /// Goes elsewhere in the run. `None` when there is no such place.
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

    /// Goes to before the last thing that left a trace.
    fn back(&mut self) {
        let events = self.timeline.view().events;
        while self.timeline.view().events == events {
            let Moment { happened, .. } = self.timeline.moment();
            let journal = self.simulation().journal();
            // A deed comes after what happened at its moment.
            if let Some(last) = journal.last().filter(|deed| deed.at.happened == happened) {
                let (last, at) = (journal.len() - 1, last.at);
                self.timeline.seek_before(last);
                debug_assert_eq!(self.timeline.moment(), at);
                continue;
            }
            let Some(before) = happened.checked_sub(1) else { return };
            let deeds = journal.iter().rev().map(|deed| deed.at);
            let rested =
                deeds.take_while(|at| at.happened >= before).find(|at| at.happened == before);
            self.timeline.seek(rested.unwrap_or(Moment { happened: before, time: Time(0) }));
        }
    }

    /// How far the current branch has been run.
    fn end(&self) -> Moment {
        let current = self.timeline.current();
        let branch = self.timeline.branches().find(|branch| branch.id == current);
        branch.map_or(self.timeline.moment(), |branch| branch.end)
    }

    /// What is to be shown.
    #[cfg(test)]
    pub(crate) const fn view(&self) -> &ClusterView {
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

    /// What has happened since it was last asked.
    pub(crate) fn happened(&mut self) -> Happened {
        let conditions = self.conditions();
        // What the script let happen it has taken in itself; the rest came about without it.
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
                deeds: simulation.journal().len(),
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
        if journal.last() != self.last_deed.as_ref() {
            self.last_deed = journal.last().cloned();
            self.conditions = Shared::new(Conditions::of(self.timeline.config(), journal));
        }
        self.conditions.clone()
    }
}

/// Whether it may change what clients know.
const fn concerns_clients(event: &Event) -> bool {
    matches!(event.kind, EventKind::ClientRequest { .. } | EventKind::ClientAnswer { .. })
}

#[cfg(test)]
mod tests {
    use raft_core::types::NodeId;

    use super::*;

    fn digest(sim: &Sim) -> u64 {
        sim.simulation().digest()
    }

    /// Guards stepping back: it is the reverse of stepping, through happenings and deeds alike, and
    /// ends at the beginning.
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

    /// Guards undo: the cluster goes on as if the last deed had not been done, and the branch in
    /// which it was done stays.
    #[test]
    fn undo_parts_before_the_last_deed() {
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
