//! rustfmt and clippy, which a minimal Rust comes without.

use std::process::Command;

use anyhow::Result;

use crate::paths;
use crate::process::{probe, run_logged};
use crate::version;

/// What a person types.
pub(crate) const BY_HAND: &str = "rustup component add rustfmt clippy";

pub(crate) fn present() -> Option<String> {
    let version = |tool| {
        let printed = probe(Command::new("cargo").args([tool, "--version"]))?;
        version::first(&printed).map(|version| version::show(&version))
    };
    Some(format!("{}, {}", version("fmt")?, version("clippy")?))
}

pub(crate) fn install() -> Result<()> {
    let mut rustup = Command::new("rustup");
    run_logged(rustup.args(["component", "add", "rustfmt", "clippy"]), &paths::log("rustup-lints"))
}
