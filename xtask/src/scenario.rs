//! `cargo xtask scenario`: starts the core's own player, so that xtask need not wait for the core.

use std::process::Command;

use anyhow::Result;

use crate::paths;
use crate::process::replace;

/// Becomes the player, in the user's directory: paths mean what they mean there.
pub(crate) fn play(file: Option<String>, breaks: Option<String>, print: bool) -> Result<()> {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--package=raft-core", "--features=sim", "--example=scenario"]);
    command.arg("--manifest-path").arg(paths::root().join("Cargo.toml")).arg("--");
    command.args(file);
    if let Some(rule) = breaks {
        command.args(["--break", &rule]);
    }
    if print {
        command.arg("--print");
    }
    replace(&mut command)
}
