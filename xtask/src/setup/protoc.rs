//! protoc, with which raft-rs and the etcd client compile their messages. Only the measurements
//! need it.

use std::process::Command;

use anyhow::Result;

use super::apt;
use crate::process::probe;

/// Names of the Debian packages.
pub(crate) const PACKAGES: [&str; 2] = ["protobuf-compiler", "libprotobuf-dev"];

pub(crate) fn present() -> Option<String> {
    let program = std::env::var_os("PROTOC").unwrap_or_else(|| "protoc".into());
    let version = probe(Command::new(&program).arg("--version"))?;
    // The protobuf files that others import are in a separate package.
    probe(Command::new(program).args(["-o", "/dev/null", "google/protobuf/descriptor.proto"]))?;
    Some(version.trim().to_owned())
}

pub(crate) fn install() -> Result<()> {
    apt::install(&PACKAGES)
}
