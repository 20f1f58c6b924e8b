//! Goodput at 0.8, 1, 2, 5 and 10 times the capacity, of a function that computes and of a mix of five.
//!
//! Capacity is what clients that wait for their answers get. Goodput is judged by the work in it: the processor time that the machines had for what was answered, as the
//! platform counts it. Turns are fair between functions, so under overload a mix has more answers of those that take little, and their number grows past what
//! was ever capacity; and a processor that shares its core with a neighbour of the host's does the same work in half as much time at one moment as at another.
//! The peak is the largest median of all multiples. Where less was offered than that, by the time that each arrival takes then, all of it is to be answered.

use std::{collections::BTreeMap, fmt::Write, thread};

use mayfly_benches::{
    platform::Platform,
    plot::{self, Look, Plot, Series},
    report::{Aim, Report},
};
use mayfly_load::{
    Report as Load, Target,
    outcome::{Group, Outcome as Fate, Reason},
};

use super::{CLIENTS, LEAD, Outcome, PAUSE, SPIN, Stage, median};

const MULTIPLES: [f64; 5] = [0.8, 1.0, 2.0, 5.0, 10.0];
/// Least goodput as a part of its peak, by multiple of the capacity.
const AIMS: [(f64, f64); 4] = [(1.0, 98.0), (2.0, 95.0), (5.0, 92.0), (10.0, 90.0)];
/// The multiple that is normal load, and how much longer than then p99 may get.
const NORMAL: f64 = 0.8;
const P99_FACTOR: f64 = 2.0;

const HELLO: &str = "def handler(event, context):\n    return {'message': 'hello'}\n";
const SLEEP: &str = "import time\n\ndef handler(event, context):\n    time.sleep(0.02)\n    return 'slept'\n";
const ALLOCATE: &str = "def handler(event, context):\n    return len(bytearray(4 << 20).hex())\n";
const JSON: &str =
    "import json\n\ndef handler(event, context):\n    return len(json.dumps([{'k': i} for i in range(2000)]))\n";
const FUNCTIONS: [(&str, &str); 5] =
    [("spin", SPIN), ("hello", HELLO), ("sleep", SLEEP), ("allocate", ALLOCATE), ("json", JSON)];
/// Functions that are called together.
struct Scenario {
    name: &'static str,
    says: &'static str,
    /// With their weights.
    functions: &'static [(&'static str, f64)],
}

const SCENARIOS: [Scenario; 2] = [
    Scenario { name: "cpu", says: "5 ms of CPython", functions: &[("spin", 1.0)] },
    Scenario {
        name: "mix",
        says: "five functions",
        functions: &[("spin", 1.0), ("hello", 4.0), ("sleep", 2.0), ("allocate", 1.0), ("json", 2.0)],
    },
];

/// One load.
struct Run {
    multiple: f64,
    seed: u64,
    goodput: f64,
    /// Processors that its answers took.
    work: f64,
    /// Processors that all would have taken that was offered.
    offered: f64,
    load: Load,
}

/// All loads on some functions.
struct Runs(Vec<Run>);

pub(super) fn measure(stage: &Stage<'_>, report: &mut Report) -> Outcome<()> {
    let platform = stage.start(&[], &FUNCTIONS)?;
    let mut csv = String::from(HEAD);
    for Scenario { name, says, functions } in SCENARIOS {
        report.section(&format!("goodput: {says}"));
        let targets: Vec<Target> =
            functions.iter().map(|&(name, weight)| Target { weight, ..Target::new(name) }).collect();
        let capacity = stage.capacity(&platform, &targets)?;
        report.amount("capacity", capacity, "/s", &format!("{} clients that wait for their answers", CLIENTS));
        let mut runs = Runs(Vec::new());
        for seed in 1..=stage.seeds {
            for multiple in MULTIPLES {
                thread::sleep(PAUSE);
                // Until overload is noticed takes half a second, and a line is there then: not what is measured here, and much of a short load.
                stage.constant(&platform, &targets, capacity * multiple, LEAD, seed)?;
                let before = computed(&platform)?;
                let load = stage.constant(&platform, &targets, capacity * multiple, stage.seconds(60.0), seed)?;
                let run = Run::new(multiple, seed, load, &before, &computed(&platform)?);
                println!(
                    "  {multiple:>4} ×, seed {seed}: {:.1}/s of {:.1}/s, {:.1} % of a processor of {:.1} %",
                    run.goodput,
                    run.load.totals.offered_per_s,
                    run.work * 100.0,
                    run.offered * 100.0
                );
                csv.push_str(&run.line(name));
                runs.0.push(run);
            }
        }
        runs.judge(report);
        runs.plots(report, name, says, capacity)?;
    }
    report.file("overload-goodput-runs.csv", csv);
    Ok(())
}

/// Processor time that the machines of each function have had for its invocations, in seconds.
fn computed(platform: &Platform) -> Outcome<BTreeMap<String, f64>> {
    let (_, metrics) = platform.client()?.request("GET", "/metrics", "", b"")?;
    let metrics = String::from_utf8(metrics)?;
    let lines =
        metrics.lines().filter_map(|line| line.strip_prefix("mayfly_invocation_compute_seconds_total{function=\""));
    let parse = |line: &str| Some((line.split('"').next()?.to_owned(), line.rsplit(' ').next()?.parse().ok()?));
    Ok(lines.filter_map(parse).collect())
}

impl Runs {
    /// Median over the seeds.
    fn at(&self, multiple: f64, pick: impl Fn(&Run) -> f64) -> f64 {
        median(self.0.iter().filter(|run| run.multiple == multiple).map(pick))
    }

