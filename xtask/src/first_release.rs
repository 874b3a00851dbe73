//! Builds the program of the first release from the git history. The upgrade test runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::paths;
use crate::process::{run, run_logged};

/// The commit of the first release.
const COMMIT: &str = "a6d533b6d4c4b4c89417d85ce37e42c1e0dbeccb";

/// Builds the program if it is not built yet. Keeps the source and the build results for the next
/// run.
pub(crate) fn program() -> Result<PathBuf> {
    let directory = paths::target().join("first-release");
    let (source, target) = (directory.join("source"), directory.join("target"));
    if !source.exists() {
        check_out(&directory, &source)?;
    }
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&source).env("CARGO_TARGET_DIR", &target);
    // Build without optimisation: the program answers only a few requests, and this takes a quarter
    // of the time.
    cargo.args(["build", "--locked", "--package=native-node", "--profile=xtask"]);
    run_logged(&mut cargo, &paths::log("first-release"))?;
    Ok(target.join("xtask").join(format!("native-node{}", std::env::consts::EXE_SUFFIX)))
}

/// Writes the files of the commit to `source`. A separate index leaves the work tree and its index
/// unchanged.
fn check_out(directory: &Path, source: &Path) -> Result<()> {
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(paths::root()).args(arguments);
        git
    };
    let known = git(&["cat-file", "-e", &format!("{COMMIT}^{{commit}}")]).output();
    ensure!(
        known.context("cannot start git")?.status.success(),
        "the first release ({COMMIT}) is not in this clone; fetch the whole history: \
         `git fetch --unshallow`"
    );
    fs::create_dir_all(directory)?;
    let (index, making) = (directory.join("index"), directory.join("source.tmp"));
    // An interrupted earlier run may have left incomplete files.
    if making.exists() {
        fs::remove_dir_all(&making)?;
    }
    run(git(&["read-tree", COMMIT]).env("GIT_INDEX_FILE", &index))?;
    let prefix = format!("--prefix={}/", making.display());
    run(git(&["checkout-index", "--all", &prefix]).env("GIT_INDEX_FILE", &index))?;
    fs::rename(&making, source).with_context(|| format!("cannot make {}", source.display()))
}
