//! Standard output and standard error of a command, which may be closed, full, or read by nobody.

use std::io::{self, IsTerminal as _, Write as _};

/// The answer could not be written to standard output.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}; what was asked for is done")]
pub(crate) struct OutputError(#[from] pub(super) io::Error);

/// Prints a line.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints bytes as they are.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| OutputError(error).into())
}

/// Whether this says that nobody reads the output any more.
pub(super) fn reader_has_ended(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<OutputError>();
    cause.is_some_and(|OutputError(cause)| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether people read the output.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Prints a line for whoever watches a program that goes on whether it is read or not.
pub(crate) fn tell(text: &str) {
    drop(line(text));
}
