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

/// Installs Debian packages without asking anything.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let by_hand = format!("sudo apt-get install {}", packages.join(" "));
    if find_program(&["apt-get"]).is_none() {
        bail!(
            "this system has no apt-get; install by your package manager what Debian calls {}",
            packages.join(", ")
        );
    }
    if privileged("apt-get").is_none() {
        bail!("this needs root and sudo asks for a password; run `{by_hand}` and try again");
    }
    // The lists of a fresh image are empty or old; a failed update is not the end, since the
    // packages may be had all the same.
    let updated = apt_get(&["update"]);
    let installed = apt_get(&[&["install", "--no-install-recommends"], packages].concat());
    installed
        .or_else(|error| {
            updated.context("`apt-get update` failed as well")?;
            Err(error)
        })
        .with_context(|| format!("cannot be had by apt; once it can: `{by_hand}`"))
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
