//! Random runs under faults.

use std::ops::Range;

use raft_core::sim::Swarm;

use crate::lab::check;

/// The seeds of every test run, besides those whose digests are recorded. Wasm runs fewer, because
/// it runs the recorded seeds too.
const SEEDS: Range<u64> = if cfg!(target_family = "wasm") { 1_000..1_050 } else { 1_000..3_000 };

/// Guards that every property of figure 3, linearizability and recovery hold under faults.
#[check]
fn random_runs_keep_every_property_and_recover() {
    for seed in SEEDS {
        if let Err(failure) = Swarm::new(seed, None).run() {
            panic!("seed {seed}: {failure}");
        }
    }
}
