//! `cargo xtask scenario`: starts the core's player. xtask does not depend on the core, and so
//! builds faster.

use std::process::Command;

use anyhow::Result;

use crate::paths;
use crate::process::replace;

/// Replaces this process with the player. Relative paths refer to the user's working directory.
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
