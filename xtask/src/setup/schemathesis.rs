//! schemathesis, a Python program that generates requests from the API description, and a validator
//! of the description. Both are installed in a virtual environment under `target`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use super::apt;
use crate::paths;
use crate::process::{probe, run_logged};

/// Packages with pinned versions, because the findings depend on the version.
const PACKAGES: [(&str, &str); 2] =
    [("schemathesis", "4.32.5"), ("openapi-spec-validator", "0.9.0")];

/// Debian packages that create virtual environments.
const DEBIAN: [&str; 2] = ["python3", "python3-venv"];

fn directory() -> PathBuf {
    paths::target().join("schemathesis")
}

fn pinned() -> [String; 2] {
    PACKAGES.map(|(name, version)| format!("{name}=={version}"))
}

/// Path of schemathesis. The validator is in the same directory.
pub(crate) fn program() -> PathBuf {
    directory().join("bin").join("schemathesis")
}

/// Path of pip in the environment.
pub(crate) fn pip() -> PathBuf {
    directory().join("bin").join("pip")
}

pub(crate) fn title() -> String {
    PACKAGES.map(|(name, version)| format!("{name} {version}")).join(" and ")
}

/// Returns the versions if they match the pinned ones.
pub(crate) fn present() -> Option<String> {
    let python = directory().join("bin").join("python");
    let versions = PACKAGES.map(|(name, _)| format!("version('{name}')")).join(", ");
    let script = format!("from importlib.metadata import version; print({versions})");
    let found = probe(Command::new(python).args(["-c", &script]))?;
    let wanted = PACKAGES.map(|(_, version)| version).join(" ");
    (found.trim() == wanted).then(|| wanted.replace(' ', ", "))
}

pub(crate) fn by_hand() -> String {
    let (place, packages) = (directory(), pinned().join(" "));
    let place = place.display();
    format!("python3 -m venv {place} && {place}/bin/pip install {packages}")
}

pub(crate) fn install() -> Result<()> {
    let make = || {
        let mut make = Command::new("python3");
        make.args(["-m", "venv", "--clear"]).arg(directory());
        make
    };
    if probe(&mut make()).is_none() {
        apt::install(&DEBIAN)?;
        if probe(&mut make()).is_none() {
            bail!("python3 cannot make {}", directory().display());
        }
    }
    let mut install = Command::new(pip());
    install.args(["install", "--disable-pip-version-check", "--quiet"]).args(pinned());
    run_logged(&mut install, &paths::log("pip-install"))
}
