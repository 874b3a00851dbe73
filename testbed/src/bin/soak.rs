//! Runs a soak test and prints its report: `cargo xtask soak`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use testbed::cluster::set_program;
use testbed::soak::Soak;

/// Run a cluster of real server processes under random faults and check everything that clients
/// see.
///
/// Checks that every window's history is linearizable, that every acknowledged write is found, and
/// that watchers see each change once. All servers must end with the same state. Judged clients and
/// health checks must succeed beside hostile clients. Memory, disk and open files must stay
/// bounded.
#[derive(Parser)]
#[command(name = "soak", bin_name = "cargo xtask soak")]
#[command(after_help = "Examples:
  cargo xtask soak --minutes 30
  cargo xtask soak --minutes 5 --seed 7 --servers 5
  cargo xtask soak --minutes 5 --only hostile")]
struct Arguments {
    /// Duration of the soak, in minutes
    #[arg(long, value_name = "M", default_value_t = 10)]
    minutes: u64,
    /// Seed for servers and faults; random and printed by default. Timing depends on the machine,
    /// so the same seed gives the same faults but not the same run
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Number of servers, 3 to 9; by default the seed chooses 3 to 5
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=9))]
    servers: Option<u16>,
    /// Run only faults whose name in the report contains this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Skip faults whose name in the report contains this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    skip: String,
    /// Path of the server program; by default the program that was built beside this one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// File to write the report to, as JSON
    #[arg(long, value_name = "FILE", default_value = "soak.json")]
    report: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(program) = arguments.program {
        set_program(program);
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let time = Duration::from_mins(arguments.minutes);
    let Arguments { servers, only, skip, report: file, .. } = arguments;
    let soak = Soak { time, seed, servers, only, skip };
    let runtime = tokio::runtime::Runtime::new().expect("the system lets threads start");
    // Failures panic, as in a test. Catch the panic, to print how to repeat the run.
    let local = tokio::task::LocalSet::new();
    let run = local.run_until(async { tokio::task::spawn_local(soak.run()).await });
    let Ok(report) = runtime.block_on(run) else {
        eprintln!("soak: failed; repeat it with `cargo xtask soak --seed {seed}`");
        return ExitCode::FAILURE;
    };
    println!("\n{report}");
    let json = serde_json::to_string_pretty(&report).expect("a report has a JSON form");
    if let Err(error) = std::fs::write(&file, json) {
        eprintln!("soak: cannot write {}: {error}", file.display());
        return ExitCode::FAILURE;
    }
    println!("soak: figures are in {}", file.display());
    // Do not wait for a running history search.
    runtime.shutdown_background();
    ExitCode::SUCCESS
}
