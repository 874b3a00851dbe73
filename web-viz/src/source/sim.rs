//! A cluster that runs inside the page. It knows no clock: the page says up to when it shall run.

use raft_core::event::Event;
use raft_core::invariant::Violation;
use raft_core::rules::Mutation;
use raft_core::sim::{Action, ActionError, Deed, NetworkConfig, SimConfig, Simulation};
use raft_core::types::{MILLISECOND, RequestId, Time};

use crate::model::deeds::conditions::Conditions;
use crate::model::lessons::Play;
use crate::shared::Shared;

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
}

/// See the module.
pub(crate) struct Sim {
    simulation: Simulation,
    conditions: Shared<Conditions>,
    /// The last thing that those conditions take into account.
    last_deed: Option<Deed>,
}

/// What happens in one frame at most, so that a high speed cannot stop the page: then the clock
/// runs slower than asked.
const STEPS_PER_FRAME: usize = 3000;

impl Sim {
    pub(crate) fn new(setup: SimSetup) -> Self {
        let simulation = Simulation::new(setup.config());
        let conditions = Shared::new(Conditions::of(simulation.config(), &[]));
        Self { simulation, conditions, last_deed: None }
    }

    /// A run in which everything is done that was done in another, and which goes as far. What is
    /// not possible in it is left out.
    pub(crate) fn again(setup: SimSetup, other: Option<&Self>) -> Self {
        let mut sim = Self::new(setup);
        if let Some(other) = other {
            for deed in other.simulation.journal() {
                sim.simulation.run_until(deed.at.time);
                let _ = sim.simulation.act(deed.action.clone());
            }
            sim.simulation.run_until(other.simulation.now());
        }
        sim
    }

    /// Runs up to `time`, or as far as one frame allows.
    pub(crate) fn advance(&mut self, time: Time) -> Happened {
        let broken = self.simulation.violations().len();
        for _ in 0..STEPS_PER_FRAME {
            // What breaks a promise is to be seen at once, and not some events later.
            if self.simulation.violations().len() > broken {
                break;
            }
            if self.simulation.next_at().is_none_or(|next| next > time) {
                self.simulation.run_until(time);
                break;
            }
            self.simulation.step();
        }
        self.happened()
    }

    /// Lets the next thing happen that leaves a trace.
    pub(crate) fn step(&mut self) -> Happened {
        while self.simulation.step() {
            let happened = self.happened();
            if !happened.events.is_empty() {
                return happened;
            }
        }
        self.happened()
    }

    /// Does something to the cluster; for a client's question also gives its number.
    pub(crate) fn act(
        &mut self,
        action: Action,
    ) -> Result<(Option<RequestId>, Happened), ActionError> {
        let request = self.simulation.act(action)?;
        Ok((request, self.happened()))
    }

    /// What has happened since it was last asked.
    pub(crate) fn happened(&mut self) -> Happened {
        Happened {
            now: self.simulation.now(),
            events: self.simulation.take_events(),
            violations: self.simulation.violations().to_vec(),
            conditions: self.conditions(),
            digest: self.simulation.digest(),
        }
    }

    fn conditions(&mut self) -> Shared<Conditions> {
        let journal = self.simulation.journal();
        if journal.last() != self.last_deed.as_ref() {
            self.last_deed = journal.last().cloned();
            self.conditions = Shared::new(Conditions::of(self.simulation.config(), journal));
        }
        self.conditions.clone()
    }
}
