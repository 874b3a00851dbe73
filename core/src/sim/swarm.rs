//! Random runs: each draws which faults it uses and how hard ("swarm testing"). First a safety
//! phase under faults, then all faults stop and the cluster must elect and commit in bounded time.

use std::collections::BTreeSet;
use std::fmt;

use super::{Action, DiskConfig, NetworkConfig, SimConfig, Simulation};
use crate::config::Config;
use crate::history;
use crate::invariant::Violation;
use crate::kv::Command;
use crate::random::Random;
use crate::rules::Mutation;
use crate::types::{MILLISECOND, Micros, NodeId, SECOND, Time};

/// How long faults go on.
const SAFETY_PHASE: Micros = 4 * SECOND;

/// How long the cluster may take to commit once all faults have stopped: many election timeouts,
/// for votes may split again and again.
const LIVENESS_BOUND: Micros = 20 * SECOND;

/// One random run.
#[derive(Clone, Debug)]
pub struct Swarm {
    simulation: Simulation,
    random: Random,
    faults: Faults,
    writes: u64,
}

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The hash over all its events.
    pub digest: u64,
    /// How many events there were.
    pub events: u64,
}

/// Why a run failed.
#[derive(Clone, Debug)]
pub enum Failure {
    /// A property did not hold.
    Violation(Violation),
    /// No order explains what the clients saw.
    History(Box<history::NotLinearizable>),
    /// The cluster did not recover after all faults had stopped.
    Liveness(&'static str),
}

/// How likely each fault is in this run, in 1000 opportunities; 0 for those that it does without.
#[derive(Clone, Copy, Debug)]
struct Faults {
    crash: u16,
    restart: u16,
    freeze: u16,
    partition: u16,
    link: u16,
    heal: u16,
    elect: u16,
    compact: u16,
    loss: u16,
}

impl Swarm {
    /// The run of this seed; `mutation` breaks one rule in it.
    pub fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        // A stream of its own: what is drawn here does not shift what the simulation draws.
        let mut random = Random::new(seed ^ 0x5a1a_d5a1_ad5a_1ad5);
        let mut maybe = |permille: u16| if random.chance(500) { permille } else { 0 };
        let faults = Faults {
            crash: maybe(40),
            restart: 150,
            freeze: maybe(30),
            partition: maybe(40),
            link: maybe(60),
            heal: 80,
            elect: maybe(30),
            compact: maybe(80),
            loss: maybe(100),
        };
        let node = Config {
            compact_after_entries: random.between(5, 60),
            keep_entries: random.between(0, 10),
            max_in_flight: 4,
            max_batch_bytes: 200,
            max_chunk_bytes: 60,
            ..Config::default()
        };
        let delay_max = random.between(2, 60) * MILLISECOND;
        let sync_max = random.between(2, 80) * MILLISECOND;
        let survive_permille = if random.chance(500) { 500 } else { 0 };
        let config = SimConfig {
            seed,
            servers: [1, 2, 3, 3, 3, 4, 5, 5, 7]
                [usize::try_from(random.between(0, 9)).expect("below nine")],
            node,
            network: NetworkConfig {
                delay_min: MILLISECOND,
                delay_max,
                ..NetworkConfig::default()
            },
            disk: DiskConfig {
                sync_min: MILLISECOND / 2,
                sync_max,
                survive_permille,
                checksums: true,
            },
            mutation,
            manual_elections: false,
        };
        Self { simulation: Simulation::new(config), random, faults, writes: 0 }
    }

    /// The simulation, for what it tells of a failure.
    pub const fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Runs both phases and judges the clients' history.
    pub fn run(&mut self) -> Result<Outcome, Failure> {
        let mut events = 0;
        while self.simulation.now() < Time(SAFETY_PHASE) {
            self.trouble();
            let pause = self.random.between(1, 40) * MILLISECOND;
            self.simulation.run_until(self.simulation.now().after(pause));
            events += self.simulation.take_events().len() as u64;
            self.judge_properties()?;
        }
        // A property that does not hold says more than the standstill that it leads to.
        let recovered = self.recover();
        events += self.simulation.take_events().len() as u64;
        self.judge_properties()?;
        recovered?;
        history::check(&self.simulation.history()).map_err(Failure::History)?;
        Ok(Outcome { digest: self.simulation.digest(), events })
    }

