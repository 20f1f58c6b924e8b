//! How far the figures of a run can be trusted. Said by the tool itself, since who reads them cannot know.

use serde::Serialize;

use super::{Quantiles, Report};
use crate::{
    duration::show,
    outcome::{Outcome, Reason},
};

/// Lateness up to this is that of any Linux process that waits for a timer.
const LATENESS_USUAL_NS: u64 = 250_000;
/// The tool's lateness is part of every latency; above this part of it the figures are about the tool.
const LATENESS_PART: u64 = 10;
/// Above this a thread has no time left to be on time.
const CPU_SHARE_MAX: f64 = 0.8;

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether it spoils figures.
    pub is_warning: bool,
    /// A sentence or two.
    pub text: String,
}

impl Finding {
    fn good(text: String) -> Finding {
        Finding { is_warning: false, text }
    }

    fn warning(text: String) -> Finding {
        Finding { is_warning: true, text }
    }
}

/// All there is to know.
pub(crate) fn findings(report: &Report) -> Vec<Finding> {
    let mut findings = Vec::new();
    if report.about.is_closed {
        findings.push(Finding::warning(
            "Closed loop: clients waited for answers, so a slow server got less load, and what waiting clients would have sent is in no \
             figure. Compare with an open loop of the same rate."
                .into(),
        ));
    } else if let Some(lateness) = &report.lateness {
        findings.push(on_lateness(lateness, report.latency.as_ref(), report.totals.cpu_share));
    }
    if report.totals.cpu_share > CPU_SHARE_MAX {
        findings.push(Finding::warning(format!(
            "The sending threads have used {:.0} % of their CPUs: this may be the tool's limit and not the server's. Give it more with --cpu.",
            report.totals.cpu_share * 100.0
        )));
    }
    let counts = &report.totals.counts;
    let unsent = counts.of(Outcome::Unsent);
    if unsent > 0 {
        findings.push(Finding::warning(format!(
            "{unsent} requests were not sent, because all {} connections waited for answers. They count as offered. Allow more with \
             --connections, if the server is to see them.",
            report.about.connections_max
        )));
    }
    let malformed = counts.of(Outcome::Refused(Reason::Malformed));
    if malformed > 0 {
        findings.push(Finding::warning(format!("{malformed} refusals were not in Lambda's shape.")));
    }
    findings.push(on_place(report));
    if report.about.was_stopped {
        findings.push(Finding::warning("It was ended early.".into()));
    }
    findings.extend(report.about.notes.iter().cloned().map(Finding::warning));
    findings
}

fn on_lateness(lateness: &Quantiles, latency: Option<&Quantiles>, cpu_share: f64) -> Finding {
    let said = format!("{} at the median, {} at p99", show(lateness.p50_ns), show(lateness.p99_ns));
    let spoils = |late: u64, latency: u64| late > LATENESS_USUAL_NS && late > latency / LATENESS_PART;
    let is_spoilt = match latency {
        Some(latency) => spoils(lateness.p50_ns, latency.p50_ns) || spoils(lateness.p99_ns, latency.p99_ns),
        None => lateness.p99_ns > LATENESS_USUAL_NS,
    };
    if is_spoilt {
        let cure = if cpu_share > CPU_SHARE_MAX / 2.0 {
            "send less, or from more CPUs"
        } else {
            "keep other programs off its CPU"
        };
        Finding::warning(format!(
            "The tool was late by {said}. That is in every latency and is not the server's doing. It had its CPU for {:.0} % of the time: {cure}.",
            cpu_share * 100.0
        ))
    } else {
        Finding::good(format!("Requests left on time: late by {said}."))
    }
}

fn on_place(report: &Report) -> Finding {
    let about = &report.about;
    let cpus = about.cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (about.is_local, about.cpus.is_empty()) {
        (false, true) => Finding::good("Requests came from another machine than the server's, from any of its CPUs.".into()),
        (false, false) => Finding::good(format!("Requests came from another machine than the server's, CPU {cpus}.")),
        (true, false) if about.cpus.len() < about.machine.cores => Finding::good(format!(
            "Tool and server are on one machine: the tool on CPU {cpus}. Keep the server off it (taskset --cpu-list), or they take time from each other."
        )),
        (true, _) => Finding::warning(
            "Tool and server share the CPUs of one machine: each takes time from the other, and latencies are those of both.".into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantiles(p50_ns: u64, p99_ns: u64) -> Quantiles {
        Quantiles { p50_ns, p99_ns, ..Quantiles::default() }
    }

    #[test]
    fn lateness_spoils_what_is_not_much_longer() {
        const MS: u64 = 1_000_000;
        let cases = [
            (quantiles(50_000, 200_000), Some(quantiles(300_000, 500_000)), false),
            (quantiles(50_000, MS), Some(quantiles(MS, 20 * MS)), false),
            (quantiles(50_000, 3 * MS), Some(quantiles(MS, 20 * MS)), true),
            (quantiles(MS, MS), Some(quantiles(5 * MS, 50 * MS)), true),
            (quantiles(0, MS), None, true),
        ];
        for (lateness, latency, is_warning) in cases {
            assert_eq!(
                on_lateness(&lateness, latency.as_ref(), 0.1).is_warning,
                is_warning,
                "{lateness:?} {latency:?}"
            );
        }
    }
}
