//! Measurements of one thing.

use std::time::{Duration, Instant};

/// Durations in nanoseconds.
#[derive(Debug, Clone, Default)]
pub struct Distribution {
    nanoseconds: Vec<u64>,
}

impl Distribution {
    /// Measures `runs` calls of `call`.
    pub fn measure(runs: usize, mut call: impl FnMut()) -> Distribution {
        let mut distribution = Distribution::default();
        for _ in 0..runs {
            let start = Instant::now();
            call();
            distribution.add(start.elapsed());
        }
        distribution
    }

    /// Adds a measurement.
    pub fn add(&mut self, duration: Duration) {
        self.nanoseconds.push(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds all measurements of another.
    pub fn extend(&mut self, other: &Distribution) {
        self.nanoseconds.extend(&other.nanoseconds);
    }

    /// Number of measurements.
    #[must_use]
    pub fn count(&self) -> usize {
        self.nanoseconds.len()
    }

    /// The quantile `q`, 0 to 1, in microseconds: the measurement that many of the others are not above. 0 if there is none.
    #[must_use]
    pub fn quantile_us(&self, q: f64) -> f64 {
        let mut sorted = self.nanoseconds.clone();
        sorted.sort_unstable();
        let rank = (q.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).map_or(0.0, |&ns| ns as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_measurements() {
        let mut distribution = Distribution::default();
        for microseconds in 1..=100 {
            distribution.add(Duration::from_micros(microseconds));
        }
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|q| distribution.quantile_us(q)), [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(Distribution::default().quantile_us(0.5), 0.0);
    }
}
