//! How a run is set up, and what its source reports.

use raft_core::event::Event;
use raft_core::invariant::Violation;
use raft_core::rules::Mutation;
use raft_core::sim::{NetworkConfig, SimConfig};
use raft_core::types::{MILLISECOND, Time};
use raft_core::view::ClusterView;

use super::actions::conditions::Conditions;
use super::clients::Clients;
use super::history::Run;
use super::lessons::Play;
use crate::shared::Shared;

/// The kinds of source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// A cluster that runs inside the page.
    #[default]
    Simulate,
    /// A cluster of real servers.
    Live,
    /// A recording.
    Replay,
}

/// The setup of a run. The same setup and the same actions give the same events on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SimSetup {
    pub(crate) seed: u64,
    pub(crate) servers: u64,
    /// The broken rule, if any.
    pub(crate) broken: Option<Mutation>,
    /// The lesson, if any. Its file then determines the other settings.
    pub(crate) lesson: Option<Play>,
}

impl Default for SimSetup {
    fn default() -> Self {
        Self { seed: 1, servers: 3, broken: None, lesson: None }
    }
}

impl SimSetup {
    /// The maximum number of simulated servers.
    pub(crate) const MOST: u64 = 9;

    pub(crate) const fn servers_fit(servers: u64) -> bool {
        1 <= servers && servers <= Self::MOST
    }

    /// The page's network is slightly slower than the simulator's default. So messages in flight
    /// and timers are visible at the same speed.
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

    /// The same setup without a lesson.
    pub(crate) const fn free(self) -> Self {
        Self { lesson: None, ..self }
    }
}

/// The result of running a simulation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Happened {
    pub(crate) now: Time,
    pub(crate) events: Vec<Event>,
    /// Raft properties that were violated so far, oldest first.
    pub(crate) violations: Vec<Violation>,
    /// The current behaviour of network, disks and clocks.
    pub(crate) conditions: Shared<Conditions>,
    /// The digest of all events so far, which identifies the run.
    pub(crate) digest: u64,
    pub(crate) run: Run,
    /// The requests of all clients so far, and the answers.
    pub(crate) clients: Shared<Clients>,
    /// The state of the lesson's script, as long as there is one.
    pub(crate) script: Option<ScriptReport>,
}

/// The result of a jump.
#[derive(Clone, Debug, Default)]
pub(crate) struct Landed {
    /// The state of the cluster there.
    pub(crate) view: ClusterView,
    /// The position there. Its events are the ones right before it, not new ones.
    pub(crate) happened: Happened,
}

/// The state of a lesson's script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScriptReport {
    /// The line in the lesson's file of the current or next command.
    pub(crate) line: Option<usize>,
    /// Whether it waits for permission to continue.
    pub(crate) held: bool,
    /// The result, once the script has ended. An error says why the lesson did not end as
    /// described.
    pub(crate) end: Option<Result<(), String>>,
    /// The guarantees that were broken, oldest first, and when.
    pub(crate) broken: Vec<(String, Time)>,
}

/// How far to play a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The steps before this one are played at once.
    pub(crate) ahead: usize,
    /// The script may play up to and including this step.
    pub(crate) to: Option<usize>,
}
