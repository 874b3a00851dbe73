//! Measures the speed of the core, and prints and writes the figures. `cargo xtask bench core` runs
//! it and passes the figures of the other programs.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bench::consensus::{self, BATCHES};
use bench::report::{Machine, Report};
use bench::simulator;
use clap::Parser;
use serde::de::DeserializeOwned;

/// Measure the core
#[derive(Parser)]
struct Cli {
    /// Number of measurements of each figure
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Number of commands that each measurement replicates; a tenth of it at batch size 1
    #[arg(long, default_value_t = 200_000)]
    entries: usize,
    /// File with the output of `core_memory`
    #[arg(long)]
    memory: Option<PathBuf>,
    /// File with the simulator's figures in wasm
    #[arg(long)]
    wasm: Option<PathBuf>,
    /// Name of the runtime that produced the wasm figures
    #[arg(long, default_value = "unknown")]
    wasm_runner: String,
    /// File to write the figures to, as JSON
    #[arg(long)]
    json: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    let memory = cli.memory.as_deref().map(read).transpose()?;
    let in_wasm = cli.wasm.as_deref().map(read).transpose()?;
    let begun = Instant::now();
    let mut rows = Vec::new();
    for applies in [false, true] {
        for batch in BATCHES {
            let entries = if batch == 1 { cli.entries / 10 } else { cli.entries };
            eprintln!("{:>3} s: batches of {batch}", begun.elapsed().as_secs());
            rows.push(consensus::measure(batch, applies, entries, cli.rounds));
        }
    }
    eprintln!("{:>3} s: the simulator", begun.elapsed().as_secs());
    let rounds = u32::try_from(cli.rounds)?;
    let report = Report {
        machine: Machine::this(),
        consensus: rows,
        simulator: simulator::measure(rounds, || begun.elapsed().as_secs_f64()),
        simulator_in_wasm: in_wasm.map(|speed| (cli.wasm_runner.clone(), speed)),
        memory,
    };
    std::fs::write(&cli.json, serde_json::to_string_pretty(&report)?)?;
    println!("{report}");
    Ok(())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Box<dyn Error>> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
}
