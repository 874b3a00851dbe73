//! The build automation of this workspace; see `cargo xtask help`.

mod bench;
mod bless;
mod decoders;
mod demo;
mod deps;
mod first_release;
mod fix;
mod floors;
mod fuzz;
mod metadata;
mod paths;
mod process;
mod scenario;
mod screenshots;
mod setup;
mod soak;
mod test;
mod tidy;
mod version;
mod web;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Set up, build, run and test Glassraft
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_version_flag = true)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing to build, run and test everything
    Setup,
    /// Build the page into dist/ and fail if it exceeds its size budget
    Web,
    /// Take the screenshots in docs/screenshots again: all, or those whose name contains NAME
    Screenshots {
        /// Part of a screenshot's name, for example `lesson` or `phone`; without it all are taken
        name: Option<String>,
        /// Directory for the screenshots, relative to the workspace
        #[arg(long, value_name = "DIR", default_value = "docs/screenshots")]
        to: PathBuf,
    },
    /// Run `trunk serve` with the right compiler: the page on port 8080, rebuilt on changes
    Serve {
        /// Arguments for trunk, for example `--port 9000` or `--release`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Play a lesson or another scenario: `scenario 8`, `scenario my.md --break vote-twice --print`
    Scenario {
        /// File, or number or name of a built-in scenario; without it, list the built-in scenarios
        file: Option<String>,
        /// Break this Raft rule while the scenario plays
        #[arg(long = "break", value_name = "RULE")]
        breaks: Option<String>,
        /// Print every event in words
        #[arg(long)]
        print: bool,
    },
    /// Run everything that a change must pass: checks, native tests, wasm tests, browser tests
    Test,
    /// Run the quick part of `test`: formatting, tidiness, dependencies, clippy; writes nothing
    Verify,
    /// Build the page and run its tests in Chromium: all, or those whose name contains NAME
    Browser {
        /// Part of a test's name, for example `live` or `phone`; without it all are run
        name: Option<String>,
    },
    /// Apply clippy's suggestions and format the code
    Fix,
    /// Record the core's golden files anew, after an intended change of the protocol or of a text
    Bless,
    /// Simulate random clusters under random faults on all cores: --seeds N, --from S, --minutes M,
    /// --break RULE
    #[command(disable_help_flag = true)]
    Fuzz {
        /// Arguments for the fuzzer
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run libFuzzer on the decoders of files, frames and requests; needs a C++ compiler
    FuzzDecoders {
        /// Total time for all decoders, in seconds
        #[arg(long, default_value_t = 120)]
        seconds: u64,
        /// Fuzz only this decoder, for example `log` or `frame`; without it all are fuzzed
        #[arg(long)]
        target: Option<String>,
    },
    /// Run a cluster of real processes under random faults and check what clients see: --minutes M,
    /// --seed S, --servers N
    #[command(disable_help_flag = true)]
    Soak {
        /// Arguments for the soak
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run measurements, print tables and write figures to target/bench/
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Build page and server, start three real nodes and serve the page; Ctrl-C stops everything
    Demo {
        /// Arguments for `glassraft demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// Measure the core against raft-rs, the simulator natively and in wasm, and memory
    Core {
        /// Number of measurements of each figure; the median is reported
        #[arg(long, default_value_t = 9)]
        rounds: u32,
    },
    /// Measure three real servers, and three of etcd if `etcd` is found: throughput, latency, CPU
    /// and memory by number of clients
    Etcd {
        /// Number of measurements of each figure; the median is reported
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// Duration of each measurement, in seconds
        #[arg(long, default_value_t = 4)]
        seconds: u32,
    },
    /// Measure this server beside another build of it, for instance that of the last release
    Versions {
        /// Path of the other server program
        #[arg(long, value_name = "PROGRAM")]
        before: PathBuf,
        /// Number of pairs of turns for each figure; the median is reported
        #[arg(long, default_value_t = 40)]
        rounds: u32,
        /// Duration of each turn, in seconds
        #[arg(long, default_value_t = 1)]
        seconds: u32,
    },
    /// Measure the time from kill -9 of the leader to the first write, also for etcd with equal
    /// timeouts
    Failover {
        /// Number of times that each cluster's leader is killed
        #[arg(long, default_value_t = 100)]
        kills: u32,
    },
    /// Measure the cost of snapshots of many keys: latency, memory, disk, and the time of a restart
    Snapshot {
        /// Number of keys in the store
        #[arg(long, default_value_t = 1_000_000)]
        keys: u32,
        /// Duration of each measurement, in seconds
        #[arg(long, default_value_t = 10)]
        seconds: u32,
    },
    /// Measure the page in Chromium: size, start, frames, seeking, memory, cost while paused, and
    /// frames beside a cluster that takes 10,000 writes a second
    Page {
        /// Number of measurements of each figure; the median is reported
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// Measure only this: start, frames, seek, hour, pause or flood
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// Measure what a page that follows the servers' events costs
    Trace {
        /// Number of measurements of each figure; the median is reported
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Duration of each measurement, in seconds
        #[arg(long, default_value_t = 5)]
        seconds: u32,
    },
}

fn main() -> ExitCode {
    perform(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Setup => setup::ensure(&setup::ALL, setup::Report::Everything)?,
        Task::Web => web::build_within_budget()?,
        Task::Screenshots { name, to } => screenshots::take(&to, name.as_deref())?,
        Task::Serve { arguments } => web::serve(&arguments)?,
        Task::Demo { arguments } => demo::run_demo(&arguments)?,
        Task::FuzzDecoders { seconds, target } => decoders::fuzz(seconds, target.as_deref())?,
        Task::Fuzz { arguments } => fuzz::fuzz(&arguments)?,
        Task::Bench { what } => measure(&what)?,
        Task::Soak { arguments } => soak::soak(&arguments)?,
        Task::Scenario { file, breaks, print } => scenario::play(file, breaks, print)?,
        Task::Test => return test::test(),
        Task::Verify => return Ok(test::verify()),
        Task::Browser { name } => return Ok(test::browser(name)),
        Task::Fix => fix::fix()?,
        Task::Bless => bless::bless()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(what: &Bench) -> Result<()> {
    match what {
        Bench::Core { rounds } => bench::core(*rounds),
        Bench::Etcd { rounds, seconds } => {
            bench::cluster("etcd", &[("rounds", *rounds), ("seconds", *seconds)], None)
        }
        Bench::Versions { before, rounds, seconds } => bench::cluster(
            "versions",
            &[("rounds", *rounds), ("seconds", *seconds)],
            Some(before.as_path()),
        ),
        Bench::Failover { kills } => bench::cluster("failover", &[("kills", *kills)], None),
        Bench::Snapshot { keys, seconds } => {
            bench::cluster("snapshot", &[("keys", *keys), ("seconds", *seconds)], None)
        }
        Bench::Page { rounds, only } => bench::page(*rounds, only.as_deref()),
        Bench::Trace { rounds, seconds } => {
            bench::cluster("trace", &[("rounds", *rounds), ("seconds", *seconds)], None)
        }
    }
}
