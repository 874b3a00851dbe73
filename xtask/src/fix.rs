//! `cargo xtask fix`: what can be put right without thinking.

use std::process::Command;

use anyhow::Result;

use crate::paths;
use crate::process::run;

/// Applies clippy's suggestions, then formats.
pub(crate) fn fix() -> Result<()> {
    let cargo = || {
        let mut command = Command::new("cargo");
        command.current_dir(paths::root());
        command
    };
    // Work in progress is what one wants to be fixed, so it is no reason to refuse.
    let dirty = ["--allow-dirty", "--allow-staged"];
    run(cargo()
        .args(["clippy", "--fix", "--workspace", "--all-targets", "--all-features"])
        .args(dirty))?;
    run(cargo().args(["fmt", "--all"]))
}
