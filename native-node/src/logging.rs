//! The log, which never stops or delays the server.
//!
//! Lines go to standard error through a bounded queue and a dedicated thread. A line that cannot be
//! written is dropped and counted: the pipe is full, its reader has ended, or the file system is
//! full. `tracing-subscriber` alone writes in the thread that logs. It also prints a message about
//! each failed write, which panics when standard error itself is closed.
//!
//! Repeated lines are limited: each place in the code may log [`BURST`] lines at once, and then one
//! line per second. Suppressed lines are counted, and [`tell_left_out`] reports them.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::LogFormat;

/// The maximum number of lines that wait to be written.
const QUEUE_LINES: usize = 4096;

/// How many lines one place in the code may log at once.
const BURST: u32 = 30;

/// After a burst, one place in the code may log one line per this time.
const REFILL: Duration = Duration::from_secs(1);

/// How long the last lines of the process may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

static LINES: Lines = Lines::new();
static LIMITS: Mutex<Option<Limits>> = Mutex::new(None);
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Counts lines by their outcome.
struct Lines {
    queued: AtomicU64,
    /// Written or dropped by the writer thread.
    done: AtomicU64,
    dropped: AtomicU64,
}

impl Lines {
    const fn new() -> Self {
        Self { queued: AtomicU64::new(0), done: AtomicU64::new(0), dropped: AtomicU64::new(0) }
    }
}

/// The number of lines that could not be written.
pub fn dropped() -> u64 {
    LINES.dropped.load(Relaxed)
}

/// The number of lines that were suppressed because the same place logged too many.
pub fn left_out() -> u64 {
    LEFT_OUT.load(Relaxed)
}

/// Starts the log on standard error.
pub fn start(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("--log: `{filter}` is not a filter; write for instance `info`"))?;
    let (sender, receiver) = mpsc::sync_channel(QUEUE_LINES);
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&receiver, &mut io::stderr(), &LINES))
        .context("cannot start the thread that writes the log")?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(Queue(sender))
        // Otherwise it prints its errors to standard error, and panics if that fails.
        .log_internal_errors(false)
        // Colors are for terminals; a file would only get escape codes.
        .with_ansi(io::stderr().is_terminal());
    let lines = match format {
        LogFormat::Text => lines.with_target(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(Limiter).with(lines).try_init()?;
    Ok(())
}

/// Waits a short time for all lines so far to be written.
pub fn flush() {
    let deadline = Instant::now() + LAST_WORDS;
    let wanted = LINES.queued.load(Relaxed);
    while LINES.done.load(Relaxed) < wanted && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(2));
    }
}

/// Writes a line to standard error without the log, and gives up if that takes too long.
pub fn say(text: &str) {
    say_within(text, LAST_WORDS);
}

/// Like [`say`], with another timeout.
pub fn say_within(text: &str, patience: Duration) {
    // A failure cannot be reported to anyone, here and below.
    let write = |text: &str| drop(io::stderr().write_all(format!("{text}\n").as_bytes()));
    let (done, ended) = mpsc::sync_channel(1);
    let said = text.to_owned();
    let saying = thread::Builder::new().spawn(move || {
        write(&said);
        let _ = done.send(());
    });
    match saying {
        Ok(_) => drop(ended.recv_timeout(patience)),
        // The system allows no more threads, which may be what the message is about.
        Err(_) => write(text),
    }
}

/// Writes a message and aborts the process.
pub fn die(why: &str) -> ! {
    flush();
    say(why);
    std::process::abort();
}

/// Makes a panic in any thread or task end the process with a message. Otherwise the rest would
/// continue without the failed part.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("without a name").to_owned();
        die(&format!(
            "the server ends because of a bug, in thread {name}: {panic}\n{}",
            std::backtrace::Backtrace::capture()
        ));
    }));
}

/// Logs how many lines the limit has suppressed since the last call.
pub fn tell_left_out() {
    let told = with_limits(Limits::take_left_out);
    for (place, count) in told {
        let (file, line) = (place.file().unwrap_or_default(), place.line().unwrap_or_default());
        tracing::warn!(count, "more lines from {file}:{line} were left out");
    }
}

/// Writes lines until the program ends.
fn write_all(lines: &Receiver<Vec<u8>>, out: &mut impl Write, counts: &Lines) {
    for line in lines {
        if out.write_all(&line).is_err() {
            counts.dropped.fetch_add(1, Relaxed);
        }
        counts.done.fetch_add(1, Relaxed);
    }
}

