//! Random runs ("swarm testing"): each run draws which faults it uses and how often. Faults occur
//! in a safety phase. Then all faults stop, and the cluster must elect and commit in bounded time.

mod faults;
mod load;
mod members;
mod obligations;
mod pace;
mod promises;
mod recovery;
mod spoiled;

use std::fmt;

use faults::Faults;
use load::Load;
use members::Members;
use promises::Promises;

use super::{JournalEntry, SimConfig, Simulation};
use crate::event::{DropReason, Event, EventKind, MessageRefusal};
use crate::history;
use crate::invariant::Violation;
use crate::random::Random;
use crate::rules::Mutation;
use crate::types::{Micros, Time};

/// How long the safety phase lasts, in µs.
fn safety_phase(config: &SimConfig) -> Micros {
    pace::span(config, 4_000)
}

/// One random run.
#[derive(Clone, Debug)]
pub struct Swarm {
    simulation: Simulation,
    random: Random,
    faults: Faults,
    members: Members,
    load: Load,
    watch: Watch,
    events: u64,
    /// The number of actions in the safety phase.
    troubles: usize,
}

/// The checks of events in addition to the properties.
#[derive(Clone, Debug, Default)]
struct Watch {
    promises: Promises,
}

impl Watch {
    fn observe(&mut self, config: &SimConfig, events: &[Event]) -> Result<(), Failure> {
        for event in events {
            self.promises.observe(&config.node, event).map_err(Failure::Promise)?;
            if config.mutation.is_none()
                && let EventKind::StateDiffers { .. } = event.kind
            {
                return Err(Failure::Alarm(event.to_string()));
            }
        }
        Ok(())
    }
}

/// The result of a passed run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The hash over all events of the run.
    pub digest: u64,
    /// The number of events.
    pub events: u64,
}

/// Why a run failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// A property was violated.
    Violation(Violation),
    /// No order of the operations explains what the clients saw.
    History(Box<history::NotLinearizable>),
    /// A voter broke its promise to a leader, on which leases rely.
    Promise(String),
    /// The cluster did not meet an obligation after all faults had stopped.
    Liveness(String),
    /// A client got an answer that no correct cluster gives.
    Answer(&'static str),
    /// A server refused a message from another server. No correct server sends such a message.
    Nonsense(MessageRefusal),
    /// A server reported that another server has a different state.
    Alarm(String),
}

impl Swarm {
    /// The run of this seed. `mutation` breaks one rule in it.
    pub fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        // A separate stream: what is drawn here does not shift the draws of the simulation.
        let mut random = Random::new(seed ^ 0x5a1a_d5a1_ad5a_1ad5);
        let members = Members::draw(&mut random);
        let load = Load::draw(&mut random);
        let config = faults::config(seed, mutation, load.largest(), &mut random);
        let faults = Faults::draw(&config, members, &mut random);
        let simulation = Simulation::new(config);
        let watch = Watch::default();
        Self { simulation, random, faults, members, load, watch, events: 0, troubles: 0 }
    }

    /// The simulation, to explain a failure.
    pub const fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// The actions of the safety phase. Together with the configuration they determine the run.
    pub fn troubles(&self) -> &[JournalEntry] {
        let journal = self.simulation.journal();
        journal.get(..self.troubles).unwrap_or(journal)
    }

    /// Runs both phases and judges the clients' history.
    pub fn run(&mut self) -> Result<Outcome, Failure> {
        let end = Time(safety_phase(self.simulation.config()));
        while self.simulation.now() < end {
            self.faults.trouble(&mut self.simulation, &mut self.random);
            self.members.trouble(&mut self.simulation, &mut self.random);
            self.load.ask(&mut self.simulation, &mut self.random);
            self.troubles = self.simulation.journal().len();
            let pause = self.random.between(1, 40);
            let pause = pace::span(self.simulation.config(), pause);
            self.simulation.run_until(self.simulation.now().after(pause));
            let events = self.simulation.take_events();
            self.events += events.len() as u64;
            judge_properties(&self.simulation)?;
            judge_messages(&self.simulation, &events)?;
            self.watch.observe(self.simulation.config(), &events)?;
            self.load.observe(&events).map_err(Failure::Answer)?;
        }
        self.events += recovery::recover(&mut self.simulation, &mut self.watch)?;
        judge_history(&self.simulation)?;
        Ok(Outcome { digest: self.simulation.digest(), events: self.events })
    }
}

