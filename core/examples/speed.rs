//! Measures the simulator: events per second with every check on, an idle hour of a cluster, and
//! seeks to earlier times.
//!
//! `cargo run --release -p raft-core --features sim --example speed`

#![expect(clippy::disallowed_types, reason = "a measurement needs the clock; nothing here is core")]

use std::time::Instant;

use raft_core::kv::Command;
use raft_core::sim::{Action, SimConfig, Simulation, Timeline};
use raft_core::types::{MILLISECOND, SECOND, Time};

fn main() {
    busy();
    idle();
    seek();
}

/// Five servers, a write every two milliseconds and a read every ten.
fn busy() {
    let mut simulation = Simulation::new(SimConfig { servers: 5, ..SimConfig::default() });
    let (start, mut events) = (Instant::now(), 0_u64);
    for round in 0..15_000_u64 {
        simulation.run_until(Time(round * 2 * MILLISECOND));
        if let Some(node) = simulation.leader() {
            let command = Command::put(format!("k{}", round % 100), round.to_string());
            let _ = simulation.act(Action::Write { node, command });
            if round % 5 == 0 {
                let _ = simulation.act(Action::Read { node, key: "k1".into(), lease: false });
            }
        }
        events += simulation.take_events().len() as u64;
    }
    assert!(simulation.violations().is_empty());
    report("busy cluster of 5", events, start);
}

fn idle() {
    let mut simulation = Simulation::new(SimConfig { servers: 5, ..SimConfig::default() });
    let (start, mut events) = (Instant::now(), 0_u64);
    for second in 0..3600 {
        simulation.run_until(Time(second * SECOND));
        events += simulation.take_events().len() as u64;
    }
    report("an idle hour of 5", events, start);
}

fn report(what: &str, events: u64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = events as f64 / seconds / 1e6;
    println!("{what}: {events} events in {seconds:.2} s, {rate:.2} million a second");
}

/// Seeks to many points of a run of 100,000 events.
fn seek() {
    let mut timeline = Timeline::new(SimConfig { servers: 5, ..SimConfig::default() });
    let mut round = 0_u64;
    while timeline.view().events < 100_000 {
        round += 1;
        timeline.run_until(Time(round * 5 * MILLISECOND));
        if let Some(node) = timeline.simulation().leader() {
            let command = Command::put(format!("k{}", round % 100), round.to_string());
            let _ = timeline.act(Action::Write { node, command });
        }
        let _ = timeline.take_events();
    }
    let end = timeline.moment().time;
    let (jumps, start, mut worst) = (300_u64, Instant::now(), 0.0_f64);
    for jump in 0..jumps {
        let one = Instant::now();
        // This stride visits the run out of order.
        timeline.seek_time(Time(jump * 7919 % jumps * (end.0 / jumps)));
        worst = worst.max(one.elapsed().as_secs_f64() * 1e3);
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let each = start.elapsed().as_secs_f64() * 1e3 / jumps as f64;
    println!("seek in 100,000 events: {each:.2} ms on average, {worst:.2} ms at worst");
}
