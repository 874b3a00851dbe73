//! Which faults a random run uses, and how often.

use std::collections::BTreeSet;

use super::super::{Action, DiskConfig, NetworkConfig, SimConfig, Simulation};
use super::members::Members;
use super::pace;
use crate::config::Config;
use crate::limits::Semantics;
use crate::random::Random;
use crate::rules::Mutation;
use crate::types::{EventId, MILLISECOND, Micros, NodeId};

/// The probability of each fault in this run, in 1/1000 per opportunity; 0 for unused faults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    servers: ServerFaults,
    network: NetworkFaults,
    disks: DiskFaults,
    /// A clock jumps and gets another rate.
    clock: u16,
    /// Whether clocks stay within the bound that leases rely on, and do not jump while a server
    /// runs.
    steady: bool,
}

#[derive(Clone, Copy, Debug)]
struct ServerFaults {
    crash: u16,
    restart: u16,
    freeze: u16,
    thaw: u16,
    elect: u16,
    compact: u16,
}

#[derive(Clone, Copy, Debug)]
struct NetworkFaults {
    partition: u16,
    link: u16,
    heal: u16,
    loss: u16,
    duplication: u16,
    reordering: u16,
    quality: u16,
    /// A single message is dropped, held, delayed, copied or released.
    message: u16,
}

#[derive(Clone, Copy, Debug)]
struct DiskFaults {
    slow: u16,
    stall: u16,
    mend: u16,
    fail_write: u16,
    fail_snapshot: u16,
    tear: u16,
    flip: u16,
}

impl Faults {
    pub(super) fn draw(config: &SimConfig, members: Members, random: &mut Random) -> Self {
        let mut maybe = |permille: u16| if random.chance(500) { permille } else { 0 };
        let servers = ServerFaults {
            crash: maybe(40),
            restart: 150,
            freeze: maybe(30),
            thaw: 150,
            elect: maybe(30),
            compact: maybe(80),
        };
        let network = NetworkFaults {
            partition: maybe(40),
            link: maybe(60),
            heal: 80,
            loss: maybe(100),
            duplication: maybe(100),
            reordering: maybe(100),
            quality: maybe(50),
            message: maybe(150),
        };
        let disks = DiskFaults {
            slow: maybe(30),
            stall: maybe(20),
            mend: 100,
            fail_write: maybe(15),
            fail_snapshot: maybe(50),
            tear: maybe(20),
            // A server with a damaged disk stays down, so the cluster needs spare servers.
            flip: if members == Members::Stay { maybe(5) } else { 0 },
        };
        Self { servers, network, disks, clock: maybe(30), steady: config.node.lease_reads }
    }

    /// Takes random actions, but only those that are possible now.
    pub(super) fn trouble(self, simulation: &mut Simulation, random: &mut Random) {
        self.trouble_servers(simulation, random);
        self.trouble_network(simulation, random);
        self.trouble_disks(simulation, random);
        if random.chance(self.clock) {
            self.change_clock(simulation, random);
        }
    }

    fn change_clock(self, simulation: &mut Simulation, random: &mut Random) {
        let node = any_node(simulation, random);
        let runs = simulation.replica(node).is_some();
        // Leases rely on clocks that do not jump, and whose rates stay within the stated bound of
        // 100.
        let jump = if self.steady && runs { 0 } else { random.between(0, 400) * MILLISECOND };
        let rate = if self.steady { random.between(950, 1051) } else { random.between(300, 3000) };
        let _ = simulation.act(Action::SetClock {
            node,
            jump: i64::try_from(jump).expect("less than a second"),
            rate_permille: u32::try_from(rate).expect("at most 3000"),
        });
    }

    fn trouble_servers(self, simulation: &mut Simulation, random: &mut Random) {
        let (faults, node) = (self.servers, any_node(simulation, random));
        for (permille, action) in [
            (faults.crash, Action::Crash(node)),
            (faults.restart, Action::Restart(node)),
            (faults.freeze, Action::Freeze(node)),
            (faults.thaw, Action::Thaw(node)),
            (faults.elect, Action::Elect(node)),
            (faults.compact, Action::Compact(node)),
        ] {
            if random.chance(permille) {
                let _ = simulation.act(action);
            }
        }
        // A server whose disk failed has halted. The operator starts it again.
        if random.chance(faults.restart) && is_halted(simulation, node) {
            let _ = simulation.act(Action::Crash(node));
        }
    }

    fn trouble_network(self, simulation: &mut Simulation, random: &mut Random) {
        let faults = self.network;
        let (from, to) = (any_node(simulation, random), any_node(simulation, random));
        let quality = Some(any_quality(simulation.config().network, random));
        for (permille, action) in [
            (faults.partition, Action::Partition(vec![any_group(simulation, random)])),
            (faults.link, Action::SetLink { from, to, up: false }),
            (faults.heal, Action::Heal),
            (faults.loss, Action::SetLoss { permille: faults.loss }),
            (faults.duplication, Action::SetDuplication { permille: faults.duplication }),
            (faults.reordering, Action::SetReordering { permille: 3 * faults.reordering }),
            (faults.quality, Action::SetLinkQuality { from, to, quality }),
        ] {
            if random.chance(permille) {
                let _ = simulation.act(action);
            }
        }
        if random.chance(faults.message)
            && let Some(message) = any_message(simulation, random)
        {
            let by: Micros = random.between(0, 500) * MILLISECOND;
            let _ = simulation.act(match random.between(0, 5) {
                0 => Action::Drop(message),
                1 => Action::Hold(message),
                2 => Action::Release(message),
                3 => Action::Delay { message, by },
                _ => Action::Duplicate(message),
            });
        }
    }

