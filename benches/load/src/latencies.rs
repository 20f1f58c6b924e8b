//! Distributions of latencies, in nanoseconds: HDR histograms, whose precision is relative and whose size is not that of the run.

use hdrhistogram::Histogram;

use crate::report::Quantiles;

/// What is told apart: a microsecond at least, an hour at most.
const LOWEST_NS: u64 = 1_000;
const HIGHEST_NS: u64 = 3_600_000_000_000;

/// A distribution.
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new(digits: u8) -> Latencies {
        Latencies(Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, digits).expect("the bounds are constant"))
    }

    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    pub(crate) fn quantiles(&self) -> Option<Quantiles> {
        let at = |quantile| self.0.value_at_quantile(quantile).min(self.0.max());
        (!self.0.is_empty()).then(|| Quantiles {
            count: self.0.len(),
            mean_ns: self.0.mean() as u64,
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: self.0.max(),
        })
    }

    /// Latency by quantile, at ever smaller distances from 1, as far as there are samples for it.
    pub(crate) fn curve(&self) -> Vec<(f64, u64)> {
        let reach = self.0.len() as f64;
        let tails = (0..).map(|step| 10f64.powf(f64::from(step) / 8.0)).take_while(|&inverse| inverse <= reach);
        tails.map(|inverse| 1.0 - 1.0 / inverse).map(|q| (q, self.0.value_at_quantile(q).min(self.0.max()))).collect()
    }
}
