//! Runs a command, prints its output immediately, and counts its tests.

use std::io::{BufRead as _, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::tally::Tally;
use crate::process::display;

/// How long the output may stay open after the command has ended. If it stays open longer, a
/// process that the command left behind holds it. That is an error, and waiting for it would never
/// end.
const LEFT_BEHIND: Duration = Duration::from_secs(20);

/// Runs a command. Returns the test counts even if the command fails.
pub(crate) fn run(command: &mut Command) -> (Tally, Result<()>) {
    let mut tally = Tally::default();
    let result = run_counting(command, &mut tally);
    (tally, result)
}

fn run_counting(command: &mut Command, tally: &mut Tally) -> Result<()> {
    let shown = display(command);
    println!("$ {shown}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{shown}`"))?;
    let (sender, lines) = channel();
    let output = child.stdout.take().expect("standard output is piped");
    let errors = child.stderr.take().expect("standard error is piped");
    read(output, sender.clone(), |line| println!("{line}"));
    read(errors, sender, |line| eprintln!("{line}"));
    let status = child.wait().with_context(|| format!("cannot wait for `{shown}`"))?;
    let ended = drain(&lines, tally);
    if !status.success() {
        bail!("`{shown}` failed with {status}");
    }
    if !ended {
        bail!("`{shown}` left a process that still holds its output");
    }
    Ok(())
}

/// Prints and counts lines in a separate thread, to keep the pipe from filling up.
fn read(pipe: impl Read + Send + 'static, counted: Sender<Tally>, show: fn(&str)) {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n') {
            let Ok(bytes) = line else { break };
            let line = String::from_utf8_lossy(&bytes);
            show(&line);
            // The receiver is gone if a process was left behind.
            if counted.send(Tally::of_line(&line)).is_err() {
                break;
            }
        }
    });
}

/// Adds up the counts until both readers end. Returns `false` if they do not end in time.
fn drain(counted: &Receiver<Tally>, tally: &mut Tally) -> bool {
    use std::sync::mpsc::RecvTimeoutError;
    loop {
        match counted.recv_timeout(LEFT_BEHIND) {
            Ok(more) => *tally += more,
            Err(RecvTimeoutError::Disconnected) => return true,
            Err(RecvTimeoutError::Timeout) => return false,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Tally, Result<()>) {
        run(Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn tests_are_counted_on_both_outputs() {
        let (tally, result) = shell(
            "echo 'test result: ok. 2 passed; 0 failed; 1 ignored'; \
             echo '  Summary [ 1.0s] 3 tests run: 3 passed, 0 skipped' >&2",
        );
        assert!(result.is_ok());
        assert_eq!(tally, Tally { passed: 5, failed: 0, ignored: 1 });
    }

    #[test]
    fn what_was_counted_survives_a_failure() {
        let (tally, result) = shell("echo 'test result: FAILED. 2 passed; 1 failed'; exit 101");
        assert_eq!(tally, Tally { passed: 2, failed: 1, ignored: 0 });
        assert!(result.unwrap_err().to_string().contains("exit 101` failed with exit status: 101"));
    }

    #[test]
    fn more_output_than_a_pipe_holds_does_not_block() {
        let (_, result) = shell("seq 1 30000 >&2");
        assert!(result.is_ok());
    }

    #[test]
    fn a_missing_program_is_named() {
        let (_, result) = run(&mut Command::new("glassraft-no-such-program"));
        let error = result.unwrap_err().to_string();
        assert_eq!(error, "cannot start `glassraft-no-such-program`");
    }
}
