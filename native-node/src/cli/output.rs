//! Standard output and standard error of a command, which may be closed, full, or read by nobody.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

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

/// Lines of [`tell`] that wait to be written, at most.
const QUEUE_LINES: usize = 256;

/// Prints a line for whoever watches a program that goes on whether its output is read or not: a
/// thread of its own writes it, and lines for which there is no room are dropped.
pub(crate) fn tell(text: &str) {
    static TELLER: OnceLock<Option<SyncSender<String>>> = OnceLock::new();
    let teller = TELLER.get_or_init(|| {
        let (sender, lines) = mpsc::sync_channel::<String>(QUEUE_LINES);
        // That nobody reads it any more changes nothing.
        let telling = move || lines.iter().for_each(|text| drop(line(&text)));
        thread::Builder::new().name("output".to_owned()).spawn(telling).ok().map(|_| sender)
    });
    if let Some(teller) = teller {
        drop(teller.try_send(text.to_owned()));
    }
}
