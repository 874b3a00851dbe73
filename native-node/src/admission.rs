//! Limits the pending client requests, by number and by bytes.

use std::sync::Arc;

use super::sync::{AtomicUsize, Ordering::Relaxed};

/// The limits and how much of them is in use.
#[derive(Debug)]
pub struct Admission {
    max_requests: usize,
    max_bytes: usize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// A request's share of the limits; released when dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Admission {
    /// Creates limits with nothing in use.
    pub fn new(max_requests: usize, max_bytes: usize) -> Arc<Self> {
        let (requests, bytes) = Default::default();
        Arc::new(Self { max_requests, max_bytes, requests, bytes })
    }

    /// Admits a request of `bytes` bytes, unless too much is pending. A request that is larger than
    /// the limit itself is admitted if no other bytes are pending.
    pub fn admit(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        // Count first, then check: two concurrent requests may both be refused, but never both be
        // admitted beyond the limit.
        let requests = self.requests.fetch_add(1, Relaxed);
        let others = self.bytes.fetch_add(bytes, Relaxed);
        let permit = Permit { admission: Arc::clone(self), bytes };
        let fits = others == 0 || others.saturating_add(bytes) <= self.max_bytes;
        (requests < self.max_requests && fits).then_some(permit)
    }

    /// The number of pending requests.
    pub fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

impl Permit {
    /// Adds `bytes` to the request's share. Returns whether they fit, by the same rule as
    /// [`Admission::admit`].
    pub fn grow(&mut self, bytes: usize) -> bool {
        let before = self.admission.bytes.fetch_add(bytes, Relaxed);
        let others = before.saturating_sub(self.bytes);
        self.bytes += bytes;
        others == 0 || before.saturating_add(bytes) <= self.admission.max_bytes
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.requests.fetch_sub(1, Relaxed);
        self.admission.bytes.fetch_sub(self.bytes, Relaxed);
    }
}
