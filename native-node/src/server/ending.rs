//! Shuts a server down, on request or because something failed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::faults::Faults;
use raft_core::event::{RequestRefusal, RoleName};
use sd_notify::NotifyState;
use storage::Storage;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::driver::handle::{Handle, RequestError};
use crate::driver::{Ended, Inbox};
use crate::faults::Injector;
use crate::supervise::{self, Pulse, Supervisor};

/// How long tasks may take to end after they are told to.
const TASKS_END: Duration = Duration::from_secs(5);

/// How long the shutdown may take after a failure.
const END_PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
pub(super) struct Running {
    pub(super) supervisor: Supervisor,
    /// Names of tasks that ended unexpectedly.
    pub(super) lost: mpsc::UnboundedReceiver<&'static str>,
    pub(super) driver: JoinHandle<Option<Ended>>,
    pub(super) inbox: mpsc::UnboundedSender<Inbox>,
    pub(super) pulse: Pulse,
    pub(super) stop: CancellationToken,
    pub(super) draining: CancellationToken,
}

impl Running {
    /// Serves until the server is told to stop or something fails, then shuts it down.
    pub(super) async fn until_end(
        mut self,
        serving: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let mut serving = std::pin::pin!(serving);
        let mut failed = None;
        let ended = loop {
            tokio::select! {
                // A task that ends because the driver ended is not the cause.
                biased;
                ended = &mut self.driver => break ended,
                () = &mut serving => {
                    if !self.draining.is_cancelled() {
                        failed = failed.or(Some("the listener for clients"));
                    }
                    tracing::info!("no requests are left; stopping");
                    drop(self.inbox.send(Inbox::Stop));
                    break (&mut self.driver).await;
                }
                Some(name) = self.lost.recv(), if failed.is_none() => {
                    tracing::error!("{name} has ended, which is a bug: this server ends too");
                    failed = Some(name);
                    supervise::end_within(END_PATIENCE);
                    // `/readyz` fails, leadership is transferred, pending requests are finished.
                    self.stop.cancel();
                }
            }
        };
        self.pulse.stop();
        if !self.stop.is_cancelled() {
            // After a failure, a hanging disk must not keep the process alive.
            supervise::end_within(END_PATIENCE);
        }
        self.stop.cancel();
        self.supervisor.finish(TASKS_END).await;
        self.draining.cancel();
        match ended.ok().flatten().context("the driver ended because of a bug")? {
            Ended::Stopped(storage) => close(storage).await?,
            Ended::DiskFailed(error) => {
                return Err(anyhow::Error::new(error).context("the disk failed"));
            }
            Ended::Halted(why) => return Err(anyhow::Error::new(why)),
        }
        failed.map_or(Ok(()), |name| Err(anyhow::anyhow!("{name} ended, which is a bug")))
    }
}

/// The steps between the stop signal and the last request.
pub(super) struct Leaving {
    pub(super) handle: Handle,
    pub(super) faults: Option<Arc<Injector>>,
    pub(super) stop: CancellationToken,
    pub(super) draining: CancellationToken,
    /// The timeout of the leadership transfer.
    pub(super) patience: Duration,
    /// How long requests are still accepted. Clients and load balancers learn meanwhile to use
    /// another server: from `/readyz`, and from the header `connection: close` of each answer. A
    /// request on a closing connection has an unknown outcome.
    pub(super) delay: Duration,
}

impl Leaving {
    pub(super) async fn run(self) {
        self.stop.cancelled().await;
        supervise::notify(&[NotifyState::Stopping]);
        if let Some(faults) = &self.faults {
            // The shutdown must not hang on an injected fault.
            faults.set(Faults::default());
        }
        self.hand_over().await;
        sleep(self.delay).await;
        self.draining.cancel();
    }

    /// Transfers leadership before this server stops accepting requests. The cluster then need not
    /// wait for an election timeout.
    async fn hand_over(&self) {
        let handle = &self.handle;
        let alone = handle.status().membership.voters.len() <= 1;
        let deadline = tokio::time::Instant::now() + self.patience;
        while handle.status().role == RoleName::Leader
            && !alone
            && let Ok(permit) = handle.admit(0)
        {
            match timeout_at(deadline, handle.transfer_leadership(None, permit)).await {
                Ok(Ok(heir)) => tracing::info!(%heir, "transferred leadership"),
                // It became leader a moment ago and has not heard from any voter yet.
                Ok(Err(RequestError::Refused(RequestRefusal::NotAVoter)))
                    if tokio::time::Instant::now() < deadline =>
                {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                }
                Ok(Err(error)) => tracing::warn!(?error, "could not transfer leadership"),
                Err(_) => tracing::warn!("could not transfer leadership in time"),
            }
            break;
        }
    }
}

/// Writes pending data and closes the data directory.
async fn close(storage: Arc<Storage>) -> anyhow::Result<()> {
    let Some(storage) = Arc::into_inner(storage) else {
        // A request for the disk usage holds it for a moment. Its last owner still writes the
        // pending data when it drops it.
        return Ok(());
    };
    let closing = tokio::task::spawn_blocking(move || storage.close());
    closing.await.context("a bug ended the closing of the data directory")??;
    tracing::info!("everything is on disk; the server ends");
    Ok(())
}
