//! Node.js, in which the core's tests run as wasm.

use std::process::Command;

use anyhow::Result;

use super::apt;
use crate::process::probe;

/// What Debian calls it.
pub(crate) const PACKAGES: [&str; 1] = ["nodejs"];

pub(crate) fn present() -> Option<String> {
    probe(Command::new("node").arg("--version")).map(|version| version.trim().to_owned())
}

pub(crate) fn install() -> Result<()> {
    apt::install(&PACKAGES)
}
