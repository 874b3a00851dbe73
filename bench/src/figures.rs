//! Summarises repeated measurements of the same figure.

use serde::{Deserialize, Serialize};

/// Quartiles of the rounds, in the unit of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Half of the rounds gave less, half gave more.
    pub median: f64,
    /// A quarter of the rounds gave less.
    pub lower: f64,
    /// A quarter of the rounds gave more.
    pub upper: f64,
}

impl Figure {
    /// Summarises rounds.
    ///
    /// # Panics
    /// When there are no rounds.
    pub fn of(mut rounds: Vec<f64>) -> Self {
        assert!(!rounds.is_empty(), "there is at least one round");
        rounds.sort_by(f64::total_cmp);
        let at = |quarter: usize| rounds[(rounds.len() - 1) * quarter / 4];
        Self { median: at(2), lower: at(1), upper: at(3) }
    }

    /// Half of the interquartile range, divided by the median.
    pub fn spread(&self) -> f64 {
        (self.upper - self.lower) / 2.0 / self.median
    }
}

/// The median of a figure over some rounds; `None` without rounds.
pub fn median<T>(rounds: &[T], of: impl Fn(&T) -> f64) -> Option<f64> {
    let mut figures: Vec<f64> = rounds.iter().map(of).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::Figure;

    /// Guards that a single outlier among five rounds does not change the figures.
    #[test]
    fn outliers_do_not_count() {
        let figure = Figure::of(vec![5.0, 4.0, 1000.0, 3.0, 4.0]);
        assert!((figure.median - 4.0).abs() < f64::EPSILON);
        assert!((figure.spread() - 0.125).abs() < f64::EPSILON, "{figure:?}");
    }
}
