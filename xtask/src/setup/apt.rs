//! Installs Debian packages on systems with apt.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::process::{find_program, probe, run_logged};

/// Builds a command that needs root: directly for root, otherwise through `sudo` without a
/// password.
///
/// `None` if neither works: the setup must not ask for a password.
pub(crate) fn privileged(program: &str) -> Option<Command> {
    if probe(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0") {
        return Some(Command::new(program));
    }
    probe(Command::new("sudo").args(["-n", "true"]))?;
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    Some(command)
}

/// The command that a user types, or the packages to look for on a system without apt.
pub(crate) fn by_hand(packages: &[&str]) -> String {
    let names = packages.join(" ");
    if find_program(&["apt-get"]).is_some() {
        format!("sudo apt-get install {names}")
    } else {
        format!("this system's package manager; Debian calls it {names}")
    }
}

/// Installs Debian packages without any prompt.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if find_program(&["apt-get"]).is_none() {
        bail!("this system has no apt-get");
    }
    if privileged("apt-get").is_none() {
        bail!("it needs root, and sudo would ask for a password");
    }
    // The package lists of a fresh image are empty or old. A failed update is not fatal: the
    // packages may still be available.
    let updated = apt_get(&["update"]);
    let installed = apt_get(&[&["install", "--no-install-recommends"], packages].concat());
    // Without lists the second error says only that packages are unknown. The first error says why.
    if installed.is_err() { updated.and(installed) } else { installed }
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = privileged("env").context("root is needed")?;
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet"])
        // Another apt process may hold the lock.
        .args(["-o", "DPkg::Lock::Timeout=600"])
        .args(arguments);
    run_logged(&mut command, &paths::log(&format!("apt-{}", arguments[0])))
}
