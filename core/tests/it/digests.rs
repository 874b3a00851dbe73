//! The same seed gives bit-identical events natively, in wasm under Node and in Chromium.
//!
//! All builds compare with one recorded list. After an intended change of the protocol or of an
//! event, `cargo xtask bless` records a new list.

use std::fmt::Write as _;

use raft_core::sim::Swarm;

use crate::lab::check;

const RECORDED: &str = include_str!("digests.txt");

/// The number of runs under faults, one line each.
const SEEDS: u64 = 1_000;

fn digests() -> String {
    (0..SEEDS).fold(String::new(), |mut text, seed| {
        let outcome = Swarm::new(seed, None).run().unwrap_or_else(|failure| {
            panic!("seed {seed}: {failure}");
        });
        writeln!(text, "{seed} {:016x} {}", outcome.digest, outcome.events)
            .expect("text can always grow");
        text
    })
}

/// Guards that the page runs the same code as the server.
#[check]
fn every_build_gives_the_recorded_events() {
    let digests = digests();
    #[cfg(not(target_family = "wasm"))]
    if std::env::var_os("GLASSRAFT_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/digests.txt");
        std::fs::write(path, &digests).expect("the list can be written");
        return;
    }
    for (now, recorded) in digests.lines().zip(RECORDED.lines()) {
        assert_eq!(now, recorded, "seed, digest and number of events differ from the record");
    }
    assert_eq!(digests.lines().count(), RECORDED.lines().count());
}
