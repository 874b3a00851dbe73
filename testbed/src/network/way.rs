//! A direction of a link: bytes wait in a queue for the bandwidth, then arrive after the delay.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Maximum bytes that are sent at once, as on Ethernet.
const PIECE: usize = 1460;

/// Maximum bytes in the queue; then senders wait. Real networks have such queues, and longer ones.
const LINE: f64 = 256.0 * 1024.0;

/// Properties of a direction of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Bandwidth, in Mbit/s.
    pub mbit: f64,
    /// Propagation delay of each packet.
    pub delay: Duration,
    /// Whether nothing arrives and nobody is notified: no packet, no end, no reset. What was sent
    /// arrives once the silence ends, as with TCP retransmissions.
    pub silent: bool,
}

impl Quality {
    /// A direction that is not silent.
    pub const fn new(mbit: f64, delay: Duration) -> Self {
        Self { mbit, delay, silent: false }
    }
}

/// A running direction of a link. All connections between its ends share it.
pub(super) struct Way {
    pub(super) quality: watch::Sender<Quality>,
    free_at: Mutex<Instant>,
    carried: AtomicU64,
}

impl Way {
    pub(super) fn new(quality: Quality) -> Self {
        let quality = watch::Sender::new(quality);
        Self { quality, free_at: Mutex::new(Instant::now()), carried: AtomicU64::new(0) }
    }

    /// Number of bytes that were sent.
    pub(super) fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    /// Waits in the queue, and returns when the bytes arrive.
    async fn send(&self, bytes: usize) -> Instant {
        let mut free_at = self.free_at.lock().await;
        let Quality { mbit, delay, .. } = self.not_silent().await;
        let bytes_per_second = mbit * 1e6 / 8.0;
        let line = Duration::from_secs_f64(LINE / bytes_per_second);
        sleep_until(*free_at - line.min(free_at.saturating_duration_since(Instant::now()))).await;
        let leaves = (*free_at).max(Instant::now());
        let span = f64::from(u32::try_from(bytes).unwrap()) / bytes_per_second;
        *free_at = leaves + Duration::from_secs_f64(span);
        self.carried.fetch_add(bytes as u64, Ordering::Relaxed);
        *free_at + delay
    }

    /// Waits until the direction is not silent.
    async fn not_silent(&self) -> Quality {
        let mut quality = self.quality.subscribe();
        *quality.wait_for(|quality| !quality.silent).await.expect("the direction exists")
    }

    /// Forwards a direction of a connection until it ends; starts with `first`, which was already
    /// read.
    pub(super) async fn carry(
        &self,
        first: Vec<u8>,
        from: &mut OwnedReadHalf,
        to: &mut OwnedWriteHalf,
    ) {
        let (sender, mut flying) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
        let arriving = async move {
            while let Some((at, piece)) = flying.recv().await {
                sleep_until(at).await;
                self.not_silent().await;
                if to.write_all(&piece).await.is_err() {
                    return;
                }
            }
            // The other end may be gone already.
            self.not_silent().await;
            drop(to.shutdown().await);
        };
        let leaving = async move {
            if !first.is_empty() {
                let at = self.send(first.len()).await;
                drop(sender.send((at, first)));
            }
            let mut piece = [0; PIECE];
            while let Ok(read @ 1..) = from.read(&mut piece).await {
                let at = self.send(read).await;
                if sender.send((at, piece[..read].to_vec())).is_err() {
                    return;
                }
            }
        };
        tokio::join!(arriving, leaving);
    }
}
