//! Notices when a part that the server needs ends or hangs.
//!
//! The [`Supervisor`] starts the tasks that must last as long as the server, and reports their end.
//! A panic needs no report: it ends the process ([`crate::logging::end_on_panic`]). A thread
//! outside the runtime checks that the driver's loop runs ([`watch`]): a hanging driver cannot
//! report itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::logging;

/// How often the driver's loop is checked.
const GLANCE: Duration = Duration::from_secs(1);

/// After this many checks without a turn of the loop the driver counts as stuck: `/livez` fails.
const STUCK: u32 = 5;

/// After this many the process ends. A suspended process that resumes has missed only one check.
const GIVE_UP: u32 = 30;

/// How often the log reports suppressed lines, in checks.
const TELL_EVERY: u32 = 10;

/// Starts the tasks of a server and reports when one ends.
#[derive(Clone, Debug)]
pub struct Supervisor {
    tasks: TaskTracker,
    end: CancellationToken,
    lost: mpsc::UnboundedSender<&'static str>,
}

impl Supervisor {
    /// Creates a supervisor. Also returns the names of tasks that ended while the server runs.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<&'static str>) {
        let (lost, reports) = mpsc::unbounded_channel();
        (Self { tasks: TaskTracker::new(), end: CancellationToken::new(), lost }, reports)
    }

    /// Starts a task that must last until the server ends.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) {
        self.spawn_until(self.end.clone(), name, work);
    }

    /// Starts a task that must last until `end`, a child of [`Self::end`].
    pub fn spawn_until<T: Send + 'static>(
        &self,
        end: CancellationToken,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) {
        let work = planted(name, work);
        let alarm = Alarm { name, end: end.clone(), lost: self.lost.clone() };
        let work = end.run_until_cancelled_owned(work);
        self.tasks.spawn(async move {
            let _alarm = alarm;
            work.await
        });
    }

    /// The tracker for tasks that may end by themselves, such as connections.
    pub const fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Cancelled when the server ends.
    pub const fn end(&self) -> &CancellationToken {
        &self.end
    }

    /// Ends all tasks and waits at most `patience` for them.
    pub async fn finish(&self, patience: Duration) {
        self.end.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), "some tasks did not end in time");
        }
    }
}

/// Injects a fault into a task for tests, by the variable `GLASSRAFT_PLANTED`: `panic:NAME`,
/// `end:NAME` or `hang:NAME`.
#[cfg(debug_assertions)]
pub async fn planted<T>(name: &'static str, work: impl Future<Output = T>) -> Option<T> {
    const AFTER: Duration = Duration::from_millis(500);
    let planted = std::env::var("GLASSRAFT_PLANTED").unwrap_or_default();
    let Some((fault, _)) = planted.split_once(':').filter(|(_, task)| *task == name) else {
        return Some(work.await);
    };
    // Pinned here: a hanging task keeps what it holds.
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(AFTER, &mut work).await {
        return Some(done);
    }
    match fault {
        "panic" => panic!("planted"),
        "hang" => loop {
            thread::park();
        },
        _ => None,
    }
}

/// Release builds inject no faults.
#[cfg(not(debug_assertions))]
pub async fn planted<T>(_name: &'static str, work: impl Future<Output = T>) -> Option<T> {
    Some(work.await)
}

/// The same for a thread, which supports only `panic:NAME`.
pub fn planted_here(name: &str) {
    if cfg!(debug_assertions) {
        let planted = std::env::var("GLASSRAFT_PLANTED").unwrap_or_default();
        assert!(planted.strip_prefix("panic:") != Some(name), "planted");
    }
}

/// Reports a task when it is dropped, no matter how it ended.
struct Alarm {
    name: &'static str,
    end: CancellationToken,
    lost: mpsc::UnboundedSender<&'static str>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if !self.end.is_cancelled() {
            // Without a receiver the server is already ending.
            let _ = self.lost.send(self.name);
        }
    }
}

/// Shows that the driver's loop turns. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Figures>);

#[derive(Debug, Default)]
struct Figures {
    /// Turns of the loop so far.
    turns: AtomicU64,
    /// Consecutive checks without a turn.
    missed: AtomicU32,
    /// Whether the driver has ended.
    over: AtomicBool,
}

