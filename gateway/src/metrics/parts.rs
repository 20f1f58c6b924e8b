//! Where the time of invocations went, part by part.
//!
//! What is a function's own, its runs, waits and binds, is kept for each function; the way of an event to a machine and back is the platform's.
//! With a label for the function it would be a hundred thousand lines for a thousand of them.

use std::{fmt, time::Duration};

use mayfly_scheduler::{Outcome, Start};
use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Unit,
};

use super::of_function::STARTS;
use crate::lambda::timing::start_name;

/// First bucket of a part, in seconds: half of the cheapest wake-up there is. The last one is a minute.
const PART_FIRST_S: f64 = 2e-6;
const PART_BUCKETS: u16 = 25;
/// Exits and page faults: 1, 2, 4 … 65,536.
const COUNT_BUCKETS: u16 = 17;

const PARTS: [&str; 7] = ["receive", "queue", "bind", "handover", "run", "report", "answer"];

/// The distributions, in the order of [`STARTS`].
#[derive(Debug)]
pub(super) struct Parts([ByStart; STARTS.len()]);

#[derive(Debug)]
struct ByStart {
    /// In the order of [`PARTS`].
    parts: [Histogram; PARTS.len()],
    exits: Histogram,
    faults: Histogram,
}

impl Default for Parts {
    fn default() -> Parts {
        let part = || Histogram::new(exponential_buckets(PART_FIRST_S, 2.0, PART_BUCKETS));
        let count = || Histogram::new(exponential_buckets(1.0, 2.0, COUNT_BUCKETS));
        Parts(std::array::from_fn(|_| ByStart {
            parts: std::array::from_fn(|_| part()),
            exits: count(),
            faults: count(),
        }))
    }
}

impl Parts {
    pub(super) fn answered(&self, outcome: &Outcome, receive: Duration) {
        let Some(at) = STARTS.iter().position(|start| *start == outcome.start) else { return };
        let (of, timing) = (&self.0[at], &outcome.timing);
        let durations = [receive, timing.queue, timing.bind, timing.handover, timing.run, timing.report, timing.answer];
        for ((name, histogram), duration) in PARTS.iter().zip(&of.parts).zip(durations) {
            if is_part_of(name, outcome.start) {
                histogram.observe(duration.as_secs_f64());
            }
        }
        of.exits.observe(timing.exits as f64);
        of.faults.observe(timing.faults as f64);
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let help = "Where the time of invocations went; one part begins where the one before ends";
        let mut metric =
            encoder.encode_descriptor("invocation_part", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (start, of) in STARTS.into_iter().zip(&self.0) {
            for (part, histogram) in PARTS.into_iter().zip(&of.parts) {
                if is_part_of(part, start) {
                    histogram.encode(metric.encode_family(&[("part", part), ("start", start_name(start))])?)?;
                }
            }
        }
        let help = "Times that the guest left its vCPU by itself in an invocation";
        self.counts("invocation_exits", help, encoder, |of| &of.exits)?;
        self.counts("invocation_faults", "Page faults of the machine in an invocation", encoder, |of| &of.faults)
    }

    fn counts(
        &self,
        name: &str,
        help: &str,
        encoder: &mut DescriptorEncoder,
        which: fn(&ByStart) -> &Histogram,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (start, of) in STARTS.into_iter().zip(&self.0) {
            which(of).encode(metric.encode_family(&[("start", start_name(start))])?)?;
        }
        Ok(())
    }
}

fn is_part_of(part: &str, start: Start) -> bool {
    part != "bind" || start == Start::Bound
}
