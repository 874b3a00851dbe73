//! How many client requests may be under way at once, by number and by bytes.

use std::sync::Arc;

use super::sync::{AtomicUsize, Ordering::Relaxed};

/// The bounds and what of them is in use.
#[derive(Debug)]
pub struct Admission {
    max_requests: usize,
    max_bytes: usize,
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// A request's right to be under way; given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Admission {
    /// Bounds that nothing uses yet.
    pub fn new(max_requests: usize, max_bytes: usize) -> Arc<Self> {
        let (requests, bytes) = Default::default();
        Arc::new(Self { max_requests, max_bytes, requests, bytes })
    }

    /// Lets a request of so many bytes in, unless that would be too much at once. One that is
    /// larger than the bound itself may pass when nothing else is under way.
    pub fn admit(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        // Counted first and checked then: two that come together may both be turned away, but
        // never both be let in.
        let requests = self.requests.fetch_add(1, Relaxed);
        let others = self.bytes.fetch_add(bytes, Relaxed);
        let permit = Permit { admission: Arc::clone(self), bytes };
        let fits = others == 0 || others.saturating_add(bytes) <= self.max_bytes;
        (requests < self.max_requests && fits).then_some(permit)
    }

    /// Requests under way.
    pub fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

impl Permit {
    /// Counts so many more bytes of the request as under way, unless that would be too much at once;
    /// by the same rule as [`Admission::admit`].
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
