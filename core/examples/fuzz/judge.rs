//! Runs one seed and shrinks its failure.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use raft_core::rules::Mutation;
use raft_core::sim::{Failure, JournalEntry, SimConfig, Simulation, Swarm, judge, shrink};

/// The maximum number of runs to shrink a failure.
const TRIES: u64 = 2_000;

/// A seed that failed.
pub(crate) struct Failed {
    /// Why the seed's own run failed.
    pub(crate) reason: Reason,
    /// The configuration of the cluster.
    pub(crate) config: SimConfig,
    /// The number of actions in the seed's own run.
    pub(crate) troubles: usize,
    /// The few actions that are enough for a failure of the same kind.
    pub(crate) shrunk: Vec<JournalEntry>,
    /// Why the run with these actions fails; `None` if it does not fail.
    pub(crate) shrunk_reason: Option<Reason>,
    /// The events of the short run that prove its first violation.
    pub(crate) tail: Vec<String>,
}

/// Why a run failed.
pub(crate) enum Reason {
    /// A check failed.
    Failure(Failure),
    /// The core panicked.
    Panic(String),
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Stores panic messages instead of printing them: the report shows them with their seed.
pub(crate) fn keep_panics_quiet() {
    std::panic::set_hook(Box::new(|info| PANIC.set(info.to_string())));
}

/// Runs a seed. Returns the number of its events.
pub(crate) fn run(seed: u64, broken: Option<Mutation>) -> Result<u64, Box<Failed>> {
    let mut swarm = Swarm::new(seed, broken);
    let reason = match caught(|| swarm.run()) {
        Ok(Ok(outcome)) => return Ok(outcome.events),
        Ok(Err(failure)) => Reason::Failure(failure),
        Err(panic) => Reason::Panic(panic),
    };
    let config = swarm.simulation().config().clone();
    let troubles = swarm.troubles();
    let fails = |actions: &[JournalEntry]| reason.is_like(again(&config, actions).1.as_ref());
    let shrunk = shrink(troubles, TRIES, fails);
    let (simulation, shrunk_reason) = again(&config, &shrunk);
    let tail = simulation.as_ref().map(tail).unwrap_or_default();
    let troubles = troubles.len();
    Err(Box::new(Failed { reason, config, troubles, shrunk, shrunk_reason, tail }))
}

fn again(config: &SimConfig, actions: &[JournalEntry]) -> (Option<Simulation>, Option<Reason>) {
    match caught(|| judge(config.clone(), actions)) {
        Ok((simulation, Ok(()))) => (Some(simulation), None),
        Ok((simulation, Err(failure))) => (Some(simulation), Some(Reason::Failure(failure))),
        Err(panic) => (None, Some(Reason::Panic(panic))),
    }
}

/// The events of a run that prove its first violation.
fn tail(simulation: &Simulation) -> Vec<String> {
    let Some(violation) = simulation.violations().first() else { return Vec::new() };
    let wanted = violation.evidence.clone();
    let end = simulation.moment();
    let mut again = Simulation::replay(simulation.config().clone(), simulation.journal(), end);
    let events = again.take_events();
    let proof = events.iter().filter(|event| wanted.contains(&event.id));
    proof.map(|event| format!("{:>14}  {event}", event.time.to_string())).collect()
}

fn caught<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| PANIC.take())
}

impl Reason {
    fn is_like(&self, other: Option<&Self>) -> bool {
        match (self, other) {
            (Self::Failure(one), Some(Self::Failure(other))) => one.is_like(other),
            (Self::Panic(one), Some(Self::Panic(other))) => first_line(one) == first_line(other),
            (Self::Failure(_) | Self::Panic(_), _) => false,
        }
    }
}

/// The place of the panic, without the values that differ between runs.
fn first_line(panic: &str) -> &str {
    panic.lines().next().unwrap_or_default()
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failure(failure) => write!(f, "{failure}"),
            Self::Panic(panic) => write!(f, "{panic}"),
        }
    }
}
