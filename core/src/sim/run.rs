//! All that a run is: its configuration, and what was done to it.

use super::{Action, DiskConfig, NetworkConfig};
use crate::config::Config;
use crate::limits::Semantics;
use crate::rules::Mutation;
use crate::types::Time;

/// All that determines a run, but for what is done to it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct SimConfig {
    /// Seeds everything random.
    pub seed: u64,
    /// How many servers there are, numbered from 1.
    pub servers: u64,
    /// What each of them is run with.
    pub node: Config,
    /// How the network behaves at first.
    pub network: NetworkConfig,
    /// How the disks behave at first.
    pub disk: DiskConfig,
    /// The rule that is broken, if any.
    pub mutation: Option<Mutation>,
    /// Whether elections come from [`Action::Elect`] alone: no election timer runs out by itself,
    /// so that a lesson is a script and no game of chance. Heartbeats go on.
    pub manual_elections: bool,
    /// Whether servers are told for how long a message was on its way.
    pub message_ages: bool,
    /// Whether messages, batches for disks and snapshots take the way of their bytes, as on real
    /// servers: encoded, bounded and read again. Links count bytes only then. Needs the feature
    /// `wire`, and has no effect without.
    pub through_bytes: bool,
    /// The rules that the state machine begins with.
    pub semantics: Semantics,
}

impl SimConfig {
    /// Constant in the page, so that it carries no encoder.
    pub(super) const fn goes_through_bytes(&self) -> bool {
        cfg!(feature = "wire") && self.through_bytes
    }
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            servers: 3,
            node: Config::default(),
            network: NetworkConfig::default(),
            disk: DiskConfig::default(),
            mutation: None,
            manual_elections: false,
            message_ages: true,
            through_bytes: false,
            semantics: Semantics::LATEST,
        }
    }
}

/// A point of a run: several things may happen at one time, so their number belongs to it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Moment {
    /// How many things had happened.
    pub happened: u64,
    /// The simulated time.
    pub time: Time,
}

/// An action that was taken, and when.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Deed {
    /// When.
    pub at: Moment,
    /// What was done.
    pub action: Action,
}
