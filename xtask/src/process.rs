//! Runs child processes: their output, its destination, and the error message when they fail.

use std::ffi::OsStr;
use std::fs::File;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Number of lines of a failed command's log that are shown.
const TAIL_LINES: usize = 8;

/// The command as a person would type it.
pub(crate) fn display(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Returns the standard output of a command; `None` when it cannot be started or fails.
///
/// Its standard error is discarded.
pub(crate) fn probe(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command whose output goes to the screen.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = display(command);
    let status =
        command.stdin(Stdio::null()).status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed with {status}");
    }
    Ok(())
}

/// Replaces this process with the command: signals reach it, and its exit code is ours.
#[cfg(unix)]
pub(crate) fn replace(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let shown = display(command);
    Err(command.exec()).with_context(|| format!("cannot start `{shown}`"))
}

/// Runs the command and waits for it, because a process cannot be replaced on this platform.
#[cfg(not(unix))]
pub(crate) fn replace(command: &mut Command) -> Result<()> {
    run(command)
}

/// Runs a long command with much output. On a terminal the output is shown. Otherwise it goes to
/// `log`, whose end is shown when the command fails.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Result<()> {
    if std::io::stderr().is_terminal() {
        return run(command);
    }
    let shown = display(command);
    if let Some(directory) = log.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
    }
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().context("cannot share the log file")?)
        .stderr(file)
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        bail!("`{shown}` failed with {status}; {} ends with\n{}", log.display(), tail(&text));
    }
    Ok(())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Returns the first of `names` that is an executable on the search path or in cargo's bin
/// directory.
pub(crate) fn find_program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> =
        std::env::split_paths(&path).chain(std::iter::once(cargo_bin())).collect();
    names.iter().find_map(|name| {
        let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
        directories.iter().map(|directory| directory.join(&file)).find(|path| is_executable(path))
    })
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &Path) -> bool {
    path.is_file()
}

/// The directory to which `cargo install` installs programs.
pub(crate) fn cargo_bin() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let default = || std::env::home_dir().unwrap_or_default().join(".cargo");
    home.unwrap_or_else(default).join("bin")
}

/// Adds cargo's bin directory to the child's `PATH`, for tools that were just installed.
pub(crate) fn with_tools_on_path(command: &mut Command) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all = std::env::split_paths(&path).chain(std::iter::once(cargo_bin()));
    if let Ok(joined) = std::env::join_paths(all) {
        command.env("PATH", joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tail_keeps_the_last_lines_and_short_texts_whole() {
        assert_eq!(tail("a\nb"), "a\nb");
        let long = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        assert!(tail(&long).starts_with("92\n"));
        assert!(tail(&long).ends_with("\n99"));
    }

    #[test]
    fn a_probe_of_a_missing_program_is_none() {
        assert_eq!(probe(&mut Command::new("glassraft-no-such-program")), None);
        assert_eq!(find_program(&["glassraft-no-such-program"]), None);
    }
}
