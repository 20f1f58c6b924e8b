//! What the runs came to, against what they should.

use std::{fmt::Write, fs, io, path::Path};

use mayfly_load::{
    Report,
    machine::Machine,
    outcome::{Group, Outcome, Reason},
    report::{Axis, Chart, Series},
};
use serde_json::{Value, json};

/// Least goodput as a part of its peak, by multiple of the capacity.
const AIMS: [(f64, f64); 4] = [(1.0, 0.98), (2.0, 0.95), (5.0, 0.92), (10.0, 0.90)];
/// The multiple that is normal load, and how much longer than then p99 may get.
const NORMAL: f64 = 0.8;
const P99_FACTOR: f64 = 2.0;

/// One load.
pub struct Run {
    pub multiple: f64,
    pub seed: u64,
    pub offered_per_s: f64,
    pub goodput_per_s: f64,
    pub refused_per_s: f64,
    pub failed_per_s: f64,
    pub unsent_per_s: f64,
    pub malformed: u64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub lateness_p99_ns: u64,
    report: Value,
}

/// All loads on some functions.
pub struct Results {
    pub scenario: String,
    pub capacity: f64,
    pub runs: Vec<Run>,
}

impl Run {
    pub fn new(multiple: f64, seed: u64, report: &Report) -> Run {
        let (counts, seconds) = (&report.totals.counts, report.totals.seconds);
        let rate = |count: u64| count as f64 / seconds;
        let (refused, unsent) = (counts.group(Group::Refused), counts.group(Group::Unsent));
        let latency = report.latency.unwrap_or_default();
        Run {
            multiple,
            seed,
            offered_per_s: report.totals.offered_per_s,
            goodput_per_s: report.totals.goodput_per_s,
            refused_per_s: rate(refused),
            failed_per_s: rate(counts.sent() - counts.of(Outcome::Ok) - refused),
            unsent_per_s: rate(unsent),
            malformed: counts.of(Outcome::Refused(Reason::Malformed)),
            p50_ns: latency.p50_ns,
            p99_ns: latency.p99_ns,
            lateness_p99_ns: report.lateness.unwrap_or_default().p99_ns,
            report: json!({ "multiple": multiple, "seed": seed, "totals": report.totals, "latency": report.latency,
                "refusal_latency": report.refusal_latency, "lateness": report.lateness, "functions": report.functions }),
        }
    }
}

impl Results {
    /// Median over the seeds.
    fn median(&self, multiple: f64, pick: impl Fn(&Run) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().filter(|run| run.multiple == multiple).map(pick).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn multiples(&self) -> Vec<f64> {
        let mut multiples: Vec<f64> = self.runs.iter().map(|run| run.multiple).collect();
        multiples.sort_by(f64::total_cmp);
        multiples.dedup();
        multiples
    }

    fn peak(&self) -> f64 {
        let goodputs = self.multiples().into_iter().map(|multiple| self.median(multiple, |run| run.goodput_per_s));
        goodputs.fold(0.0, f64::max)
    }

    /// Prints each aim and what there is.
    pub fn judge(&self) {
        let normal_p99 = self.median(NORMAL, |run| run.p99_ns as f64);
        let said = |is_reached: bool| if is_reached { "reached" } else { "NOT reached" };
        for (multiple, aim) in AIMS {
            let part = self.median(multiple, |run| run.goodput_per_s) / self.peak();
            let factor = self.median(multiple, |run| run.p99_ns as f64) / normal_p99;
            println!(
                "  {multiple:>4} ×: goodput {:.1} % of peak (≥ {:.0} %: {}), p99 {factor:.2} × that at {NORMAL} (≤ {P99_FACTOR}: {})",
                part * 100.0,
                aim * 100.0,
                said(part >= aim),
                said(factor <= P99_FACTOR)
            );
        }
        let malformed: u64 = self.runs.iter().map(|run| run.malformed).sum();
        println!("  refusals that are not Lambda's 429: {malformed} (0: {})", said(malformed == 0));
    }

    fn curve(&self, label: &str, class: &'static str, pick: impl Fn(&Run) -> f64) -> Series {
        let points = self.multiples().into_iter().map(|multiple| (multiple, self.median(multiple, &pick))).collect();
        Series { label: label.to_owned(), class, base: None, points }
    }

    fn goodput_chart(&self) -> Chart {
        let curves = vec![
            self.curve("goodput", "ok", |run| run.goodput_per_s / self.capacity),
            self.curve("failed", "error", |run| run.failed_per_s / self.capacity),
        ];
        let max = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1).fold(1.0, f64::max);
        let y = Axis::linear("rate as a multiple of the capacity", max, |value| format!("{value:.1}"));
        chart(&format!("Goodput over offered load: {}", self.scenario), y, curves, self.multiples())
    }

    fn latency_chart(&self) -> Chart {
        let curves = vec![
            self.curve("p50", "p50", |run| run.p50_ns as f64 / 1e6),
            self.curve("p99", "p99", |run| run.p99_ns as f64 / 1e6),
            self.curve("p99 of the tool's own lateness", "late", |run| run.lateness_p99_ns as f64 / 1e6),
        ];
        let values = curves.iter().flat_map(|curve| &curve.points).map(|point| point.1);
        let y = Axis::log("latency, ms", values, |value| value.to_string());
        chart(&format!("Latency of answers over offered load: {}", self.scenario), y, curves, self.multiples())
    }
}

fn chart(title: &str, y: Axis, series: Vec<Series>, multiples: Vec<f64>) -> Chart {
    let mut x = Axis::log("offered load as a multiple of the capacity (log scale)", multiples.iter().copied(), |_| {
        String::new()
    });
    x.range = (multiples[0], multiples[multiples.len() - 1]);
    x.ticks = multiples.into_iter().map(|multiple| (multiple, multiple.to_string())).collect();
    Chart { title: title.to_owned(), x, y, series, shades: Vec::new(), tips: Vec::new() }
}

/// Writes all of it: data, a table, plots.
pub fn write(out: &Path, machine: &Machine, all: &[Results]) -> io::Result<()> {
    let scenarios = all.iter().map(|results| {
        let runs: Vec<&Value> = results.runs.iter().map(|run| &run.report).collect();
        json!({ "scenario": results.scenario, "capacity_per_s": results.capacity, "peak_per_s": results.peak(), "runs": runs })
    });
    let json = json!({ "machine": machine, "scenarios": scenarios.collect::<Vec<_>>() });
    fs::write(out.join("overload.json"), serde_json::to_vec_pretty(&json)?)?;
    let mut csv = String::from(
        "scenario,multiple,seed,offered_per_s,goodput_per_s,refused_per_s,failed_per_s,unsent_per_s,p50_ms,p99_ms,lateness_p99_ms\n",
    );
    for results in all {
        for run in &results.runs {
            let ms = |ns: u64| ns as f64 / 1e6;
            let _ = writeln!(
                csv,
                "{},{},{},{:.2},{:.2},{:.2},{:.2},{:.2},{:.3},{:.3},{:.3}",
                results.scenario,
                run.multiple,
                run.seed,
                run.offered_per_s,
                run.goodput_per_s,
                run.refused_per_s,
                run.failed_per_s,
                run.unsent_per_s,
                ms(run.p50_ns),
                ms(run.p99_ns),
                ms(run.lateness_p99_ns)
            );
        }
        fs::write(out.join(format!("goodput-{}.svg", results.scenario)), results.goodput_chart().file())?;
        fs::write(out.join(format!("latency-{}.svg", results.scenario)), results.latency_chart().file())?;
    }
    fs::write(out.join("overload.csv"), csv)
}
