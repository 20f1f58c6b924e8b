//! What happened, for Prometheus.
//!
//! ```text
//!  invoke.rs ── answered, refused ──► Metrics ──┐
//!                                               ├─ scrape ──► text (own/metrics.rs)
//!  Platform ──────── status, asked then ────────┘
//! ```
//!
//! Counts and distributions are kept here, for each function that has been called; what only has a present value is asked for when somebody
//! looks. A function's series go with the function, so their number is bounded by what is deployed.

mod of_function;
mod parts;
mod present;

use std::{fmt, sync::Arc, time::Duration};

use dashmap::{DashMap, mapref::multiple::RefMulti};
use mayfly_scheduler::{Outcome, Platform, Refusal};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    metrics::histogram::{Histogram, exponential_buckets},
    registry::Registry,
};

use of_function::OfFunction;
use parts::Parts;

/// First bucket of every distribution, in seconds: a warm call takes a fraction of a millisecond.
const BUCKET_FIRST_S: f64 = 50e-6;
/// Each bucket ends at twice the one before; the last one holds the longest invocation, 900 s.
const BUCKETS: u16 = 25;

/// The counts and distributions.
#[derive(Debug, Default)]
pub struct Metrics {
    functions: DashMap<String, Arc<OfFunction>>,
    parts: Parts,
}

impl Metrics {
    /// Takes note of an invocation that was answered, `receive` after whose head the platform had its event. `exists` says whether there is such a function:
    /// it may have been deleted meanwhile.
    pub fn answered(&self, function: &str, exists: impl FnOnce() -> bool, outcome: &Outcome, receive: Duration) {
        self.parts.answered(outcome, receive);
        self.of(function, exists, |metrics| metrics.answered(outcome));
    }

    /// Takes note of one that was not.
    pub fn refused(&self, function: &str, exists: impl FnOnce() -> bool, refusal: &Refusal) {
        self.of(function, exists, |metrics| metrics.refused(refusal));
    }

    /// Forgets a function that was deleted.
    pub fn forget(&self, function: &str) {
        self.functions.remove(function);
    }

    fn of(&self, function: &str, exists: impl FnOnce() -> bool, note: impl FnOnce(&OfFunction)) {
        if let Some(metrics) = self.functions.get(function) {
            return note(&metrics);
        }
        // Names that are nobody's, or not any more, would be series without bound.
        if exists() {
            note(self.functions.entry(function.to_owned()).or_default().value());
        }
    }
}

/// All metrics of this process, in the OpenMetrics text format.
///
/// # Errors
/// If they cannot be written, which memory for a string never refuses.
pub fn text(metrics: &Arc<Metrics>, platform: &Platform) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("mayfly");
    registry.register_collector(Box::new(metrics.clone()));
    present::register(&mut registry, &platform.status());
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        // In the order of their names, so that two scrapes can be compared.
        let kept = |entry: RefMulti<'_, String, Arc<OfFunction>>| (entry.key().clone(), entry.value().clone());
        // Whoever is answered meanwhile does not wait until all is written.
        let mut functions: Vec<(String, Arc<OfFunction>)> = self.functions.iter().map(kept).collect();
        functions.sort_by(|left, right| left.0.cmp(&right.0));
        let functions: Vec<(&str, &OfFunction)> = functions.iter().map(|(name, of)| (name.as_str(), &**of)).collect();
        of_function::encode(&functions, &mut encoder)?;
        self.parts.encode(&mut encoder)
    }
}

fn distribution() -> Histogram {
    Histogram::new(exponential_buckets(BUCKET_FIRST_S, 2.0, BUCKETS))
}

#[cfg(test)]
mod tests;
