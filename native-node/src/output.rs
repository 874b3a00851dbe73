//! Standard output and standard error of a command, which may be closed, full or without a reader.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

/// The error if standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}; the command itself is done")]
pub(crate) struct OutputError(#[from] pub(crate) io::Error);

/// Prints a line and flushes.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints bytes unchanged and flushes.
pub(crate) fn bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| OutputError(error).into())
}

/// Whether the error means that the reader has closed standard output.
pub(crate) fn reader_has_ended(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<OutputError>();
    cause.is_some_and(|OutputError(cause)| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The maximum number of queued lines of [`tell`].
const QUEUE_LINES: usize = 256;

/// Prints a line from a program that must not wait for the reader of its output. A separate thread
/// writes the lines; lines that do not fit into the queue are dropped.
pub(crate) fn tell(text: &str) {
    static TELLER: OnceLock<Option<SyncSender<String>>> = OnceLock::new();
    let teller = TELLER.get_or_init(|| {
        let (sender, lines) = mpsc::sync_channel::<String>(QUEUE_LINES);
        // A reader that has closed the output is not an error here.
        let telling = move || lines.iter().for_each(|text| drop(line(&text)));
        thread::Builder::new().name("output".to_owned()).spawn(telling).ok().map(|_| sender)
    });
    if let Some(teller) = teller {
        drop(teller.try_send(text.to_owned()));
    }
}
