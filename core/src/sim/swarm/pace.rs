//! The timing of a random run: timeouts, round trips and links as on one board, in one room or
//! across an ocean.

use super::super::{DiskConfig, NetworkConfig, SimConfig, Simulation};
use crate::config::Config;
use crate::random::Random;
use crate::replica::Replica;
use crate::types::{MILLISECOND, Micros};

/// The minimum election timeout of the paper, in µs. The durations of a run are relative to it.
const USUAL_TIMEOUT: Micros = 150 * MILLISECOND;

/// Timeouts and the heartbeat interval.
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

/// A duration that is `millis` ms with the paper's timeouts, in proportion to other timeouts, in
/// µs.
pub(super) fn span(config: &SimConfig, millis: u64) -> Micros {
    config.node.election_timeout_min * millis * MILLISECOND / USUAL_TIMEOUT
}

/// How many bytes a leader can send to a follower before the follower answers.
pub(super) fn window(config: &Config) -> u64 {
    config.max_in_flight_bytes.min(config.max_in_flight * config.max_batch_bytes) as u64
}

/// The network after all faults have stopped. The longest round trip stays below the shortest
/// election timeout: no cluster works otherwise, and no operator would choose such a setting.
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

    /// The longest time from a request over a link to its answer, with a sync of both disks.
    pub(super) const fn round_trip(self) -> Micros {
        2 * (self.delay_max + self.sync_max)
    }

    /// The longest time to send everything to an empty server, in µs. A round trip carries at least
    /// half a window, or one larger entry.
    pub(super) fn copying(self, simulation: &Simulation) -> Micros {
        let replicas = simulation.ids().into_iter().filter_map(|id| simulation.replica(id));
        let sizes = replicas.map(Replica::status).map(|it| it.log_bytes + it.state_bytes);
        let round_trips = 2 * sizes.max().unwrap_or(0).div_ceil(window(&simulation.config().node));
        self.round_trip() * round_trips
    }
}

/// Draws the speeds of links and disks. `largest` is the size of the largest value that clients
/// write.
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
        // As in the real server: the messages that a leader has in flight fill at most half of the
        // queue.
        network.queue_bytes = (2 * node.max_in_flight_bytes as u64) << random.between(0, 3);
    }
    if random.chance(300) {
        disk.bytes_per_second = speed(random);
    }
    (network, disk)
}
