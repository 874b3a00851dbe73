//! schemathesis, a program in Python that makes up requests from the description of the API, and a
//! judge of the description itself. Both live in a directory of their own under `target`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use super::apt;
use crate::paths;
use crate::process::{probe, run_logged};

/// What is installed; pinned, since what they find depends on it.
const PACKAGES: [(&str, &str); 2] =
    [("schemathesis", "4.32.5"), ("openapi-spec-validator", "0.9.0")];

/// What Debian calls the part of Python that makes such directories.
const DEBIAN: [&str; 2] = ["python3", "python3-venv"];

fn directory() -> PathBuf {
    paths::target().join("schemathesis")
}

fn pinned() -> [String; 2] {
    PACKAGES.map(|(name, version)| format!("{name}=={version}"))
}

/// The program itself; what judges the description stands beside it.
pub(crate) fn program() -> PathBuf {
    directory().join("bin").join("schemathesis")
}

/// What installs packages there.
pub(crate) fn pip() -> PathBuf {
    directory().join("bin").join("pip")
}

pub(crate) fn title() -> String {
    PACKAGES.map(|(name, version)| format!("{name} {version}")).join(" and ")
}

/// The versions, when they are those that are wanted.
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
