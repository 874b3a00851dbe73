//! `cargo xtask bench`: runs the measurements, prints tables and writes figures as JSON to
//! `target/bench/`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::paths;
use crate::process::{display, find_program, probe, run, with_tools_on_path};
use crate::setup::{self, Part, Report, WasmToolchain};
use crate::web;

/// The package that holds the measurement programs.
const PACKAGE: &str = "bench";

/// Measures the core against raft-rs, the simulator natively and in wasm, and memory.
pub(crate) fn core(rounds: u32) -> Result<()> {
    setup::ensure(&[Part::Protoc], Report::Changes)?;
    let directory = paths::target().join("bench");
    std::fs::create_dir_all(&directory).context("cannot create target/bench")?;
    run(&mut cargo(["build", "--release", "--package", PACKAGE, "--bins"]))?;
    let memory = directory.join("core-memory.json");
    run_into(&mut Command::new(program("core_memory")), &memory)?;
    let json = directory.join("core.json");
    let mut speed = Command::new(program("core_speed"));
    speed.args(["--rounds", &rounds.to_string()]).arg("--json").arg(&json);
    speed.arg("--memory").arg(&memory);
    match simulator_in_wasm(rounds, &directory) {
        Ok((figures, runner)) => {
            speed.arg("--wasm").arg(figures).args(["--wasm-runner", &runner]);
        }
        Err(error) => println!("bench: not measured in wasm: {error:#}"),
    }
    run(&mut speed)?;
    println!("bench: figures are in {}", json.display());
    Ok(())
}

/// Measures three real servers, and three of etcd if `etcd` is on the path, or of the build
/// `before`.
pub(crate) fn cluster(what: &str, figures: &[(&str, u32)], before: Option<&Path>) -> Result<()> {
    setup::ensure(&[Part::Protoc], Report::Changes)?;
    let directory = paths::target().join("bench");
    std::fs::create_dir_all(&directory).context("cannot create target/bench")?;
    run(&mut cargo(["build", "--release", "--package", "native-node", "--bins"]))?;
    run(&mut cargo(["build", "--release", "--package", PACKAGE, "--bins"]))?;
    let mut speed = Command::new(program("cluster_speed"));
    speed.arg("--server").arg(program("glassraft")).arg("--output").arg(&directory);
    match find_program(&["etcd"]) {
        _ if before.is_some() => {}
        Some(etcd) => drop(speed.arg("--etcd").arg(etcd)),
        None => println!("bench: no `etcd` on the path (Debian: etcd-server); it is not measured"),
    }
    speed.arg(what);
    for (name, figure) in figures {
        speed.args([format!("--{name}"), figure.to_string()]);
    }
    if let Some(before) = before {
        speed.arg("--before").arg(before);
    }
    run(&mut speed)?;
    println!("bench: figures are in {}", directory.join(format!("{what}.json")).display());
    Ok(())
}

/// Measures the release build of the page in Chromium, alone and beside real servers. `only`
/// selects a single figure by name.
pub(crate) fn page(rounds: u32, only: Option<&str>) -> Result<()> {
    setup::ensure(&[Part::Browser], Report::Changes)?;
    web::build()?;
    run(&mut cargo(["build", "--release", "--package", "native-node", "--bins"]))?;
    let directory = paths::target().join("bench");
    std::fs::create_dir_all(&directory).context("cannot create target/bench")?;
    println!("{}", web::size_table()?);
    let json = directory.join("page.json");
    let mut speed = cargo(["run", "--package", "browser-tests", "--bin", "page_speed", "--"]);
    speed.arg("--json").arg(&json).args(["--rounds", &rounds.to_string()]);
    speed.args(["--chromium", &Part::Browser.present().unwrap_or_default()]);
    speed.args(only.into_iter().flat_map(|name| ["--only", name]));
    speed.env("GLASSRAFT_DIST", paths::dist()).env("GLASSRAFT_NODE_BIN", program("glassraft"));
    run(&mut speed)?;
    println!("bench: figures are in {}", json.display());
    Ok(())
}

/// Builds the simulator for wasm and measures it in Node. Returns the path of the figures and the
/// runner's name.
fn simulator_in_wasm(rounds: u32, directory: &Path) -> Result<(PathBuf, String)> {
    setup::ensure(&[Part::Wasm, Part::WasmBindgen, Part::Node], Report::Changes)?;
    let toolchain = WasmToolchain::detect().context("no Rust for wasm; run `cargo xtask setup`")?;
    let mut build = cargo(["build", "--release", "--package", PACKAGE, "--lib"]);
    build.args(["--target", setup::TARGET]);
    toolchain.apply(&mut build);
    run(&mut build)?;
    let library = paths::wasm_target().join(setup::TARGET).join("release").join("bench.wasm");
    let module = directory.join("wasm");
    let bindgen =
        find_program(&["wasm-bindgen"]).context("no wasm-bindgen; run `cargo xtask setup`")?;
    let mut bind = Command::new(bindgen);
    bind.args(["--target", "nodejs", "--out-dir"]).arg(&module).arg(library);
    with_tools_on_path(&mut bind);
    run(&mut bind)?;
    let figures = directory.join("core-wasm.json");
    let script =
        "process.stdout.write(require(process.argv[1]).simulator(Number(process.argv[2])))";
    let mut node = Command::new("node");
    node.args(["-e", script]).arg(module.join("bench.js")).arg(rounds.to_string());
    run_into(&mut node, &figures)?;
    let version = probe(Command::new("node").arg("--version")).unwrap_or_default();
    Ok((figures, format!("Node {}", version.trim())))
}

fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(paths::root()).args(arguments);
    command
}

fn program(name: &str) -> PathBuf {
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    paths::target().join("release").join(file)
}

/// Runs a command and writes its standard output to a file.
fn run_into(command: &mut Command, file: &Path) -> Result<()> {
    let shown = display(command);
    let target = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
    let status =
        command.stdout(target).status().with_context(|| format!("cannot start `{shown}`"))?;
    anyhow::ensure!(status.success(), "`{shown}` failed with {status}");
    Ok(())
}
