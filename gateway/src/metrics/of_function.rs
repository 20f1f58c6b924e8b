//! The metrics of one function.

use std::{fmt, sync::atomic::AtomicU64};

use mayfly_scheduler::{Answer, Outcome, Refusal, Start, ThrottleReason};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::Counter, histogram::Histogram},
    registry::Unit,
};

use super::distribution;
use crate::lambda::{name::LATEST, timing::start_name};

/// By what an invocation was run on.
pub(super) const STARTS: [Start; 3] = [Start::Warm, Start::Fresh, Start::Bound];

/// By why one was throttled.
const REASONS: [(ThrottleReason, &str); 7] = [
    (ThrottleReason::ReservedConcurrency, "reserved_concurrency"),
    (ThrottleReason::AccountConcurrency, "account_concurrency"),
    (ThrottleReason::ScalingRate, "scaling_rate"),
    (ThrottleReason::QueueFull, "queue_full"),
    (ThrottleReason::Overload, "overload"),
    (ThrottleReason::QueueTimeout, "queue_timeout"),
    (ThrottleReason::Memory, "memory"),
];

/// Counts and distributions.
#[derive(Debug)]
pub(super) struct OfFunction {
    /// In the order of [`STARTS`].
    by_start: [ByStart; STARTS.len()],
    /// In the order of [`REASONS`].
    throttles: [Counter; REASONS.len()],
    /// Refused for another reason.
    refusals: Counter,
    queue: Histogram,
    /// Seconds.
    compute: Counter<f64, AtomicU64>,
    bind: Histogram,
    reset: Histogram,
}

#[derive(Debug)]
struct ByStart {
    responses: Counter,
    function_errors: Counter,
    duration: Histogram,
    run: Histogram,
}

impl Default for OfFunction {
    fn default() -> OfFunction {
        let by_start = || ByStart {
            responses: Counter::default(),
            function_errors: Counter::default(),
            duration: distribution(),
            run: distribution(),
        };
        OfFunction {
            by_start: std::array::from_fn(|_| by_start()),
            throttles: Default::default(),
            refusals: Counter::default(),
            queue: distribution(),
            compute: Counter::default(),
            bind: distribution(),
            reset: distribution(),
        }
    }
}

impl OfFunction {
    pub(super) fn answered(&self, outcome: &Outcome) {
        let Some(at) = STARTS.iter().position(|start| *start == outcome.start) else { return };
        let by_start = &self.by_start[at];
        match outcome.answer {
            Answer::Response(_) => by_start.responses.inc(),
            Answer::FunctionError(_) => by_start.function_errors.inc(),
        };
        by_start.duration.observe(outcome.timing.total.as_secs_f64());
        by_start.run.observe(outcome.timing.run.as_secs_f64());
        self.compute.inc_by(outcome.timing.compute.as_secs_f64());
        self.queue.observe(outcome.timing.queue.as_secs_f64());
        if outcome.start == Start::Bound {
            self.bind.observe(outcome.timing.bind.as_secs_f64());
        }
        if let Some(reset) = outcome.timing.reset {
            self.reset.observe(reset.as_secs_f64());
        }
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        let reason = match refusal {
            Refusal::Throttled { reason, .. } => REASONS.iter().position(|(known, _)| known == reason),
            _ => None,
        };
        reason.map_or(&self.refusals, |at| &self.throttles[at]).inc();
    }
}

/// Writes the metrics of all functions, one metric after another.
pub(super) fn encode(functions: &[(&str, &OfFunction)], encoder: &mut DescriptorEncoder) -> fmt::Result {
    let mut of_all = |name, help, unit: Option<&Unit>, kind, each: Each| {
        let mut metric = encoder.encode_descriptor(name, help, unit, kind)?;
        functions.iter().try_for_each(|(function, metrics)| each(function, metrics, &mut metric))
    };
    let (counter, histogram, seconds) = (MetricType::Counter, MetricType::Histogram, Some(&Unit::Seconds));
    of_all("invocations", "Invocations answered", None, counter, |function, metrics, metric| {
        for (start, by_start) in STARTS.into_iter().zip(&metrics.by_start) {
            for (outcome, count) in [("response", &by_start.responses), ("function_error", &by_start.function_errors)] {
                if count.get() > 0 {
                    let labels = [
                        ("function", function),
                        ("qualifier", LATEST),
                        ("start", start_name(start)),
                        ("outcome", outcome),
                    ];
                    count.encode(metric.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    })?;
    let help = "From an invocation's admission to its answer, waiting for a machine included";
    of_all("invocation_duration", help, seconds, histogram, |function, metrics, metric| {
        by_start(function, metrics, metric, |of| &of.duration)
    })?;
    let help = "Of that, in the machine";
    of_all("invocation_run", help, seconds, histogram, |function, metrics, metric| {
        by_start(function, metrics, metric, |of| &of.run)
    })?;
    let help = "Of that, waiting for its turn and for a machine that is free";
    of_all("invocation_queue", help, seconds, histogram, |function, metrics, metric| {
        let labels = [("function", function), ("qualifier", LATEST)];
        metrics.queue.encode(metric.encode_family(&labels)?)
    })?;
    let help = "Of that, waiting for the function's snapshot to be put into a machine";
    of_all("bind", help, seconds, histogram, |function, metrics, metric| {
        let labels = [("function", function), ("qualifier", LATEST)];
        metrics.bind.encode(metric.encode_family(&labels)?)
    })?;
    let help = "Processor time of the machines in invocations";
    of_all("invocation_compute", help, seconds, counter, |function, metrics, metric| {
        let labels = [("function", function), ("qualifier", LATEST)];
        metrics.compute.encode(metric.encode_family(&labels)?)
    })?;
    let help = "Putting a machine's memory back after an invocation, noted at the next one";
    of_all("reset", help, seconds, histogram, |function, metrics, metric| {
        let labels = [("function", function), ("qualifier", LATEST)];
        metrics.reset.encode(metric.encode_family(&labels)?)
    })?;
    let help = "Invocations refused for load, before anything ran";
    of_all("throttles", help, None, counter, |function, metrics, metric| {
        for ((_, reason), count) in REASONS.iter().zip(&metrics.throttles) {
            if count.get() > 0 {
                let labels = [("function", function), ("qualifier", LATEST), ("reason", *reason)];
                count.encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    })?;
    let help = "Invocations not carried out for another reason: not active, too large, lost";
    of_all("refusals", help, None, counter, |function, metrics, metric| {
        let labels = [("function", function), ("qualifier", LATEST)];
        metrics.refusals.encode(metric.encode_family(&labels)?)
    })
}

/// One of the distributions that there are for each start that has been.
fn by_start(
    function: &str,
    metrics: &OfFunction,
    metric: &mut MetricEncoder<'_>,
    which: fn(&ByStart) -> &Histogram,
) -> fmt::Result {
    for (start, of) in STARTS.into_iter().zip(&metrics.by_start) {
        if of.responses.get() + of.function_errors.get() > 0 {
            let labels = [("function", function), ("qualifier", LATEST), ("start", start_name(start))];
            which(of).encode(metric.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

type Each = fn(&str, &OfFunction, &mut MetricEncoder<'_>) -> fmt::Result;
