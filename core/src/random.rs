//! Seeded randomness whose numbers are the same on every platform.

use rand_pcg::Pcg32;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// A generator that its owner seeds; nothing here ever asks the system.
#[derive(Clone, Debug)]
pub(crate) struct Random(Pcg32);

impl Random {
    /// A generator for this seed; equal seeds give equal numbers.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg32::seed_from_u64(seed))
    }

    /// Any number.
    pub(crate) fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from `low` up to but not including `high`; `low` when the range is empty.
    ///
    /// The modulo's bias is below 2⁻⁴⁰ for the spans used here.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        match high.saturating_sub(low) {
            0 => low,
            span => low + self.any() % span,
        }
    }

    #[cfg(feature = "sim")]
    /// True in `permille` of 1000 cases.
    pub(crate) fn chance(&mut self, permille: u16) -> bool {
        permille > 0 && self.between(0, 1000) < u64::from(permille)
    }
}
