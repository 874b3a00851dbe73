//! Random runs of whole clusters under faults, on all cores: `cargo xtask fuzz`.
//!
//! Each seed is a separate run. A failure is therefore named by its seed, and the same command
//! reproduces it on every machine.

#![expect(clippy::disallowed_types, reason = "a tool needs the clock; nothing here is core")]

mod judge;
mod report;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use raft_core::rules::Mutation;

/// Run random clusters under random faults, and check all properties after every event
#[derive(Parser)]
#[command(bin_name = "cargo xtask fuzz", disable_version_flag = true)]
struct Options {
    /// Number of seeds to run (default: 10000, or no limit with --minutes)
    #[arg(long)]
    seeds: Option<u64>,
    /// First seed
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Start no new run after this many minutes (default: no limit)
    #[arg(long)]
    minutes: Option<f64>,
    /// Break this rule, a name from rules.rs, to check that the run detects it
    #[arg(long = "break", value_name = "RULE", value_parser = report::parse_rule)]
    broken: Option<Mutation>,
    /// Stop after this many failures
    #[arg(long, default_value_t = 3)]
    failures: u64,
}

/// The number of seeds if the command line sets no limit.
const SEEDS: u64 = 10_000;

/// The state that all threads share.
struct Work {
    next: AtomicU64,
    end: u64,
    deadline: Option<Instant>,
    stopped: AtomicBool,
    events: AtomicU64,
    passed: AtomicU64,
    failed: Mutex<Vec<u64>>,
    bar: ProgressBar,
}

fn main() -> ExitCode {
    let options = Options::parse();
    judge::keep_panics_quiet();
    let seeds = options.seeds.unwrap_or(match options.minutes {
        Some(_) => u64::MAX - options.from,
        None => SEEDS,
    });
    let start = Instant::now();
    let minutes = |minutes: f64| Duration::try_from_secs_f64(minutes * 60.0).ok();
    let work = Work {
        next: AtomicU64::new(options.from),
        end: options.from.saturating_add(seeds),
        deadline: options.minutes.and_then(minutes).and_then(|span| start.checked_add(span)),
        stopped: AtomicBool::new(false),
        events: AtomicU64::new(0),
        passed: AtomicU64::new(0),
        failed: Mutex::new(Vec::new()),
        bar: bar(options.seeds.unwrap_or(if options.minutes.is_some() { 0 } else { SEEDS })),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| run(&work, &options));
        }
    });
    work.bar.finish_and_clear();
    conclude(&work, start.elapsed(), threads)
}

fn bar(seeds: u64) -> ProgressBar {
    let (bar, template) = match seeds {
        0 => (ProgressBar::no_length(), "{elapsed_precise} {spinner} {pos} seeds {msg}"),
        seeds => (ProgressBar::new(seeds), "{elapsed_precise} {wide_bar} {pos}/{len} {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).expect("a fixed template"))
}

/// Runs seed after seed until a limit is reached.
fn run(work: &Work, options: &Options) {
    while !work.stopped.load(Ordering::Relaxed)
        && work.deadline.is_none_or(|deadline| Instant::now() < deadline)
    {
        let seed = work.next.fetch_add(1, Ordering::Relaxed);
        if seed >= work.end {
            return;
        }
        match judge::run(seed, options.broken) {
            Ok(events) => {
                work.events.fetch_add(events, Ordering::Relaxed);
                work.passed.fetch_add(1, Ordering::Relaxed);
            }
            Err(failed) => {
                let text = report::failure(seed, options.broken, &failed);
                work.bar.suspend(|| println!("{text}"));
                let mut failures = work.failed.lock().expect("no thread panics while it holds it");
                failures.push(seed);
                if failures.len() as u64 >= options.failures {
                    work.stopped.store(true, Ordering::Relaxed);
                }
            }
        }
        work.bar.inc(1);
    }
}

fn conclude(work: &Work, took: Duration, threads: usize) -> ExitCode {
    let passed = work.passed.load(Ordering::Relaxed);
    let events = work.events.load(Ordering::Relaxed);
    let failed = work.failed.lock().expect("all threads have ended");
    println!(
        "{passed} passed, {} failed ({events} events in {:.0} s on {threads} threads)",
        failed.len(),
        took.as_secs_f64()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
