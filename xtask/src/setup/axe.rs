//! axe-core, which checks the accessibility of the page. It comes in a Python package, because
//! setup already has pip.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::schemathesis;
use crate::paths;
use crate::process::run_logged;

/// The Python package, and the version of axe-core in it.
const PACKAGE: (&str, &str) = ("axe-playwright-python", "0.1.8");
const HOLDS: &str = "4.12.1";

fn directory() -> PathBuf {
    paths::target().join("axe")
}

/// Path of the axe-core script.
pub(crate) fn script() -> PathBuf {
    directory().join("axe_playwright_python").join("axe.min.js")
}

pub(crate) fn title() -> String {
    format!("axe-core {HOLDS}")
}

pub(crate) fn present() -> Option<String> {
    // The first line of the script contains its version.
    let begins = std::fs::read_to_string(script()).ok()?;
    begins.lines().next()?.contains(HOLDS).then(|| HOLDS.to_owned())
}

fn arguments() -> Vec<String> {
    let (name, version) = PACKAGE;
    let target = format!("--target={}", directory().display());
    // `--no-deps`: its dependencies drive a browser, which the tests here do in another way.
    ["install", "--quiet", "--disable-pip-version-check", "--upgrade", "--no-deps", &target]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("{name}=={version}")])
        .collect()
}

pub(crate) fn by_hand() -> String {
    format!("pip {}", arguments().join(" "))
}

/// Installs axe-core, and first schemathesis's Python environment if that is missing.
pub(crate) fn install() -> Result<()> {
    if schemathesis::present().is_none() {
        schemathesis::install()?;
    }
    let mut pip = Command::new(schemathesis::pip());
    run_logged(pip.args(arguments()), &paths::log("pip-install-axe"))
}
