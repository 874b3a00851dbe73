//! The automation of this workspace: `cargo xtask help`.

mod bench;
mod decoders;
mod demo;
mod deps;
mod first_release;
mod fix;
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
    /// Install what is missing to build, run and test everything; does nothing where all is there
    Setup,
    /// Build the page into dist/ and hold it to its size
    Web,
    /// Take the pictures in docs/screenshots anew, or those whose name contains NAME
    Screenshots {
        /// Part of a picture's name, for example `lesson` or `phone`
        name: Option<String>,
        /// Where the pictures go
        #[arg(long, value_name = "DIR", default_value = "docs/screenshots")]
        to: PathBuf,
    },
    /// `trunk serve` with the right compiler: the page on port 8080, rebuilt as you edit
    Serve {
        /// Passed on to trunk, for example `--port 9000` or `--release`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Play a lesson or another scenario: `scenario 8`, `scenario my.md --break vote-twice --print`
    Scenario {
        /// A file, or the number or name of a built-in scenario; without it they are listed
        file: Option<String>,
        /// Plays it with this rule broken
        #[arg(long = "break", value_name = "RULE")]
        breaks: Option<String>,
        /// Prints every event in words
        #[arg(long)]
        print: bool,
    },
    /// Everything that a change must pass: checks, native tests, wasm tests, browser tests
    Test,
    /// The quick part of `test`, which writes nothing: formatting, tidiness, dependencies, clippy
    Verify,
    /// Write what can be put right without thinking: clippy's suggestions and formatting
    Fix,
    /// Run random clusters under random faults on all cores: --seeds N, --from S, --minutes M,
    /// --break RULE
    #[command(disable_help_flag = true)]
    Fuzz {
        /// Passed on to the fuzzer
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run libFuzzer on whatever decodes files, frames and requests; needs a C++ compiler
    FuzzDecoders {
        /// For how long, all decoders together
        #[arg(long, default_value_t = 120)]
        seconds: u64,
        /// Only this decoder, for instance `log` or `frame`
        #[arg(long)]
        target: Option<String>,
    },
    /// Run a cluster of real processes under random faults and judge what clients see: --minutes M,
    /// --seed S, --servers N
    #[command(disable_help_flag = true)]
    Soak {
        /// Passed on to the soak
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Measure: prints tables, writes target/bench/
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
    /// Build page and server, start three real nodes and serve the page; Ctrl-C stops everything
    Demo {
        /// Passed on to `native-node demo`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// The core against raft-rs, the simulator natively and in wasm, and memory
    Core {
        /// How often each thing is measured; medians are reported
        #[arg(long, default_value_t = 9)]
        rounds: u32,
    },
    /// Three real servers, beside three of etcd where an `etcd` is found: throughput, latency, CPU
    /// and memory by clients
    Etcd {
        /// How often each figure is taken; medians are reported
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// How long each figure takes
        #[arg(long, default_value_t = 4)]
        seconds: u32,
    },
    /// The leader's kill -9 to the first write, many times, etcd beside it with equal timeouts
    Failover {
        /// How often each leader is killed
        #[arg(long, default_value_t = 100)]
        kills: u32,
    },
    /// What snapshots of many keys cost: latency, memory, disk, and the time of a restart
    Snapshot {
        /// How many keys
        #[arg(long, default_value_t = 1_000_000)]
        keys: u32,
        /// How long each figure takes
        #[arg(long, default_value_t = 10)]
        seconds: u32,
    },
    /// The page in Chromium: its size, start, frames, seeking, memory, what it costs when paused, and
    /// frames beside a cluster that takes 10,000 writes a second
    Page {
        /// How often each figure is taken; medians are reported
        #[arg(long, default_value_t = 3)]
        rounds: u32,
        /// Only this: start, frames, seek, hour, pause or flood
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
    },
    /// What a page costs that follows the servers' events
    Trace {
        /// How often each figure is taken; medians are reported
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// How long each figure takes
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
        Task::Fix => fix::fix()?,
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(what: &Bench) -> Result<()> {
    match what {
        Bench::Core { rounds } => bench::core(*rounds),
        Bench::Etcd { rounds, seconds } => {
            bench::cluster("etcd", &[("rounds", *rounds), ("seconds", *seconds)])
        }
        Bench::Failover { kills } => bench::cluster("failover", &[("kills", *kills)]),
        Bench::Snapshot { keys, seconds } => {
            bench::cluster("snapshot", &[("keys", *keys), ("seconds", *seconds)])
        }
        Bench::Page { rounds, only } => bench::page(*rounds, only.as_deref()),
        Bench::Trace { rounds, seconds } => {
            bench::cluster("trace", &[("rounds", *rounds), ("seconds", *seconds)])
        }
    }
}
