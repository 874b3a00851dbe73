//! `cargo xtask demo`: from a fresh clone to three running nodes and a page.

use std::process::Command;

use anyhow::Result;

use crate::process::{replace, run};
use crate::{paths, web};

/// Builds the page and the server, then becomes `native-node demo`.
///
/// Becomes, not starts: every signal reaches the demo itself, which stops its nodes, and there is
/// no process of ours that could outlive it or be killed without it.
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
