//! The table at the end of a run.

use std::fmt::Write;

use super::{FunctionRow, Quantiles, Report, about::rate};
use crate::{duration::show, outcome::Group};

/// The report for a terminal.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    let (about, totals) = (&report.about, &report.totals);
    let _ = writeln!(text, "{} on {}\n", about.pace, about.endpoint);
    let share = |count: u64| 100.0 * count as f64 / (totals.counts.all().max(1)) as f64;
    let _ = writeln!(text, "{:<54} {:>10}  {:>10}  {:>7}", "", "requests", "per s", "share");
    let mut row = |name: &str, count: u64, per_second: f64, share: Option<f64>| {
        let share = share.map_or(String::new(), |share| format!("{share:.2} %"));
        let _ = writeln!(text, "{name:<54} {count:>10}  {:>10}  {share:>8}", rate(per_second));
    };
    row("offered", totals.arrivals, totals.offered_per_s, None);
    if totals.counts.all() > totals.arrivals {
        row("with further attempts", totals.counts.all(), totals.counts.all() as f64 / totals.seconds, None);
    }
    for (outcome, count) in totals.counts.some() {
        let per_second =
            if outcome.group() == Group::Ok { totals.goodput_per_s } else { count as f64 / totals.seconds };
        row(outcome.label(), count, per_second, Some(share(count)));
    }

    let _ = writeln!(text, "\n{:<24} {}", "", QUANTILES);
    for (name, quantiles) in [
        ("answers", &report.latency),
        ("refusals", &report.refusal_latency),
        ("the tool's own lateness", &report.lateness),
    ] {
        if let Some(quantiles) = quantiles {
            let _ = writeln!(text, "{name:<24} {}", row_of(quantiles));
        }
    }
    if report.functions.len() > 1 {
        functions(&mut text, &report.functions);
    }
    if !report.examples.is_empty() {
        text.push('\n');
    }
    for (outcome, said) in &report.examples {
        let _ = writeln!(text, "first {outcome}: {said}");
    }
    text.push('\n');
    for finding in &report.findings {
        let _ = writeln!(text, "{} {}", if finding.is_warning { "warning:" } else { "note:" }, finding.text);
    }
    text
}

const QUANTILES: &str = "       p50        p90        p99      p99.9        max";

fn row_of(quantiles: &Quantiles) -> String {
    let Quantiles { p50_ns, p90_ns, p99_ns, p999_ns, max_ns, .. } = *quantiles;
    [p50_ns, p90_ns, p99_ns, p999_ns, max_ns].map(|ns| format!("{:>10}", show(ns))).join(" ")
}

fn functions(text: &mut String, functions: &[FunctionRow]) {
    let width = functions.iter().map(|row| row.function.chars().count()).max().unwrap_or(0).max("function".len());
    let _ = writeln!(
        text,
        "\n{:<width$} {:>9} {:>9} {:>9} {:>9} {QUANTILES}",
        "function", "sent", "ok", "refused", "failed"
    );
    for FunctionRow { function, counts, latency, .. } in functions {
        let (ok, refused) = (counts.group(Group::Ok), counts.group(Group::Refused));
        let failed = counts.sent() - ok - refused;
        let quantiles = latency.as_ref().map(row_of).unwrap_or_default();
        let row = format!("{function:<width$} {:>9} {ok:>9} {refused:>9} {failed:>9} {quantiles}", counts.sent());
        let _ = writeln!(text, "{}", row.trim_end());
    }
}
