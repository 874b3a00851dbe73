//! What is known of the connection to one peer, for status and metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Figures of one peer. Written by the connection's tasks, read by whoever asks.
#[derive(Debug, Default)]
pub struct Link {
    connected: AtomicBool,
    connects: AtomicU64,
    failures: AtomicU64,
    dropped: AtomicU64,
    queued: AtomicU64,
    queued_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    round_trip_micros: AtomicU64,
    last_error: Mutex<Option<String>>,
    /// Signalled when the peer showed that it is there, which ends a pause at once.
    pub(super) wake: Notify,
}

/// The figures at one moment.
#[derive(Clone, Debug, Default)]
pub struct LinkState {
    /// Whether messages can be sent now.
    pub connected: bool,
    /// Connections made since the start.
    pub connects: u64,
    /// Attempts that failed and connections that broke.
    pub failures: u64,
    /// Messages that were not sent: the queue was full, or they waited too long.
    pub dropped: u64,
    /// Messages that wait now.
    pub queued: u64,
    /// Bytes that wait now.
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
    /// The figures now.
    pub fn state(&self) -> LinkState {
        let round_trip = self.round_trip_micros.load(Relaxed);
        LinkState {
            connected: self.connected.load(Relaxed),
            connects: self.connects.load(Relaxed),
            failures: self.failures.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            queued: self.queued.load(Relaxed),
            queued_bytes: self.queued_bytes.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
            round_trip: (round_trip > 0).then(|| Duration::from_micros(round_trip)),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    pub(super) fn came_up(&self) {
        self.connected.store(true, Relaxed);
        self.connects.fetch_add(1, Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Says whether this is news, so that a log line is worth it.
    pub(super) fn went_down(&self, why: &str) -> bool {
        let was_up = self.connected.swap(false, Relaxed);
        self.failures.fetch_add(1, Relaxed);
        let mut last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        let news = was_up || last.as_deref() != Some(why);
        *last = Some(why.to_owned());
        news
    }

    pub(super) fn count_dropped(&self, messages: u64) {
        if messages > 0 {
            self.dropped.fetch_add(messages, Relaxed);
        }
    }

    pub(super) fn set_queue(&self, messages: usize, bytes: usize) {
        self.queued.store(messages as u64, Relaxed);
        self.queued_bytes.store(bytes as u64, Relaxed);
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
