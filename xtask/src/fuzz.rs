//! `cargo xtask fuzz`: simulates random clusters under random faults at full speed.

use std::process::Command;

use anyhow::Result;

use crate::paths;
use crate::process::replace;

/// Builds the fuzzer and replaces this process with it. The fuzzer is an example of the core: in
/// xtask it would slow down the build for every other command.
pub(crate) fn fuzz(arguments: &[String]) -> Result<()> {
    replace(
        Command::new("cargo")
            .current_dir(paths::root())
            .args(["run", "--quiet", "--release", "--package", "raft-core"])
            .args(["--features", "wire", "--example", "fuzz", "--"])
            .args(arguments),
    )
}
