//! Defines the stages and their commands.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::runner;
use super::tally::Tally;
use crate::process::{find_program, probe, with_tools_on_path};
use crate::setup::{self, Part, Report, WasmToolchain};
use crate::{deps, first_release, floors, metadata, paths, tidy, web};

/// How a stage counts in the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// As a single test that passed or failed.
    Check,
    /// By the number of its tests.
    Tests,
}

/// A step of `cargo xtask test`.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    run: Box<dyn Fn() -> (Tally, Result<()>)>,
}

impl Stage {
    pub(crate) fn run(&self) -> (Tally, Result<()>) {
        (self.run)()
    }

    pub(crate) fn function(
        name: &'static str,
        kind: Kind,
        run: impl Fn() -> (Tally, Result<()>) + 'static,
    ) -> Self {
        Self { name, kind, run: Box::new(run) }
    }

    fn check(name: &'static str, run: impl Fn() -> Result<()> + 'static) -> Self {
        Self::function(name, Kind::Check, move || (Tally::default(), run()))
    }

    /// Creates the commands only when the stage runs, because they depend on earlier set-up.
    fn commands(
        name: &'static str,
        kind: Kind,
        make: impl Fn() -> Result<Vec<Command>> + 'static,
    ) -> Self {
        Self::function(name, kind, move || match make() {
            Ok(commands) => run_all(commands),
            Err(error) => (Tally::default(), Err(error)),
        })
    }
}

/// Runs all commands, even after a failure. The first failure is the result.
fn run_all(commands: Vec<Command>) -> (Tally, Result<()>) {
    let mut sum = Tally::default();
    let mut result = Ok(());
    for mut command in commands {
        let (tally, outcome) = runner::run(&mut command);
        sum += tally;
        result = result.and(outcome);
    }
    (sum, result)
}

/// The stages that take seconds.
pub(crate) fn quick() -> Vec<Stage> {
    vec![
        Stage::commands("formatting", Kind::Check, || Ok(vec![cargo(["fmt", "--all", "--check"])])),
        Stage::check("tidiness", tidy::check),
        Stage::check("floors", floors::check),
        Stage::check("dependencies", deps::check),
        Stage::commands("clippy", Kind::Check, || Ok(clippy())),
    ]
}

/// All stages, the quick ones first.
pub(crate) fn all() -> Result<Vec<Stage>> {
    let has_browser_tests = metadata::is_member(&metadata::packages()?, BROWSER_TESTS);
    let mut stages = vec![Stage::check("set-up", || setup::ensure(&setup::ALL, Report::Changes))];
    stages.extend(quick());
    stages.extend([
        Stage::commands("clippy for wasm", Kind::Check, || {
            Ok(vec![wasm([
                "clippy",
                "--package=raft-core",
                "--package=web-viz",
                "--all-features",
                "--",
                "-Dwarnings",
            ])?])
        }),
        Stage::commands("documentation", Kind::Check, || Ok(vec![documentation()])),
        Stage::commands("native tests", Kind::Tests, move || Ok(native_tests(has_browser_tests))),
        Stage::commands("API as described", Kind::Tests, || Ok(vec![schemathesis()])),
        Stage::commands("upgrade from the first release", Kind::Tests, || Ok(vec![upgrade()?])),
        Stage::commands("core's tests in wasm", Kind::Tests, || Ok(vec![wasm_tests()?])),
        Stage::commands("digests in Chromium", Kind::Tests, || Ok(vec![chromium_digests()?])),
        Stage::check("page", web::build_within_budget),
    ]);
    if has_browser_tests {
        stages.push(browser_stage(None));
    }
    Ok(stages)
}

/// The page and its tests in a browser: all, or those whose name contains `name`.
pub(crate) fn browser(name: Option<String>) -> Vec<Stage> {
    vec![Stage::check("page", web::build), browser_stage(name)]
}

fn browser_stage(name: Option<String>) -> Stage {
    Stage::commands("browser tests", Kind::Tests, move || {
        setup::ensure(&[Part::Axe, Part::Browser], Report::Changes)?;
        Ok(browser_tests(name.as_deref()))
    })
}

/// These tests need a browser, the page and the server, so the native tests exclude them.
const BROWSER_TESTS: &str = "browser-tests";

fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(paths::root()).args(arguments);
    command
}

