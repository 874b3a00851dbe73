//! Seeded random numbers that are the same on every platform.

use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// A generator that its owner seeds; it never uses the system's randomness.
#[derive(Clone, Debug)]
pub(crate) struct Random(Pcg32);

impl Random {
    /// Makes a generator; equal seeds give equal numbers.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg32::seed_from_u64(seed))
    }

    /// A random number of the full `u64` range.
    pub(crate) fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `low..high`; `low` if the range is empty.
    ///
    /// The modulo bias is below 2⁻⁴⁰ for the spans used here.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.saturating_sub(low) {
            0 => low,
            span => low + self.any() % span,
        }
    }

    #[cfg(feature = "sim")]
    /// True with a probability of `permille` / 1000.
    pub(crate) fn chance(&mut self, permille: u16) -> bool {
        permille > 0 && self.between(0, 1000) < u64::from(permille)
    }
}
