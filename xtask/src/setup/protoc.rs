//! protoc, with which raft-rs builds its messages; only the measurements need raft-rs.

use std::process::Command;

use anyhow::Result;

use super::apt;
use crate::process::probe;

/// What Debian calls it.
pub(crate) const PACKAGES: [&str; 1] = ["protobuf-compiler"];

pub(crate) fn present() -> Option<String> {
    let program = std::env::var_os("PROTOC").unwrap_or_else(|| "protoc".into());
    probe(Command::new(program).arg("--version")).map(|version| version.trim().to_owned())
}

pub(crate) fn install() -> Result<()> {
    apt::install(&PACKAGES)
}
