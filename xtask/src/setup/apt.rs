//! Debian packages, where there are any.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::process::{find_program, probe, run_logged};

/// Runs what needs root: as it is for root, through `sudo` when that asks for no password.
///
/// `None`: neither is the case, and a question must not be asked.
pub(crate) fn privileged(program: &str) -> Option<Command> {
    if probe(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0") {
        return Some(Command::new(program));
    }
    probe(Command::new("sudo").args(["-n", "true"]))?;
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    Some(command)
}

/// What a person types, or looks for where there is no apt.
pub(crate) fn by_hand(packages: &[&str]) -> String {
    let names = packages.join(" ");
    if find_program(&["apt-get"]).is_some() {
        format!("sudo apt-get install {names}")
    } else {
        format!("this system's package manager; Debian calls it {names}")
    }
}

/// Installs Debian packages without asking anything.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if find_program(&["apt-get"]).is_none() {
        bail!("this system has no apt-get");
    }
    if privileged("apt-get").is_none() {
        bail!("it needs root, and sudo would ask for a password");
    }
    // The lists of a fresh image are empty or old; a failed update is not the end, since the
    // packages may be had all the same.
    let updated = apt_get(&["update"]);
    let installed = apt_get(&[&["install", "--no-install-recommends"], packages].concat());
    // Without lists the second error only says that nothing is known: the first says why.
    if installed.is_err() { updated.and(installed) } else { installed }
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = privileged("env").context("root is needed")?;
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet"])
        // Another apt may be at work.
        .args(["-o", "DPkg::Lock::Timeout=600"])
        .args(arguments);
    run_logged(&mut command, &paths::log(&format!("apt-{}", arguments[0])))
}
