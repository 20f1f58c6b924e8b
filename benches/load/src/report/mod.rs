//! What came out, as data. It is shown as a table ([`text`]), a page with plots ([`html`]), CSV ([`csv`]), and, since all of it can be
//! serialized, JSON.

mod about;
mod chart;
pub mod csv;
pub mod html;
pub mod text;
pub(crate) mod trust;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap};

pub use about::About;
pub use chart::{Axis, Chart, Scale, Series, escape};
pub use trust::Finding;

use crate::{
    outcome::{Group, Outcome},
    sender::Sample,
};

/// Most requests that are kept one by one: 400 MB.
pub const REQUESTS_MAX: usize = 5_000_000;

/// A run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// What was done, where and when.
    pub about: About,
    /// Numbers of the measured part: without the warm-up.
    pub totals: Totals,
    /// Latency of answers, each from the time at which the request was to leave.
    pub latency: Option<Quantiles>,
    /// Time that it took to be refused.
    pub refusal_latency: Option<Quantiles>,
    /// By how much the tool itself was late.
    pub lateness: Option<Quantiles>,
    /// The same by function.
    pub functions: Vec<FunctionRow>,
    /// The whole run in pieces.
    pub timeline: Timeline,
    /// Distributions.
    pub curves: Curves,
    /// What the first failure of each kind said.
    pub examples: BTreeMap<&'static str, String>,
    /// How far the figures can be trusted.
    pub findings: Vec<Finding>,
    /// Each request, if the plan wanted that.
    #[serde(skip)]
    pub(crate) requests: Vec<Sample>,
}

/// The sum of it.
#[derive(Debug, Clone, Serialize)]
pub struct Totals {
    /// Length of what was measured.
    pub seconds: f64,
    /// Requests that were to leave.
    pub arrivals: u64,
    /// What became of them, and of each further attempt.
    #[serde(flatten)]
    pub counts: Counts,
    /// Arrivals per second.
    pub offered_per_s: f64,
    /// Answers per second, of those that came while there was load.
    pub goodput_per_s: f64,
    /// Most connections that were open at a time.
    pub connections: usize,
    /// What the threads that sent have used of their CPUs, 0 to 1.
    pub cpu_share: f64,
}

/// How many had each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; Outcome::ALL.len()]);

/// A distribution in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Quantiles {
    pub count: u64,
    pub mean_ns: u64,
    pub p50_ns: u64,
    pub p90_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
}

/// One function.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionRow {
    /// Its name.
    pub function: String,
    /// The version or alias that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qualifier: Option<String>,
    /// Its weight.
    pub weight: f64,
    /// What became of its requests.
    #[serde(flatten)]
    pub counts: Counts,
    /// Latency of its answers.
    pub latency: Option<Quantiles>,
}

/// A run in pieces of equal length.
#[derive(Debug, Clone, Serialize)]
pub struct Timeline {
    /// Length of a piece.
    pub interval_s: f64,
    /// Where the measured part begins.
    pub warm_up_s: f64,
    /// Where the last request was to leave. After that there are only answers.
    pub load_s: f64,
    /// The pieces.
    pub points: Vec<Point>,
}

/// A piece of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Point {
    /// Its begin.
    pub at_s: f64,
    /// Requests that were to leave in it.
    pub offered: u64,
    /// Requests that left in it, further attempts included.
    pub sent: u64,
    /// What ended in it, whenever it had begun.
    pub done: Counts,
    /// Latency of the answers that came in it.
    pub latency: Option<Quantiles>,
    /// Most requests that had no answer yet.
    pub in_flight_max: usize,
    /// The most by which the tool was late with a request that was to leave in it.
    pub lateness_max_ns: u64,
}

/// Latency by quantile: pairs of a quantile, 0 to 1, and nanoseconds.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs, reason = "as in the report")]
pub struct Curves {
    pub ok: Vec<(f64, u64)>,
    pub refused: Vec<(f64, u64)>,
    pub lateness: Vec<(f64, u64)>,
}

impl Counts {
    pub(crate) fn add(&mut self, outcome: Outcome) {
        self.0[outcome.index()] += 1;
    }

    /// How many had that outcome.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.0[outcome.index()]
    }

    /// How many had one of those.
    #[must_use]
    pub fn group(&self, group: Group) -> u64 {
        self.some().filter(|(outcome, _)| outcome.group() == group).map(|(_, count)| count).sum()
    }

    /// How many there are.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many were sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.all() - self.of(Outcome::Unsent)
    }

    /// Those that there are any of.
    pub fn some(&self) -> impl Iterator<Item = (Outcome, u64)> + '_ {
        Outcome::ALL.into_iter().map(|outcome| (outcome, self.of(outcome))).filter(|&(_, count)| count > 0)
    }
}

/// `{"sent": 3, "outcomes": {"ok": 2, "ConcurrentInvocationLimitExceeded": 1}}`, without those that there are none of.
impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let outcomes: BTreeMap<_, _> = self.some().map(|(outcome, count)| (outcome.name(), count)).collect();
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("sent", &self.sent())?;
        map.serialize_entry("refused", &self.group(Group::Refused))?;
        map.serialize_entry("outcomes", &outcomes)?;
        map.end()
    }
}