/// Passes lines to the writer thread.
struct Queue(SyncSender<Vec<u8>>);

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Queue {
    /// Takes a whole line: the formatter writes each event with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(line.to_vec()).is_ok() {
            LINES.queued.fetch_add(1, Relaxed);
        } else {
            LINES.dropped.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Suppresses what one place in the code logs too often.
struct Limiter;

impl<S: Subscriber> Layer<S> for Limiter {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let place = event.metadata();
        // Debug and trace lines are not limited.
        if *place.level() > Level::INFO {
            return true;
        }
        let passes = with_limits(|limits| limits.passes(place, Instant::now()));
        if !passes {
            LEFT_OUT.fetch_add(1, Relaxed);
        }
        passes
    }
}

fn with_limits<T>(look: impl FnOnce(&mut Limits) -> T) -> T {
    let mut limits: MutexGuard<'_, _> = LIMITS.lock().unwrap_or_else(PoisonError::into_inner);
    look(limits.get_or_insert_with(Limits::default))
}

/// How much each place in the code may still log.
#[derive(Default)]
struct Limits(HashMap<Identifier, Limit>);

struct Limit {
    place: &'static Metadata<'static>,
    /// How many lines it may log now.
    credit: u32,
    credited_at: Instant,
    left_out: u64,
}

impl Limits {
    fn passes(&mut self, place: &'static Metadata<'static>, now: Instant) -> bool {
        let limit = self.0.entry(place.callsite()).or_insert(Limit {
            place,
            credit: BURST,
            credited_at: now,
            left_out: 0,
        });
        let earned = now.duration_since(limit.credited_at).as_secs() / REFILL.as_secs();
        if let Ok(earned @ 1..) = u32::try_from(earned) {
            limit.credit = limit.credit.saturating_add(earned).min(BURST);
            limit.credited_at = now;
        }
        if limit.credit == 0 {
            limit.left_out += 1;
            return false;
        }
        limit.credit -= 1;
        true
    }

    fn take_left_out(&mut self) -> Vec<(&'static Metadata<'static>, u64)> {
        let limits = self.0.values_mut().filter(|limit| limit.left_out > 0);
        limits.map(|limit| (limit.place, std::mem::take(&mut limit.left_out))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails every second write.
    struct Flaky(u32);

    impl Write for Flaky {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0.is_multiple_of(2) {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(bytes.len())
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Guards the code that logs: a line that finds no room or cannot be written is only counted.
    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let (sender, receiver) = mpsc::sync_channel(4);
        let before = dropped();
        let queue = Queue(sender);
        for _ in 0..6 {
            (&queue).write_all(b"a line\n").expect("it never fails");
        }
        assert_eq!(dropped() - before, 2, "two found no room");
        drop(queue);
        let counts = Lines::new();
        write_all(&receiver, &mut Flaky(0), &counts);
        assert_eq!(counts.done.load(Relaxed), 4);
        assert_eq!(counts.dropped.load(Relaxed), 2);
    }

    /// Keeps the metadata of the latest event.
    struct Capture(std::sync::Arc<Mutex<Option<&'static Metadata<'static>>>>);

    impl<S: Subscriber> Layer<S> for Capture {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            *self.0.lock().expect("nobody panics with it") = Some(event.metadata());
        }
    }

    /// Guards disks and readers: an endless warning becomes one line per second; the rest is
    /// counted.
    #[test]
    fn one_place_logs_a_burst_and_then_a_line_a_second() {
        let captured = std::sync::Arc::default();
        let subscriber =
            tracing_subscriber::registry().with(Capture(std::sync::Arc::clone(&captured)));
        tracing::subscriber::with_default(subscriber, || tracing::warn!("once more"));
        let place = captured.lock().expect("nobody panics with it").expect("it was logged");
        let (mut limits, start) = (Limits::default(), Instant::now());
        let passed = (0..1000).filter(|_| limits.passes(place, start)).count();
        assert_eq!(passed, BURST as usize);
        let later = start + Duration::from_secs(3);
        assert_eq!((0..1000).filter(|_| limits.passes(place, later)).count(), 3);
        let told: Vec<u64> = limits.take_left_out().into_iter().map(|(_, count)| count).collect();
        assert_eq!(told, [1000 - u64::from(BURST) + 997]);
        assert!(limits.take_left_out().is_empty(), "each is told once");
    }
}
