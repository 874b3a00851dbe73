//! protoc, with which raft-rs and the client of etcd build their messages; only the measurements
//! need either.

use std::process::Command;

use anyhow::Result;

use super::apt;
use crate::process::probe;

/// What Debian calls it.
pub(crate) const PACKAGES: [&str; 2] = ["protobuf-compiler", "libprotobuf-dev"];

pub(crate) fn present() -> Option<String> {
    let program = std::env::var_os("PROTOC").unwrap_or_else(|| "protoc".into());
    let version = probe(Command::new(&program).arg("--version"))?;
    // The messages that others build on are in a package of their own.
    probe(Command::new(program).args(["-o", "/dev/null", "google/protobuf/descriptor.proto"]))?;
    Some(version.trim().to_owned())
}

pub(crate) fn install() -> Result<()> {
    apt::install(&PACKAGES)
}
