//! Pauses between rounds of attempts: longer each time, and never the same for two clients.

use std::time::Duration;

/// The first pause, at most.
const FIRST: Duration = Duration::from_millis(40);

/// No pause is longer.
const LONGEST: Duration = Duration::from_millis(640);

/// See the module.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) const fn new() -> Self {
        Self(FIRST)
    }

    /// The next pause: between half of it and all of it, so that those who failed together do not
    /// come back together.
    pub(super) fn next(&mut self) -> Duration {
        let whole = self.0;
        self.0 = LONGEST.min(whole * 2);
        // Without randomness all pauses are whole, which does no harm.
        let part = getrandom::u32().unwrap_or(u32::MAX);
        whole / 2 + whole.mul_f64(f64::from(part) / f64::from(u32::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the cluster against clients that ask all at once, and clients against long waits.
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