/// Creates a cargo command for the wasm target.
fn wasm<const N: usize>(arguments: [&str; N]) -> Result<Command> {
    let toolchain = WasmToolchain::detect().context("no Rust for wasm; run `cargo xtask setup`")?;
    let (subcommand, rest) = arguments.split_first().expect("a subcommand is given");
    let mut command = cargo([subcommand, "--target", setup::TARGET]);
    command.args(rest);
    toolchain.apply(&mut command);
    with_tools_on_path(&mut command);
    Ok(command)
}

/// Arguments that select the whole workspace, except `bench` without protoc, because raft-rs needs
/// it. Every native stage selects the same packages and then filters. Another selection changes the
/// features, and cargo would compile everything again.
fn workspace() -> Vec<&'static str> {
    let mut select = vec!["--workspace", "--all-features"];
    if Part::Protoc.present().is_none() {
        println!("note: no protoc; run `cargo xtask setup` to include the package bench");
        select.push("--exclude=bench");
    }
    select
}

/// Checks everything with all features, then core and server as shipped, without the simulator.
fn clippy() -> Vec<Command> {
    let mut all = cargo(["clippy", "--all-targets"]);
    all.args(workspace()).args(["--", "-Dwarnings"]);
    let alone = |package| cargo(["clippy", package, "--", "-Dwarnings"]);
    vec![all, alone("--package=raft-core"), alone("--package=native-node")]
}

fn documentation() -> Command {
    let mut command = cargo(["doc", "--no-deps", "--document-private-items"]);
    command.args(workspace());
    command.env("RUSTDOCFLAGS", "-Dwarnings");
    command
}

/// Uses nextest if it is installed: it is faster, but does not run doc tests.
fn native_tests(exclude_browser_tests: bool) -> Vec<Command> {
    let nextest = find_program(&["cargo-nextest"]).is_some()
        && probe(Command::new("cargo").args(["nextest", "--version"])).is_some();
    let mut unit = if nextest {
        cargo(["nextest", "run", "--no-fail-fast", "--no-tests=pass"])
    } else {
        cargo(["test", "--no-fail-fast", "--lib", "--bins", "--tests"])
    };
    unit.args(workspace());
    if exclude_browser_tests && nextest {
        unit.args(["-E", &format!("not package({BROWSER_TESTS})")]);
    } else if exclude_browser_tests {
        unit.args(["--exclude", BROWSER_TESTS]);
    }
    let mut doc = cargo(["test", "--no-fail-fast", "--doc"]);
    doc.args(workspace());
    vec![unit, doc]
}

/// Runs the server's ignored tests in `module`, which need another program.
fn server_tests(module: &str) -> Command {
    let mut command = cargo(["test", "--test=it"]);
    command.args(workspace()).args([module, "--", "--ignored", "--nocapture"]);
    command
}

/// Schemathesis generates requests from the API description and sends them to a cluster.
fn schemathesis() -> Command {
    let mut command = server_tests("description::");
    command.env("GLASSRAFT_SCHEMATHESIS", setup::schemathesis());
    command
}

/// Tests servers of the first release and of this version in the same cluster.
fn upgrade() -> Result<Command> {
    let mut command = server_tests("upgrade::with_the_first_release::");
    command.env("GLASSRAFT_FIRST_RELEASE", first_release::program()?);
    Ok(command)
}

/// Runs in Node instead of a browser: Node is faster, and the core depends on neither. Only
/// integration tests run: unit tests need proptest, which is native only.
fn wasm_tests() -> Result<Command> {
    let mut command = wasm(["test", "--package=raft-core", "--features=wire", "--test=it"])?;
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", "wasm-bindgen-test-runner");
    Ok(command)
}

/// Replays the recorded runs in the engine that shows the page.
fn chromium_digests() -> Result<Command> {
    let mut command = wasm_tests()?;
    command.args(["--", "digests"]);
    command.env("WASM_BINDGEN_USE_BROWSER", "1");
    command.env("WASM_BINDGEN_TEST_TIMEOUT", "600");
    let driver =
        find_program(&["chromedriver"]).context("no chromedriver; run `cargo xtask setup`")?;
    command.env("CHROMEDRIVER", driver);
    Ok(command)
}

/// The variables pass the release page and the server to the tests.
fn browser_tests(name: Option<&str>) -> Vec<Command> {
    let mut server = cargo(["build", "--bin=glassraft"]);
    server.args(workspace());
    let mut tests = cargo(["test", "--no-fail-fast", "--test=browser"]);
    tests.args(workspace()).arg("--").args(name);
    tests.env("GLASSRAFT_DIST", paths::dist());
    tests.env("GLASSRAFT_AXE", setup::axe());
    tests.env("GLASSRAFT_NODE_BIN", paths::node_binary("debug"));
    vec![server, tests]
}