/// Runs the safety phase with these actions at their times, and then the recovery. Skips impossible
/// actions. Judges shrunk runs as [`Swarm::run`] does, but not the answers that clients check
/// themselves.
pub fn judge(config: SimConfig, troubles: &[JournalEntry]) -> (Simulation, Result<(), Failure>) {
    let mut simulation = Simulation::new(config);
    let verdict = judge_in(&mut simulation, troubles);
    (simulation, verdict)
}

fn judge_in(simulation: &mut Simulation, troubles: &[JournalEntry]) -> Result<(), Failure> {
    let mut watch = Watch::default();
    for entry in troubles {
        simulation.run_until(entry.at.time);
        let _ = simulation.act(entry.action.clone());
        let events = simulation.take_events();
        judge_properties(simulation)?;
        judge_messages(simulation, &events)?;
        watch.observe(simulation.config(), &events)?;
    }
    simulation.run_until(Time(safety_phase(simulation.config())));
    let events = simulation.take_events();
    judge_properties(simulation)?;
    judge_messages(simulation, &events)?;
    watch.observe(simulation.config(), &events)?;
    recovery::recover(simulation, &mut watch)?;
    judge_history(simulation)
}

fn judge_properties(simulation: &Simulation) -> Result<(), Failure> {
    match simulation.violations() {
        [] => Ok(()),
        [first, ..] => Err(Failure::Violation(first.clone())),
    }
}

/// If no rule is broken, no server sends a message that another server must refuse.
fn judge_messages(simulation: &Simulation, events: &[Event]) -> Result<(), Failure> {
    let refused = events.iter().find_map(|event| {
        let EventKind::MessageDropped { why: DropReason::Refused(why), .. } = event.kind else {
            return None;
        };
        Some(why)
    });
    match refused.filter(|_| simulation.config().mutation.is_none()) {
        Some(why) => Err(Failure::Nonsense(why)),
        None => Ok(()),
    }
}

fn judge_history(simulation: &Simulation) -> Result<(), Failure> {
    history::check(&simulation.history()).map_err(Failure::History)
}

impl Failure {
    /// Whether both failures are of the same kind.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Violation(one), Self::Violation(other)) => one.property == other.property,
            (Self::History(_), Self::History(_))
            | (Self::Liveness(_), Self::Liveness(_))
            | (Self::Answer(_), Self::Answer(_))
            | (Self::Promise(_), Self::Promise(_))
            | (Self::Alarm(_), Self::Alarm(_)) => true,
            (Self::Nonsense(one), Self::Nonsense(other)) => one == other,
            (
                Self::Violation(_)
                | Self::History(_)
                | Self::Promise(_)
                | Self::Liveness(_)
                | Self::Answer(_)
                | Self::Nonsense(_)
                | Self::Alarm(_),
                _,
            ) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => write!(f, "{violation}"),
            Self::History(history) => write!(f, "Linearizability is violated: {history}"),
            Self::Liveness(what) => write!(f, "Liveness is violated: {what}"),
            Self::Promise(what) => write!(f, "a promise to a leader is broken: {what}"),
            Self::Answer(what) => write!(f, "a client got a wrong answer: {what}"),
            Self::Alarm(what) => write!(f, "states are reported to differ: {what}"),
            Self::Nonsense(why) => write!(f, "a server refused a message of another server: {why}"),
        }
    }
}