    fn judge(&self, report: &mut Report) {
        let peak = MULTIPLES.map(|multiple| self.at(multiple, |run| run.work)).into_iter().fold(0.0, f64::max);
        let p99 = |multiple| self.at(multiple, |run| super::p99_ms(run.load.latency));
        for multiple in MULTIPLES {
            let refused = self.at(multiple, Run::refused_per_s);
            let work = self.at(multiple, |run| run.work) * 100.0;
            let offered = self.at(multiple, |run| run.offered) * 100.0;
            let each = self.at(multiple, |run| run.work / run.goodput) * 1e3;
            let notes = format!(
                "{each:.2} ms each, {work:.0} % of a processor, {offered:.0} % were offered; {refused:.1}/s refused, p99 {:.1} ms",
                p99(multiple)
            );
            report.amount(
                &format!("goodput at {multiple} × capacity"),
                self.at(multiple, |run| run.goodput),
                "/s",
                &notes,
            );
        }
        for (multiple, aim) in AIMS {
            let part = self.at(multiple, |run| run.work / run.offered.min(peak)) * 100.0;
            report.aim(
                &format!("work in the goodput at {multiple} × capacity, of the peak or of all that was offered"),
                Aim::AtLeast(aim),
                part,
                "%",
            );
            let factor = p99(multiple) / p99(NORMAL);
            report.aim(&format!("p99 at {multiple} ×, of that at {NORMAL} ×"), Aim::AtMost(P99_FACTOR), factor, "×");
        }
        let malformed = |run: &Run| run.load.totals.counts.of(Fate::Refused(Reason::Malformed)) as f64;
        report.aim("refusals that are not Lambda's 429", Aim::AtMost(0.0), self.0.iter().map(malformed).sum(), "");
    }

    fn curve(&self, label: &str, look: Look, pick: impl Fn(&Run) -> f64) -> Series {
        Series::new(label, look, MULTIPLES.map(|multiple| (multiple, self.at(multiple, &pick))).to_vec())
    }

    fn plots(&self, report: &mut Report, name: &str, says: &str, capacity: f64) -> Outcome<()> {
        let x = "offered load, as a multiple of the capacity";
        let series = vec![
            self.curve("answered", Look::Line, |run| run.goodput / capacity),
            self.curve("failed", Look::Line, |run| run.failed_per_s() / capacity),
            Series::new(
                "all that can be",
                Look::Dashed,
                MULTIPLES.map(|multiple| (multiple, multiple.min(1.0))).to_vec(),
            ),
        ];
        let plot = Plot {
            title: format!("Goodput over offered load: {says}"),
            x: plot::log(x, &series, |point| point.0),
            y: plot::linear("multiple of the capacity", &series, |point| point.1),
            series,
        };
        report.plot(&format!("goodput-{name}"), &plot, "Median of the seeds.")?;
        let series = vec![
            self.curve("p50", Look::Line, |run| run.load.latency.unwrap_or_default().p50_ns as f64 / 1e6),
            self.curve("p99", Look::Line, |run| super::p99_ms(run.load.latency)),
            self.curve("p99 of the tool's lateness", Look::Dashed, |run| super::p99_ms(run.load.lateness)),
        ];
        let plot = Plot {
            title: format!("Latency of answers over offered load: {says}"),
            x: plot::log(x, &series, |point| point.0),
            y: plot::log("ms", &series, |point| point.1),
            series,
        };
        Ok(report.plot(&format!("latency-{name}"), &plot, "Median of the seeds.")?)
    }
}

const HEAD: &str = "scenario,multiple,seed,offered_per_s,goodput_per_s,work,offered_work,refused_per_s,failed_per_s,unsent_per_s,p50_ms,p99_ms,lateness_p99_ms\n";

impl Run {
    /// Of a load, and what the platform had counted before and after it.
    fn new(multiple: f64, seed: u64, load: Load, before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> Run {
        let (mut work, mut offered) = (0.0, 0.0);
        for row in &load.functions {
            let had = |counted: &BTreeMap<String, f64>| counted.get(&row.function).copied().unwrap_or_default();
            // What ran and was not answered, for its client had gone or it failed, is no work.
            let (answered, ran) = (row.counts.of(Fate::Ok), row.counts.sent() - row.counts.group(Group::Refused));
            let each = (had(after) - had(before)) / ran.max(1) as f64;
            work += answered as f64 * each;
            offered += row.counts.all() as f64 * each;
        }
        let seconds = load.totals.seconds;
        let (work, offered) = (work / seconds, offered / seconds);
        Run { multiple, seed, goodput: load.totals.goodput_per_s, work, offered, load }
    }

    fn rate(&self, count: u64) -> f64 {
        count as f64 / self.load.totals.seconds
    }

    fn refused_per_s(&self) -> f64 {
        self.rate(self.load.totals.counts.group(Group::Refused))
    }

    fn failed_per_s(&self) -> f64 {
        let counts = &self.load.totals.counts;
        self.rate(counts.sent() - counts.of(Fate::Ok) - counts.group(Group::Refused))
    }

    fn line(&self, scenario: &str) -> String {
        let (load, mut line) = (&self.load, String::new());
        let latency = load.latency.unwrap_or_default();
        // A text takes all that is written.
        let _ = writeln!(
            line,
            "{scenario},{},{},{:.2},{:.2},{:.4},{:.4},{:.2},{:.2},{:.2},{:.3},{:.3},{:.3}",
            self.multiple,
            self.seed,
            load.totals.offered_per_s,
            self.goodput,
            self.work,
            self.offered,
            self.refused_per_s(),
            self.failed_per_s(),
            self.rate(load.totals.counts.group(Group::Unsent)),
            latency.p50_ns as f64 / 1e6,
            latency.p99_ns as f64 / 1e6,
            super::p99_ms(load.lateness),
        );
        line
    }
}
