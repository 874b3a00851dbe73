//! How the program ends: scripts tell what happened by the number.

use std::io::ErrorKind;
use std::process::ExitCode;

use crate::client::ClientError;

/// What the numbers mean, for `--help`.
pub(super) const CODES: &str = "Exit codes:
  0  done
  1  refused, not found, or wrong: nothing happened
  2  the command line is not understood
  3  no server could do it in time: nothing happened
  4  the outcome is unknown: it may have happened";

/// The number for this end, with the error printed.
pub(super) fn with(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    // Whoever reads has seen enough (`native-node get --prefix | head`): as if SIGPIPE had ended it.
    if error.chain().any(|cause| {
        let cause = cause.downcast_ref::<std::io::Error>();
        cause.is_some_and(|cause| cause.kind() == ErrorKind::BrokenPipe)
    }) {
        return ExitCode::from(141);
    }
    eprintln!("error: {error:#}");
    ExitCode::from(code(&error))
}

fn code(error: &anyhow::Error) -> u8 {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>());
    match cause {
        Some(ClientError::Refused { .. }) | None => 1,
        Some(ClientError::Unavailable(_)) => 3,
        Some(ClientError::Unknown(_)) => 4,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    /// Guards scripts: the number is the same however the error was told.
    #[test]
    fn the_number_follows_the_cause() {
        let unknown = || anyhow::Error::new(ClientError::Unknown("lost".to_owned()));
        assert_eq!(code(&unknown()), 4);
        let told = Err::<(), _>(unknown()).context("while writing").expect_err("it is one");
        assert_eq!(code(&told), 4);
        assert_eq!(code(&ClientError::Unavailable(String::new()).into()), 3);
        assert_eq!(code(&anyhow::anyhow!("no such file")), 1);
    }
}
