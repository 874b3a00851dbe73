//! `cargo xtask fuzz-decoders`: runs libFuzzer on every decoder of bytes from outside.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::process::{display, probe, run_logged};

/// Compiler flags that report coverage to libFuzzer. They work without nightly Rust and without a
/// sanitizer. In safe code a sanitizer finds nothing that a panic does not show.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Memory limit of the fuzzing process, in MiB.
const MEMORY: u32 = 768;

/// Runs all targets, or only `only`, for `seconds` seconds in total.
pub(crate) fn fuzz(seconds: u64, only: Option<&str>) -> Result<()> {
    let host = probe(Command::new("rustc").args(["--print", "host-tuple"]))
        .context("rustc does not print its host target")?;
    let (host, directory) = (host.trim(), paths::target().join("fuzz-decoders"));
    // Fuzz the same dependency versions that the workspace uses.
    std::fs::copy(paths::root().join("Cargo.lock"), paths::root().join("fuzz/Cargo.lock"))
        .context("cannot copy Cargo.lock")?;
    println!("building with coverage; the first build takes minutes");
    run_logged(
        Command::new("cargo")
            .current_dir(paths::root().join("fuzz"))
            .args(["build", "--target", host, "--target-dir"])
            .arg(&directory)
            // `--target` keeps these flags away from build scripts.
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

/// The names in `native_node::fuzz::TARGETS`. A test there compares the two lists.
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
            "{target}: an input makes the program fail; it is in {}\n{}",
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
