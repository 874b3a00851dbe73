//! `cargo xtask fuzz`: random clusters under random faults, as fast as the machine allows.

use std::process::Command;

use anyhow::Result;

use crate::paths;
use crate::process::replace;

/// Builds and becomes the fuzzer, which lives beside the core: here it would make everybody wait
/// for it who only wants to run a test.
pub(crate) fn fuzz(arguments: &[String]) -> Result<()> {
    replace(
        Command::new("cargo")
            .current_dir(paths::root())
            .args(["run", "--quiet", "--release", "--package", "raft-core"])
            .args(["--features", "wire", "--example", "fuzz", "--"])
            .args(arguments),
    )
}
