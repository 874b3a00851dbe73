//! A cluster that runs inside the page. It knows no clock: the page says up to when it shall run.

use raft_core::event::Event;
use raft_core::sim::{Action, ActionError, NetworkConfig, SimConfig, Simulation};
use raft_core::types::{MILLISECOND, RequestId, Time};

/// What makes a run: the same setup and the same actions give the same events, everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SimSetup {
    pub(crate) seed: u64,
    pub(crate) servers: u64,
}

impl Default for SimSetup {
    fn default() -> Self {
        Self { seed: 1, servers: 3 }
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
    fn config(self) -> SimConfig {
        let network = NetworkConfig {
            delay_min: 10 * MILLISECOND,
            delay_max: 25 * MILLISECOND,
            ..NetworkConfig::default()
        };
        SimConfig { seed: self.seed, servers: self.servers, network, ..SimConfig::default() }
    }
}

/// What a simulation did when it was let run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Happened {
    pub(crate) now: Time,
    pub(crate) events: Vec<Event>,
    /// Properties of Raft that were broken so far, in words.
    pub(crate) violations: Vec<String>,
    /// Stands for all events so far; the same wherever the same run runs.
    pub(crate) digest: u64,
}

/// See the module.
pub(crate) struct Sim {
    simulation: Simulation,
}

/// What happens in one frame at most, so that a high speed cannot stop the page: then the clock
/// runs slower than asked.
const STEPS_PER_FRAME: usize = 3000;

impl Sim {
    pub(crate) fn new(setup: SimSetup) -> Self {
        Self { simulation: Simulation::new(setup.config()) }
    }

    /// Runs up to `time`, or as far as one frame allows.
    pub(crate) fn advance(&mut self, time: Time) -> Happened {
        for _ in 0..STEPS_PER_FRAME {
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
            violations: self.simulation.violations().iter().map(ToString::to_string).collect(),
            digest: self.simulation.digest(),
        }
    }
}
