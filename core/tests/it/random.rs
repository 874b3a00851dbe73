//! Random runs under faults.

use raft_core::sim::Swarm;

/// The seeds that every run of the tests goes through.
const SEEDS: u64 = 300;

/// Guards every property of figure 3, linearizability and recovery, whatever fails meanwhile.
#[test]
fn random_runs_keep_every_property_and_recover() {
    for seed in 0..SEEDS {
        let mut swarm = Swarm::new(seed, None);
        if let Err(failure) = swarm.run() {
            panic!("seed {seed}: {failure}");
        }
    }
}
