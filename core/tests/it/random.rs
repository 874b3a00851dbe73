//! Random runs under faults.

use raft_core::sim::Swarm;

use crate::lab::check;

/// The seeds that every run of the tests goes through.
const SEEDS: u64 = 1_000;

/// Guards every property of figure 3, linearizability and recovery, whatever fails meanwhile.
#[check]
fn random_runs_keep_every_property_and_recover() {
    for seed in 0..SEEDS {
        if let Err(failure) = Swarm::new(seed, None).run() {
            panic!("seed {seed}: {failure}");
        }
    }
}
