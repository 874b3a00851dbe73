//! The state of the connection to one peer, for status and metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::{Lane, Version};

/// Counters and state of one peer. The connection's tasks write them, and any task may read them.
#[derive(Debug, Default)]
pub struct Link {
    /// Whether the control lane is connected.
    control: AtomicBool,
    /// Whether the log lane is connected and also carries control messages.
    shared: watch::Sender<bool>,
    connects: AtomicU64,
    failures: AtomicU64,
    dropped: AtomicU64,
    /// Waiting messages and their bytes, per lane.
    queued: [(AtomicU64, AtomicU64); Lane::ALL.len()],
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    round_trip_micros: AtomicU64,
    last_error: Mutex<Option<String>>,
    /// Notified when the peer shows that it is alive, which ends the backoff at once.
    pub(super) wake: Notify,
}

/// The values of a [`Link`] at one moment.
#[derive(Clone, Debug, Default)]
pub struct LinkState {
    /// Whether heartbeats and votes can be sent now.
    pub connected: bool,
    /// Connections established since the server started.
    pub connects: u64,
    /// Failed attempts and broken connections.
    pub failures: u64,
    /// Messages that were dropped: there was no connection or no room, or they waited too long.
    pub dropped: u64,
    /// Messages that wait to be sent.
    pub queued: u64,
    /// Bytes that wait to be sent.
    pub queued_bytes: u64,
    /// Bytes of frames sent.
    pub sent_bytes: u64,
    /// Bytes of frames received.
    pub received_bytes: u64,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
    /// Why there is no connection, or why the last one broke.
    pub last_error: Option<String>,
}

impl Link {
    /// The current values.
    pub fn state(&self) -> LinkState {
        let round_trip = self.round_trip_micros.load(Relaxed);
        LinkState {
            connected: self.control.load(Relaxed) || *self.shared.borrow(),
            connects: self.connects.load(Relaxed),
            failures: self.failures.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            queued: self.queued.iter().map(|(messages, _)| messages.load(Relaxed)).sum(),
            queued_bytes: self.queued.iter().map(|(_, bytes)| bytes.load(Relaxed)).sum(),
            sent_bytes: self.sent_bytes.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            round_trip: (round_trip > 0).then(|| Duration::from_micros(round_trip)),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Records that a lane's connection was established.
    pub(super) fn came_up(&self, lane: Lane, version: Version) {
        self.connects.fetch_add(1, Relaxed);
        match lane {
            Lane::Control => self.control.store(true, Relaxed),
            Lane::Log if !version.has(Lane::Control) => {
                self.shared.send_replace(true);
            }
            Lane::Log | Lane::Snapshot => return,
        }
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Records that a lane's connection broke or failed. Returns whether this is new for the peer
    /// and worth a log line.
    pub(super) fn went_down(&self, lane: Lane, why: &str) -> bool {
        self.failures.fetch_add(1, Relaxed);
        let was_up = match lane {
            Lane::Control => self.control.swap(false, Relaxed),
            Lane::Log => self.shared.send_replace(false),
            Lane::Snapshot => false,
        };
        if lane != Lane::Control && !was_up {
            return false;
        }
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        let news = was_up || last.as_deref() != Some(why);
        *last = Some(why.to_owned());
        news
    }

    /// Waits until control messages need their own connection.
    pub(super) async fn needs_control(&self) {
        // This cannot fail: `self` owns the sender.
        drop(self.shared.subscribe().wait_for(|shared| !shared).await);
    }

    pub(super) fn count_dropped(&self, messages: u64) {
        if messages > 0 {
            self.dropped.fetch_add(messages, Relaxed);
        }
    }

    pub(super) fn set_queue(&self, lane: Lane, messages: usize, bytes: usize) {
        let (queued, queued_bytes) = &self.queued[lane as usize];
        queued.store(messages as u64, Relaxed);
        queued_bytes.store(bytes as u64, Relaxed);
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn set_round_trip(&self, span: Duration) {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.round_trip_micros.store(micros.max(1), Relaxed);
    }
}
