//! The program's exit codes, which tell scripts the result.

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::Context as _;
use client::ClientError;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::logging;
use crate::output::OutputError;

/// The meaning of the exit codes, for `--help`.
pub(super) const CODES: &str = "Exit codes, even if standard output or standard error is closed:
  0    done
  1    refused, not found, or invalid: nothing happened
  2    the command line is invalid
  3    no server completed it in time: nothing happened
  4    the outcome is unknown: it may have happened
  5    done, but the answer could not be written to standard output
  128+N  ended by signal N; 141 (SIGPIPE) also if the reader of standard output has closed it:
       the command itself is done";

/// The error if a signal ended the command.
#[derive(Debug, thiserror::Error)]
#[error("ended by signal {0}")]
pub(super) struct Interrupted(pub(super) i32);

/// Listens from now on for a signal that ends the command, for commands that must clean up. Signals
/// that the parent process ignores stay ignored, as with `nohup`.
pub(super) fn interrupted() -> anyhow::Result<impl Future<Output = Interrupted>> {
    let mut hangup = listen(SignalKind::hangup())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            number = next(&mut hangup) => number,
            number = next(&mut interrupt) => number,
            number = next(&mut terminate) => number,
        }
    })
}

fn listen(kind: SignalKind) -> anyhow::Result<Option<(Signal, i32)>> {
    let number = kind.as_raw_value();
    if is_ignored(number) {
        return Ok(None);
    }
    let signal = signal(kind).with_context(|| format!("cannot listen for signal {number}"))?;
    Ok(Some((signal, number)))
}

async fn next(signal: &mut Option<(Signal, i32)>) -> Interrupted {
    if let Some((signal, number)) = signal
        && signal.recv().await.is_some()
    {
        return Interrupted(*number);
    }
    std::future::pending().await
}

/// Whether the parent process made this signal ignored; false if the system does not tell.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Prints the error and returns its exit code.
pub(super) fn with(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let code = code(&error);
    if code != PIPE {
        logging::say(&format!("error: {error:#}"));
    }
    ExitCode::from(code)
}

/// The exit code as if SIGPIPE had ended the program: the reader has closed standard output
/// (`glassraft get --prefix | head`).
const PIPE: u8 = 141;

fn code(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(OutputError(cause)) = cause.downcast_ref() {
            return if cause.kind() == ErrorKind::BrokenPipe { PIPE } else { 5 };
        }
        if let Some(Interrupted(signal)) = cause.downcast_ref() {
            return u8::try_from(128 + signal).unwrap_or(1);
        }
        match cause.downcast_ref() {
            Some(ClientError::Refused { .. }) => return 1,
            Some(ClientError::Unavailable(_)) => return 3,
            Some(ClientError::Unknown(_)) => return 4,
            None => {}
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Guards scripts: additional error context does not change the exit code.
    #[test]
    fn the_number_follows_the_cause() {
        let unknown = || anyhow::Error::new(ClientError::Unknown("lost".to_owned()));
        assert_eq!(code(&unknown()), 4);
        let told = Err::<(), _>(unknown()).context("while writing").expect_err("it is one");
        assert_eq!(code(&told), 4);
        assert_eq!(code(&ClientError::Unavailable(String::new()).into()), 3);
        assert_eq!(code(&anyhow::anyhow!("no such file")), 1);
        let output = |kind: ErrorKind| OutputError(io::Error::from(kind)).into();
        assert_eq!(code(&output(ErrorKind::BrokenPipe)), 141);
        assert_eq!(code(&output(ErrorKind::StorageFull)), 5);
        assert_eq!(code(&Interrupted(15).into()), 143);
        let network = anyhow::Error::from(io::Error::from(ErrorKind::BrokenPipe));
        assert_eq!(code(&network), 1, "a pipe that is not standard output");
    }
}
