//! `cargo xtask fuzz-decoders`: libFuzzer on everything that decodes bytes from outside.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::process::{display, probe, run_logged};

/// What makes the compiler tell libFuzzer which code was reached. That works without nightly Rust
/// and without a sanitizer, which would find nothing in safe code that a panic does not show.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Memory that one input may make the program take, in MiB.
const MEMORY: u32 = 768;

/// Runs each target, or one, for so many seconds in all.
pub(crate) fn fuzz(seconds: u64, only: Option<&str>) -> Result<()> {
    let host = probe(Command::new("rustc").args(["--print", "host-tuple"]))
        .context("rustc does not say for which machine it builds")?;
    let (host, directory) = (host.trim(), paths::target().join("fuzz-decoders"));
    // The same versions of everything as the workspace has.
    std::fs::copy(paths::root().join("Cargo.lock"), paths::root().join("fuzz/Cargo.lock"))
        .context("cannot copy Cargo.lock")?;
    println!("building with coverage; the first time takes minutes");
    run_logged(
        Command::new("cargo")
            .current_dir(paths::root().join("fuzz"))
            .args(["build", "--target", host, "--target-dir"])
            .arg(&directory)
            // For the target alone, not for build scripts: see `--target` above.
            .env("RUSTFLAGS", COVERAGE),
        &directory.join("build.log"),
    )?;
    let program = directory.join(host).join("debug/decoders");
    let targets: Vec<&str> = match only {
        Some(name) => vec![name],
        None => TARGETS.to_vec(),
    };
    let each = (seconds / targets.len() as u64).max(1);
    for target in targets {
        fuzz_one(&program, &directory, target, each)?;
    }
    Ok(())
}

/// As `native_node::fuzz::TARGETS` lists them, which compares.
const TARGETS: [&str; 10] = [
    "log",
    "log-file",
    "snapshot",
    "peers",
    "frame",
    "handshake",
    "command",
    "transaction",
    "set",
    "uri",
];

fn fuzz_one(
    program: &PathBuf,
    directory: &std::path::Path,
    target: &str,
    seconds: u64,
) -> Result<()> {
    let corpus = directory.join("corpus").join(target);
    let found = directory.join("found").join(target);
    for made in [&corpus, &found] {
        std::fs::create_dir_all(made)
            .with_context(|| format!("cannot create {}", made.display()))?;
    }
    let mut command = Command::new(program);
    command
        .env("FUZZ_TARGET", target)
        .env("FUZZ_CORPUS", &corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .args(["-timeout=10", "-max_len=65536", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg(&corpus);
    let output =
        command.output().with_context(|| format!("cannot start `{}`", display(&command)))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let last: Vec<&str> = text.lines().rev().take(25).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        bail!(
            "{target}: an input was found that ends the program; it is in {}\n{}",
            found.display(),
            last.join("\n")
        );
    }
    let figure = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("stat::{name}:")));
        line.map_or("?", str::trim).to_owned()
    };
    let covered = text
        .lines()
        .rev()
        .find_map(|line| line.split_once("cov: ")?.1.split_whitespace().next())
        .unwrap_or("?");
    println!(
        "{target:12} {seconds:4} s  {:>10} inputs  {:>6} new ones kept  {covered:>6} edges  {:>4} MiB",
        figure("number_of_executed_units"),
        figure("new_units_added"),
        figure("peak_rss_mb"),
    );
    Ok(())
}