    fn trouble_disks(self, simulation: &mut Simulation, random: &mut Random) {
        let (faults, node) = (self.disks, any_node(simulation, random));
        let max = random.between(1, 400) * MILLISECOND;
        for (permille, action) in [
            (faults.slow, Action::SlowDisk { node, min: MILLISECOND, max }),
            (faults.stall, Action::StallDisk(node)),
            (faults.mend, Action::MendDisk(node)),
            (faults.fail_write, Action::FailWrite(node)),
            (faults.fail_snapshot, Action::FailSnapshot(node)),
            (faults.tear, Action::TearWrite(node)),
        ] {
            if random.chance(permille) {
                let _ = simulation.act(action);
            }
        }
        // Damaged servers do not come back. The cluster must be able to spare all of them.
        if random.chance(faults.flip)
            && simulation.damaged() < (simulation.config().servers - 1) / 2
        {
            let _ = simulation.act(Action::FlipBit(node));
        }
    }
}

/// The configuration of a random run. Its bounds are small, to reach all of them. `largest` is the
/// size of the largest value that clients write, in bytes.
pub(super) fn config(
    seed: u64,
    mutation: Option<Mutation>,
    largest: usize,
    random: &mut Random,
) -> SimConfig {
    let timeouts = pace::timeouts(random);
    let millis = timeouts.election_timeout_min / 150;
    let bounds =
        [(1, 200, 400), (4, 200, 400), (4, 200, 400), (32, 2_000, 1_000), (32, 64 << 10, 4_000)];
    let (max_in_flight, max_batch_bytes, max_chunk_bytes) = one_of(&bounds, random);
    let few = random.between(0, 10);
    let (keep_entries, keep_bytes) =
        one_of(&[(few, 2_000), (few, 2_000), (5_000, 1 << 20)], random);
    let node = Config {
        compact_after_entries: random.between(5, 60),
        promotion_timeout: random.between(500, 3000) * millis,
        clock_interval: random.between(50, 300) * millis,
        read_timeout: random.between(2_000, 6_000) * millis,
        lease_reads: random.chance(500),
        // Not drawn, to keep all other draws unchanged.
        digest_every: if seed % 4 == 1 { 8 } else { 256 },
        keep_entries,
        keep_bytes,
        max_in_flight,
        max_in_flight_bytes: max_batch_bytes * one_of(&[1, 2, 8], random),
        max_batch_bytes,
        max_chunk_bytes,
        ..timeouts
    };
    let (network, disk) = pace::speeds(&node, largest, random);
    let delay_max = random.between(2, 60) * millis;
    let sync_max = random.between(2, 80) * millis;
    let survive_permille = if random.chance(500) { 500 } else { 0 };
    SimConfig {
        seed,
        servers: one_of(&[1, 2, 3, 3, 3, 4, 5, 5, 7], random),
        node,
        network: NetworkConfig { delay_min: delay_max.min(MILLISECOND), delay_max, ..network },
        disk: DiskConfig {
            sync_min: sync_max.min(MILLISECOND / 2),
            sync_max,
            survive_permille,
            ..disk
        },
        mutation,
        manual_elections: false,
        message_ages: seed.is_multiple_of(2),
        through_bytes: true,
        semantics: one_of(&[Semantics::FIRST, Semantics::LATEST, Semantics::LATEST], random),
    }
}

pub(super) fn one_of<T: Copy>(choices: &[T], random: &mut Random) -> T {
    let chosen = random.between(0, choices.len() as u64);
    choices[usize::try_from(chosen).expect("choices are few")]
}

fn is_halted(simulation: &Simulation, node: NodeId) -> bool {
    simulation.replica(node).is_some_and(|replica| replica.status().halted)
}

pub(super) fn any_node(simulation: &Simulation, random: &mut Random) -> NodeId {
    one_of(&simulation.ids(), random)
}

fn any_group(simulation: &Simulation, random: &mut Random) -> BTreeSet<NodeId> {
    simulation.ids().into_iter().filter(|_| random.chance(500)).collect()
}

fn any_quality(usual: NetworkConfig, random: &mut Random) -> NetworkConfig {
    NetworkConfig {
        delay_min: 0,
        delay_max: random.between(1, 300) * MILLISECOND,
        loss_permille: u16::try_from(random.between(0, 500)).expect("below 500"),
        duplicate_permille: u16::try_from(random.between(0, 300)).expect("below 300"),
        reorder_permille: u16::try_from(random.between(0, 500)).expect("below 500"),
        ..usual
    }
}

fn any_message(simulation: &Simulation, random: &mut Random) -> Option<EventId> {
    let flying = simulation.flying().count() as u64;
    let chosen = usize::try_from(random.between(0, flying)).ok()?;
    simulation.flying().nth(chosen).map(|flying| flying.id)
}
