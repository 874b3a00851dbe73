//! The program under test: its path and its resource limits.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::PATIENCE;

/// Resource limits of a server; unlimited by default.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Number of open files.
    pub files: Option<u64>,
    /// The control group to run in.
    pub group: Option<PathBuf>,
}

impl Limits {
    /// Wraps a command in these limits. The shell is replaced by the program, so signals reach the
    /// program.
    pub(crate) fn around(&self, command: Command) -> Command {
        let mut script = String::new();
        if let Some(group) = &self.group {
            let group = group.join("cgroup.procs");
            write!(script, "echo $$ > '{}' && ", group.display()).unwrap();
        }
        if let Some(files) = self.files {
            write!(script, "ulimit -n {files} && ").unwrap();
        }
        if script.is_empty() {
            return command;
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{script}exec \"$@\""), "sh"]);
        shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell
    }
}

/// A command that runs the program under test.
pub fn program() -> Command {
    program_in(None, None)
}

/// A command that runs `file` or the program under test, in `namespace` if given.
pub(crate) fn program_in(file: Option<&Path>, namespace: Option<&str>) -> Command {
    let file = file.unwrap_or_else(|| PROGRAM.get_or_init(beside_this_one));
    let mut command = Command::new(if namespace.is_some() { "ip".as_ref() } else { file });
    if let Some(namespace) = namespace {
        // `ip netns exec` is replaced by the program, so signals reach the program.
        command.args(["netns", "exec", namespace]).arg(file);
    }
    // The tester's own settings must not reach the servers.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GLASSRAFT_") {
            command.env_remove(name);
        }
    }
    command
}

/// Path of the program under test.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Sets the path of the program under test. Panics if a server was started or the path was set
/// before.
pub fn set_program(file: PathBuf) {
    PROGRAM.set(file).expect("the program is set once, before the first server starts");
}

/// Path where Cargo puts the program; test binaries are in a subdirectory of it.
fn beside_this_one() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let directory = this.parent().unwrap();
    let directory =
        if directory.ends_with("deps") { directory.parent().unwrap() } else { directory };
    let file = directory.join(format!("glassraft{}", std::env::consts::EXE_SUFFIX));
    assert!(file.is_file(), "{} is not built", file.display());
    file
}

/// Runs a program to its end and returns its output. Kills it and panics after [`PATIENCE`].
pub async fn run_to_end(mut command: Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    if let Ok(output) = tokio::time::timeout(PATIENCE, ended).await {
        return output.unwrap();
    }
    kill_process(pid, Signal::KILL).unwrap();
    panic!("it still runs: {command:?}");
}
