//! `cargo xtask fix`: applies the fixes that need no decision.

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
    // Allow uncommitted changes: they are what the user wants to fix.
    let dirty = ["--allow-dirty", "--allow-staged"];
    run(cargo()
        .args(["clippy", "--fix", "--workspace", "--all-targets", "--all-features"])
        .args(dirty))?;
    run(cargo().args(["fmt", "--all"]))
}
