//! Measures the speed of the simulator: clusters under load, under faults, and idle.

use raft_core::kv::Command;
use raft_core::sim::{Action, SimConfig, Simulation, Swarm};
use raft_core::types::{MILLISECOND, SECOND, Time};
use serde::{Deserialize, Serialize};

use crate::figures::Figure;

/// Speed of the simulator on a platform.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Speed {
    /// Events per second of 3 servers while a client writes every simulated millisecond.
    pub loaded_events: Figure,
    /// Events per second of random clusters with random faults and clients.
    pub swarm_events: Figure,
    /// Events per second of 5 servers without clients.
    pub idle_events: Figure,
    /// Seconds to simulate an hour of 5 servers without clients.
    pub idle_hour: Figure,
}

/// Events of a run and its duration.
struct Measured {
    events: u64,
    seconds: f64,
}

/// Measures all figures in turns for `rounds` rounds; `clock` returns seconds.
pub fn measure(rounds: u32, clock: impl Fn() -> f64) -> Speed {
    let (mut loaded, mut swarm, mut idle) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let timed = |run: fn(u64) -> u64| {
            let begun = clock();
            let events = run(u64::from(round) + 1);
            Measured { events, seconds: clock() - begun }
        };
        loaded.push(timed(run_loaded));
        swarm.push(timed(run_swarm));
        idle.push(timed(run_idle_hour));
    }
    Speed {
        loaded_events: rate(&loaded),
        swarm_events: rate(&swarm),
        idle_events: rate(&idle),
        idle_hour: Figure::of(idle.iter().map(|it| it.seconds).collect()),
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn rate(rounds: &[Measured]) -> Figure {
    Figure::of(rounds.iter().map(|it| it.events as f64 / it.seconds).collect())
}

/// Simulates three servers and a client that writes every millisecond, for 20 seconds.
fn run_loaded(seed: u64) -> u64 {
    let mut simulation = Simulation::new(SimConfig { seed, ..SimConfig::default() });
    let (mut events, mut number) = (0, 0_u64);
    for at in 1..20_000 {
        simulation.run_until(Time(at * MILLISECOND));
        if let Some(node) = simulation.leader() {
            number += 1;
            let key = format!("key{}", number % 1000);
            let command = Command::put(key, number.to_string());
            simulation.act(Action::Write { node, command }).expect("the leader runs");
        }
        events += simulation.take_events().len() as u64;
    }
    assert!(number > 19_000, "there is nearly always a leader");
    assert_eq!(simulation.violations(), [], "seed {seed}");
    events
}

/// Runs twenty random simulations.
fn run_swarm(seed: u64) -> u64 {
    (0..20)
        .map(|run| {
            let outcome = Swarm::new(seed * 1000 + run, None).run();
            outcome.unwrap_or_else(|failure| panic!("seed {seed}: {failure}")).events
        })
        .sum()
}

/// Simulates an hour of five servers without clients.
fn run_idle_hour(seed: u64) -> u64 {
    let mut simulation = Simulation::new(SimConfig { seed, servers: 5, ..SimConfig::default() });
    let mut events = 0;
    for second in 1..=3600 {
        simulation.run_until(Time(second * SECOND));
        events += simulation.take_events().len() as u64;
    }
    assert_eq!(simulation.violations(), [], "seed {seed}");
    events
}
