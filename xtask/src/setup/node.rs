//! Node.js, which runs the core's tests as wasm.

use std::process::Command;

use anyhow::Result;

use super::apt;
use crate::process::probe;

/// Name of the Debian package.
pub(crate) const PACKAGES: [&str; 1] = ["nodejs"];

pub(crate) fn present() -> Option<String> {
    probe(Command::new("node").arg("--version")).map(|version| version.trim().to_owned())
}

pub(crate) fn install() -> Result<()> {
    apt::install(&PACKAGES)
}