impl Pulse {
    /// Records a turn of the loop. Only the driver calls this.
    pub fn turn(&self) {
        self.0.turns.store(self.0.turns.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// Whether the loop has turned recently.
    pub fn is_steady(&self) -> bool {
        self.0.missed.load(Relaxed) < STUCK
    }

    /// Records that the driver has ended and needs no more checks.
    pub fn stop(&self) {
        self.0.over.store(true, Relaxed);
    }

    /// Compares with the turns at the last check. Returns the consecutive checks without a turn.
    fn glance(&self, seen: &mut u64) -> u32 {
        let turns = self.0.turns.load(Relaxed);
        let missed = if turns == *seen { self.0.missed.load(Relaxed) + 1 } else { 0 };
        *seen = turns;
        self.0.missed.store(missed, Relaxed);
        missed
    }
}

/// Ends the process if it has not ended in this time.
pub fn end_within(patience: Duration) {
    let waiting = move || {
        thread::sleep(patience);
        end_at_once("did not stop in time: ending immediately");
    };
    // Without the thread, the service manager or a second signal ends a stuck process.
    drop(thread::Builder::new().name("deadline".to_owned()).spawn(waiting));
}

/// Ends the process with an error, and with a message if it can be written quickly.
pub fn end_at_once(why: &str) -> ! {
    logging::say_within(why, Duration::from_millis(100));
    std::process::exit(1)
}

/// Notifies the service manager, if any (`Type=notify` of systemd).
pub fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}

/// Checks the driver from a dedicated thread until it ends. `wake` makes an idle loop turn;
/// `turned` is called after each check that saw a turn.
pub fn watch(
    pulse: Pulse,
    wake: impl Fn() + Send + 'static,
    turned: impl Fn() + Send + 'static,
) -> std::io::Result<()> {
    let watching = move || {
        planted_here("watchdog");
        let (mut seen, mut glances) = (u64::MAX, 0_u32);
        while !pulse.0.over.load(Relaxed) {
            match pulse.glance(&mut seen) {
                0 => turned(),
                STUCK => tracing::error!("the driver has made no progress for {STUCK} s"),
                GIVE_UP => logging::die(&format!(
                    "the server ends: its driver has made no progress for {GIVE_UP} s. The cause \
                     is a bug, or the machine is far too slow"
                )),
                _ => {}
            }
            glances = glances.wrapping_add(1);
            if glances.is_multiple_of(TELL_EVERY) {
                logging::tell_left_out();
            }
            wake();
            thread::sleep(GLANCE);
        }
    };
    thread::Builder::new().name("watchdog".to_owned()).spawn(watching).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a server that continues without one of its parts: a task that ends by itself
    /// or by a panic is reported by name. A task that the server ends is not.
    #[tokio::test]
    async fn a_task_that_ends_is_reported() {
        let (supervisor, mut lost) = Supervisor::new();
        supervisor.spawn("short", async {});
        assert_eq!(lost.recv().await, Some("short"));
        supervisor.spawn("broken", async { panic!("planted: this is part of a test") });
        assert_eq!(lost.recv().await, Some("broken"));
        let end = supervisor.end().child_token();
        supervisor.spawn_until(end.clone(), "ended", std::future::pending::<()>());
        end.cancel();
        supervisor.spawn_until(supervisor.end().child_token(), "brief", async {});
        assert_eq!(lost.recv().await, Some("brief"));
        supervisor.spawn("steady", std::future::pending::<()>());
        supervisor.finish(Duration::from_secs(5)).await;
        assert!(lost.try_recv().is_err());
    }

    /// Guards `/livez`: a loop that turns is alive, and a loop that does not is stuck after some
    /// checks. A suspension of the whole process counts as one check.
    #[test]
    fn a_driver_that_does_not_turn_is_noticed() {
        let (pulse, mut seen) = (Pulse::default(), u64::MAX);
        for _ in 0..10 {
            pulse.turn();
            assert_eq!(pulse.glance(&mut seen), 0);
        }
        for missed in 1..STUCK {
            assert_eq!(pulse.glance(&mut seen), missed);
            assert!(pulse.is_steady());
        }
        assert_eq!(pulse.glance(&mut seen), STUCK);
        assert!(!pulse.is_steady());
        pulse.turn();
        assert_eq!(pulse.glance(&mut seen), 0);
        assert!(pulse.is_steady());
    }
}
