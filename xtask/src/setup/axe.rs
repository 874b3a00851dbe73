//! axe-core, which finds what keeps people out of a page. It comes in a package of Python's, whose
//! installer is here anyway.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::schemathesis;
use crate::paths;
use crate::process::run_logged;

/// What brings it, and which axe-core it holds.
const PACKAGE: (&str, &str) = ("axe-playwright-python", "0.1.8");
const HOLDS: &str = "4.12.1";

fn directory() -> PathBuf {
    paths::target().join("axe")
}

/// The script itself.
pub(crate) fn script() -> PathBuf {
    directory().join("axe_playwright_python").join("axe.min.js")
}

pub(crate) fn title() -> String {
    format!("axe-core {HOLDS}")
}

pub(crate) fn present() -> Option<String> {
    // Its first line names it.
    let begins = std::fs::read_to_string(script()).ok()?;
    begins.lines().next()?.contains(HOLDS).then(|| HOLDS.to_owned())
}

fn arguments() -> Vec<String> {
    let (name, version) = PACKAGE;
    let target = format!("--target={}", directory().display());
    // What the package needs besides drives a browser, which is done otherwise here.
    ["install", "--quiet", "--disable-pip-version-check", "--upgrade", "--no-deps", &target]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("{name}=={version}")])
        .collect()
}

pub(crate) fn by_hand() -> String {
    format!("pip {}", arguments().join(" "))
}

/// Installs it, after what it is installed with.
pub(crate) fn install() -> Result<()> {
    if schemathesis::present().is_none() {
        schemathesis::install()?;
    }
    let mut pip = Command::new(schemathesis::pip());
    run_logged(pip.args(arguments()), &paths::log("pip-install-axe"))
}
