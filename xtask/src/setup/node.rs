//! Node.js, in which the core's tests run as wasm.

use std::process::Command;

use anyhow::Result;

use super::apt;
use crate::process::probe;

pub(crate) fn present() -> Option<String> {
    probe(Command::new("node").arg("--version")).map(|version| version.trim().to_owned())
}

pub(crate) fn install() -> Result<()> {
    apt::install(&["nodejs"])
}
