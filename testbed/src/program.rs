//! The program under test: where it is, and with which limits it is started.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::PATIENCE;

/// What a server may use at most; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Open files.
    pub files: Option<u64>,
    /// The control group that it runs in.
    pub group: Option<PathBuf>,
}

impl Limits {
    /// The same command with these limits. It becomes the program, so signals reach that.
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

/// The program under test.
pub fn program() -> Command {
    program_in(None, None)
}

/// This program, or the one under test, in a network namespace if it is to have one.
pub(crate) fn program_in(file: Option<&Path>, namespace: Option<&str>) -> Command {
    let file = file.unwrap_or_else(|| PROGRAM.get_or_init(beside_this_one));
    let mut command = Command::new(if namespace.is_some() { "ip".as_ref() } else { file });
    if let Some(namespace) = namespace {
        // It becomes the program, so signals reach that.
        command.args(["netns", "exec", namespace]).arg(file);
    }
    // Settings of whoever runs the tests must not reach the servers.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GLASSRAFT_") {
            command.env_remove(name);
        }
    }
    command
}

/// The file of the program under test.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Names the file of the program under test; too late once one was started.
pub fn set_program(file: PathBuf) {
    PROGRAM.set(file).expect("named before the first server is started");
}

/// Where Cargo puts the program: tests are in a directory below it.
fn beside_this_one() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let directory = this.parent().unwrap();
    let directory =
        if directory.ends_with("deps") { directory.parent().unwrap() } else { directory };
    let file = directory.join(format!("native-node{}", std::env::consts::EXE_SUFFIX));
    assert!(file.is_file(), "{} is not built", file.display());
    file
}

/// What a program that ends by itself prints; one that does not is ended and fails the test.
pub async fn run_to_end(mut command: Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = Pid::from_child(&child);
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    if let Ok(output) = tokio::time::timeout(PATIENCE, ended).await {
        return output.unwrap();
    }
    kill_process(pid, Signal::KILL).unwrap();
    panic!("it goes on running: {command:?}");
}
