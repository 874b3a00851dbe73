//! rustfmt and clippy, which a minimal Rust installation lacks.

use std::process::Command;

use anyhow::Result;

use crate::paths;
use crate::process::{probe, run_logged};

/// The command that a user types.
pub(crate) const BY_HAND: &str = "rustup component add rustfmt clippy";

pub(crate) fn present() -> Option<String> {
    let printed = |tool| probe(Command::new("cargo").args([tool, "--version"]));
    Some(format!("{}, {}", printed("fmt")?.trim(), printed("clippy")?.trim()))
}

pub(crate) fn install() -> Result<()> {
    let mut rustup = Command::new("rustup");
    run_logged(rustup.args(["component", "add", "rustfmt", "clippy"]), &paths::log("rustup-lints"))
}
