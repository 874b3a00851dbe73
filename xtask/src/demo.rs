//! `cargo xtask demo`: builds everything, then runs three nodes and serves the page.

use std::process::Command;

use anyhow::Result;

use crate::process::{replace, run};
use crate::{paths, web};

/// Builds the page and the server, then replaces this process with `glassraft demo`.
///
/// As a result every signal reaches the demo itself, which stops its nodes. No xtask process can
/// outlive the demo or be killed without it.
pub(crate) fn run_demo(arguments: &[String]) -> Result<()> {
    web::build()?;
    run(Command::new("cargo").current_dir(paths::root()).args([
        "build",
        "--release",
        "--package",
        "native-node",
    ]))?;
    replace(
        Command::new(paths::node_binary("release"))
            .current_dir(paths::root())
            .args(["demo", "--web-dir"])
            .arg(paths::dist())
            .args(arguments),
    )
}
