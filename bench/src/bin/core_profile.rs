//! Runs a single contender for a profiler: `perf record target/release/core_profile ours 16
//! 400000`.

use std::error::Error;

use bench::consensus::{self, Contender};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [contender, batch, entries] = arguments.as_slice() else {
        return Err(
            "usage: core_profile ours|raft_rs_each|raft_rs_one_message BATCH ENTRIES".into()
        );
    };
    let contender: Contender = serde_json::from_value(contender.as_str().into())?;
    let rate = consensus::run(contender, false, batch.parse()?, entries.parse()?);
    println!("{rate:.0} entries/s");
    Ok(())
}