    fn judge_properties(&self) -> Result<(), Failure> {
        match self.simulation.violations() {
            [] => Ok(()),
            [first, ..] => Err(Failure::Violation(first.clone())),
        }
    }

    /// Does something at random. What is not possible right now is not done.
    fn trouble(&mut self) {
        let (faults, node) = (self.faults, self.any_node());
        let actions = [
            (faults.crash, Action::Crash(node)),
            (faults.restart, Action::Restart(node)),
            (faults.freeze, Action::Freeze(node)),
            (faults.restart, Action::Thaw(node)),
            (faults.partition, Action::Partition(vec![self.any_group()])),
            (faults.link, Action::SetLink { from: node, to: self.any_node(), up: false }),
            (faults.heal, Action::Heal),
            (faults.elect, Action::Elect(node)),
            (faults.compact, Action::Compact(node)),
            (faults.loss, Action::SetLoss { permille: faults.loss }),
        ];
        for (permille, action) in actions {
            if self.random.chance(permille) {
                let _ = self.simulation.act(action);
            }
        }
        for _ in 0..self.random.between(0, 4) {
            let node = match self.simulation.leader() {
                Some(leader) if self.random.chance(800) => leader,
                _ => self.any_node(),
            };
            self.ask(node);
        }
    }

    /// A client asks for something. Values are unique, so that the history tells writes apart.
    fn ask(&mut self, node: NodeId) {
        let key = format!("k{}", self.random.between(0, 4));
        self.writes += 1;
        let action = match self.random.between(0, 10) {
            0 => Action::Write { node, command: Command::delete(key) },
            1..6 => Action::Write { node, command: Command::put(key, self.writes.to_string()) },
            _ => Action::Read { node, key: key.into(), lease: false },
        };
        let _ = self.simulation.act(action);
    }

    /// Ends all faults and waits for a write and for equal states.
    fn recover(&mut self) -> Result<(), Failure> {
        let _ = self.simulation.act(Action::Heal);
        for node in self.simulation.ids() {
            let _ = self.simulation.act(Action::Restart(node));
            let _ = self.simulation.act(Action::Thaw(node));
        }
        let limit = self.simulation.now().after(LIVENESS_BOUND);
        while !self.committed_in_this_term() {
            if self.simulation.now() > limit {
                return Err(Failure::Liveness("no leader commits though all faults have stopped"));
            }
            self.simulation.run_until(self.simulation.now().after(10 * MILLISECOND));
        }
        // A leader may still be deposed, by word from a time before the recovery: ask again then.
        while self.simulation.now() < limit {
            if let Some(node) = self.simulation.leader() {
                let command = Command::put("end", "");
                let _ = self.simulation.act(Action::Write { node, command });
            }
            let patience = self.simulation.now().after(SECOND);
            if self.simulation.run_while(patience, |simulation| !converged(simulation)) {
                return Ok(());
            }
        }
        Err(Failure::Liveness("the servers' states stay different"))
    }

    fn committed_in_this_term(&self) -> bool {
        let leader = self.simulation.leader().and_then(|leader| self.simulation.replica(leader));
        leader.is_some_and(|replica| replica.last_applied().term == replica.status().term)
    }

    fn any_node(&mut self) -> NodeId {
        NodeId(self.random.between(1, self.simulation.config().servers + 1))
    }

    fn any_group(&mut self) -> BTreeSet<NodeId> {
        let ids = self.simulation.ids();
        ids.into_iter().filter(|_| self.random.chance(500)).collect()
    }
}

/// Whether all servers have applied the same entries, the final write among them.
fn converged(simulation: &Simulation) -> bool {
    let replicas: Vec<_> =
        simulation.ids().into_iter().filter_map(|id| simulation.replica(id)).collect();
    let written = |it: &crate::replica::Replica| it.store().get(b"end").is_some();
    let first = replicas.first().map(|it| it.store().digest());
    replicas.iter().all(|it| written(it) && Some(it.store().digest()) == first)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => write!(f, "{violation}"),
            Self::History(history) => write!(f, "{history}"),
            Self::Liveness(what) => write!(f, "Liveness is violated: {what}"),
        }
    }
}
