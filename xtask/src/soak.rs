//! `cargo xtask soak`: runs real processes under random faults for any length of time.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::paths;
use crate::process::{replace, run};

/// Builds the release server and replaces this process with the soak. The two are built separately:
/// together the server would get core features that only tests use.
pub(crate) fn soak(arguments: &[String]) -> Result<()> {
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(paths::root()).args(arguments);
        command
    };
    run(&mut cargo(&["build", "--release", "--package", "native-node"]))?;
    let directory = paths::target().join("soak");
    std::fs::create_dir_all(&directory).context("cannot create target/soak")?;
    replace(
        cargo(&["run", "--quiet", "--package", "testbed", "--bin", "soak", "--"])
            .arg("--program")
            .arg(paths::node_binary("release"))
            .arg("--report")
            .arg(directory.join("soak.json"))
            .args(arguments),
    )
}
