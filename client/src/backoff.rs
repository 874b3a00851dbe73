//! Pauses between rounds of attempts: they grow, and each client adds jitter.

use std::time::Duration;

/// The maximum length of the first pause.
const FIRST: Duration = Duration::from_millis(40);

/// The maximum length of all pauses.
const LONGEST: Duration = Duration::from_millis(640);

/// The backoff of one request: the maximum length of the next pause.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) const fn new() -> Self {
        Self(FIRST)
    }

    /// The next pause, a random part of the maximum from half to all. The jitter prevents that
    /// clients that failed together retry together.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.0;
        self.0 = LONGEST.min(whole * 2);
        // Without randomness all pauses have the maximum length, which is harmless.
        let part = getrandom::u32().unwrap_or(u32::MAX);
        whole / 2 + whole.mul_f64(f64::from(part) / f64::from(u32::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that clients do not retry all at once and do not wait too long.
    #[test]
    fn pauses_grow_and_are_bounded() {
        let mut backoff = Backoff::new();
        let mut whole = FIRST;
        for _ in 0..10 {
            let pause = backoff.next();
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
            whole = LONGEST.min(whole * 2);
        }
    }
}
