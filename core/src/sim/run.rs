//! What determines a run: its configuration, and the actions that were taken.

use super::{Action, DiskConfig, NetworkConfig};
use crate::config::Config;
use crate::limits::Semantics;
use crate::rules::Mutation;
use crate::types::Time;

/// Everything that determines a run, except for the actions.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct SimConfig {
    /// The seed of all random choices.
    pub seed: u64,
    /// How many servers there are, numbered from 1.
    pub servers: u64,
    /// The configuration of every server.
    pub node: Config,
    /// How the network behaves at the start.
    pub network: NetworkConfig,
    /// How the disks behave at the start.
    pub disk: DiskConfig,
    /// The broken rule, if any.
    pub mutation: Option<Mutation>,
    /// Whether elections start only by [`Action::Elect`]. Election timers then never expire by
    /// themselves, so a lesson does not depend on chance. Heartbeats go on.
    pub manual_elections: bool,
    /// Whether servers are told how long a message was in transit.
    pub message_ages: bool,
    /// Whether messages, disk batches and snapshots are encoded, checked and decoded, as on real
    /// servers. Links count bytes only then. Without the feature `wire` this has no effect.
    pub through_bytes: bool,
    /// The semantics with which the state machine starts.
    pub semantics: Semantics,
}

impl SimConfig {
    /// A constant in the build for the page, which therefore contains no encoder.
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

/// A point of a run. Several happenings may share one time, so a point includes their number.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Moment {
    /// How many happenings were processed before it.
    pub happened: u64,
    /// The simulated time.
    pub time: Time,
}

/// An action that was taken, and when.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct JournalEntry {
    /// When it was taken.
    pub at: Moment,
    /// The action.
    pub action: Action,
}
