//! How fast everything goes in a random run: what a cluster on one board, in one room or across an
//! ocean has for timeouts, round trips and links.

use super::super::{DiskConfig, NetworkConfig, SimConfig, Simulation};
use crate::config::Config;
use crate::random::Random;
use crate::replica::Replica;
use crate::types::{MILLISECOND, Micros};

/// The minimum election timeout of the paper, to which the spans of a run are related.
const USUAL_TIMEOUT: Micros = 150 * MILLISECOND;

/// Timeouts and heartbeats.
pub(super) fn timeouts(random: &mut Random) -> Config {
    let election_timeout_min = match random.between(0, 8) {
        0 => random.between(20, 60) * MILLISECOND,
        1 | 2 => random.between(300, 2_000) * MILLISECOND,
        _ => USUAL_TIMEOUT,
    };
    let heartbeat_interval = match random.between(0, 3) {
        0 => random.between(election_timeout_min / 8, election_timeout_min / 2 + 1),
        _ => election_timeout_min / 3,
    };
    Config {
        election_timeout_min,
        election_timeout_max: 2 * election_timeout_min,
        heartbeat_interval,
        ..Config::default()
    }
}

/// A span that is `millis` ms with the paper's timeouts and in proportion with others, in µs.
pub(super) fn span(config: &SimConfig, millis: u64) -> Micros {
    config.node.election_timeout_min * millis * MILLISECOND / USUAL_TIMEOUT
}

/// What a follower can be sent before it answers, in bytes.
pub(super) fn window(config: &Config) -> u64 {
    config.max_in_flight_bytes.min(config.max_in_flight * config.max_batch_bytes) as u64
}

/// The network after all faults have stopped. The longest round trip stays below the shortest
/// election timeout: with more no cluster works, and no operator would set it so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calm {
    pub(super) delay_min: Micros,
    pub(super) delay_max: Micros,
    pub(super) sync_max: Micros,
}

impl Calm {
    pub(super) fn draw(config: &SimConfig, random: &mut Random) -> Self {
        let timeout = config.node.election_timeout_min;
        let delay_max = match random.between(0, 3) {
            0 => random.between(100, timeout / 50 + 200),
            1 => timeout / 15,
            _ => random.between(timeout / 15, timeout * 35 / 100),
        };
        let delay_min = if random.chance(500) { delay_max / 10 } else { delay_max * 9 / 10 };
        Self { delay_min, delay_max, sync_max: random.between(1, timeout / 30) }
    }

    /// From asking over a link to the answer, with both disks on the way, at the longest.
    pub(super) const fn round_trip(self) -> Micros {
        2 * (self.delay_max + self.sync_max)
    }

    /// How long a server that has nothing is sent all that there is, at the longest. A round trip
    /// carries at least half a window, or one entry that is larger.
    pub(super) fn copying(self, simulation: &Simulation) -> Micros {
        let replicas = simulation.ids().into_iter().filter_map(|id| simulation.replica(id));
        let sizes = replicas.map(Replica::status).map(|it| it.log_bytes + it.state_bytes);
        let round_trips = 2 * sizes.max().unwrap_or(0).div_ceil(window(&simulation.config().node));
        self.round_trip() * round_trips
    }
}

/// What a run's links and disks can carry. `largest` is the largest value that its clients write.
pub(super) fn speeds(
    node: &Config,
    largest: usize,
    random: &mut Random,
) -> (NetworkConfig, DiskConfig) {
    let (mut network, mut disk) = (NetworkConfig::default(), DiskConfig::default());
    // The largest value takes at most two election timeouts.
    let second_in_timeouts = 1_000 * MILLISECOND / node.election_timeout_min;
    let least = 20_000.max(largest as u64 * second_in_timeouts.max(1) / 2);
    let speed = |random: &mut Random| least << random.between(0, 10);
    if random.chance(400) {
        network.bytes_per_second = speed(random);
        // As in the server: what a leader has under way takes at most half of the queue.
        network.queue_bytes = (2 * node.max_in_flight_bytes as u64) << random.between(0, 3);
    }
    if random.chance(300) {
        disk.bytes_per_second = speed(random);
    }
    (network, disk)
}
