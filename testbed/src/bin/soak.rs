//! Runs a soak and prints its report: `cargo xtask soak`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use testbed::cluster::set_program;
use testbed::soak::Soak;

/// Run a cluster of real server processes under random faults and judge all that clients see.
///
/// Every window's history is checked for linearizability, every acknowledged write must be found
/// again, watchers must see each change once, all servers must end up equal, judged clients and
/// health must go on beside hostile clients, and memory, disk and open files must stay bounded.
#[derive(Parser)]
#[command(name = "soak", bin_name = "cargo xtask soak")]
#[command(after_help = "Examples:
  cargo xtask soak --minutes 30
  cargo xtask soak --minutes 5 --seed 7 --servers 5
  cargo xtask soak --minutes 5 --only hostile")]
struct Arguments {
    /// For how long
    #[arg(long, value_name = "M", default_value_t = 10)]
    minutes: u64,
    /// Decides on servers and faults; one is drawn and printed if none is given. Timing is the
    /// machine's, so the same seed gives the same faults but not the same run
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// How many servers; from three to five by the seed if nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=9))]
    servers: Option<u16>,
    /// Only faults whose names in the report contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// No faults whose names in the report contain this
    #[arg(long, value_name = "TEXT", default_value = "")]
    skip: String,
    /// The server program; by default the one that was built beside this one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Where to write the report as JSON
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
    // Whatever is wrong is a panic, as in a test; here it must still say how to go on from it.
    let local = tokio::task::LocalSet::new();
    let run = local.run_until(async { tokio::task::spawn_local(soak.run()).await });
    let Ok(report) = runtime.block_on(run) else {
        eprintln!("soak: failed; again with `cargo xtask soak --seed {seed}`");
        return ExitCode::FAILURE;
    };
    println!("\n{report}");
    let json = serde_json::to_string_pretty(&report).expect("a report has a JSON form");
    if let Err(error) = std::fs::write(&file, json) {
        eprintln!("soak: cannot write {}: {error}", file.display());
        return ExitCode::FAILURE;
    }
    println!("soak: figures are in {}", file.display());
    // A history that is still being searched must not keep the program.
    runtime.shutdown_background();
    ExitCode::SUCCESS
}
