//! `cargo xtask screenshots`: takes the screenshots of the documentation from the current page.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process::run;
use crate::setup::{self, Part, Report};
use crate::{paths, web};

/// Builds page and server, and takes the screenshots whose name contains `name` in a browser.
pub(crate) fn take(directory: &Path, name: Option<&str>) -> Result<()> {
    setup::ensure(&[Part::Browser], Report::Changes)?;
    web::build()?;
    let cargo = |arguments: &[&str]| {
        let mut command = Command::new("cargo");
        command.current_dir(paths::root()).args(arguments);
        command
    };
    run(&mut cargo(&["build", "--package=native-node"]))?;
    let mut pictures = cargo(&["run", "--package=browser-tests", "--bin=screenshots", "--"]);
    pictures.arg(paths::root().join(directory)).args(name);
    pictures.env("GLASSRAFT_DIST", paths::dist());
    pictures.env("GLASSRAFT_NODE_BIN", paths::node_binary("debug"));
    run(&mut pictures)
}
