//! Samples in, figures out.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{
    latencies::Latencies,
    machine,
    outcome::{Group, Outcome},
    report::{About, Counts, Curves, FunctionRow, Point, REQUESTS_MAX, Report, Timeline, Totals, trust},
    run::{Plan, Progress},
    sender::{Batch, Sample},
};

/// Digits that are kept of latencies, and of those of the many small parts of a timeline.
const DIGITS: u8 = 3;
const INTERVAL_DIGITS: u8 = 2;
/// A timeline has about so many points, at intervals that people are used to.
const POINTS: f64 = 120.0;
const INTERVALS_S: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0];

/// All that is known so far.
pub(crate) struct Tally {
    interval_ns: u64,
    warm_up_ns: u64,
    end_ns: u64,
    counts: Counts,
    arrivals: u64,
    /// Answers within the measured time, whenever they were asked for.
    ok_in_window: u64,
    ok: Latencies,
    refused: Latencies,
    lateness: Latencies,
    functions: Vec<(Counts, Latencies)>,
    points: Vec<Point>,
    /// Latencies of the intervals that may still get some.
    open: BTreeMap<usize, Latencies>,
    threads: Vec<Thread>,
    live: Live,
    examples: BTreeMap<Outcome, String>,
    requests: Option<Vec<Sample>>,
}

/// What a sender said last.
#[derive(Debug, Clone, Copy, Default)]
struct Thread {
    until_ns: u64,
    in_flight: usize,
    connections: usize,
    cpu: Duration,
}

/// Since progress was told last.
struct Live {
    arrivals: u64,
    counts: Counts,
    ok: Latencies,
    lateness: Latencies,
}

impl Live {
    fn new() -> Live {
        let latencies = || Latencies::new(INTERVAL_DIGITS);
        Live { arrivals: 0, counts: Counts::default(), ok: latencies(), lateness: latencies() }
    }
}

impl Tally {
    pub(crate) fn new(plan: &Plan, threads: usize) -> Tally {
        let seconds = plan.pace.duration().as_secs_f64();
        let interval_s = INTERVALS_S.into_iter().find(|interval| seconds / interval <= POINTS);
        let interval_s = interval_s.unwrap_or(INTERVALS_S[INTERVALS_S.len() - 1]);
        let latencies = || Latencies::new(DIGITS);
        Tally {
            interval_ns: (interval_s * 1e9) as u64,
            warm_up_ns: plan.setting.warm_up.as_nanos() as u64,
            end_ns: plan.pace.duration().as_nanos() as u64,
            counts: Counts::default(),
            arrivals: 0,
            ok_in_window: 0,
            ok: latencies(),
            refused: latencies(),
            lateness: latencies(),
            functions: plan.targets.iter().map(|_| (Counts::default(), latencies())).collect(),
            points: Vec::new(),
            open: BTreeMap::new(),
            threads: vec![Thread::default(); threads],
            live: Live::new(),
            examples: BTreeMap::new(),
            requests: plan.setting.keeps_requests.then(Vec::new),
        }
    }

    pub(crate) fn add(&mut self, batch: Batch) {
        for sample in &batch.samples {
            self.add_to_timeline(sample);
            self.add_to_totals(sample);
        }
        if let Some(requests) = &mut self.requests {
            let room = REQUESTS_MAX.saturating_sub(requests.len());
            requests.extend(batch.samples.iter().take(room));
        }
        self.live.arrivals += batch.arrivals;
        self.add_in_flight(&batch);
        for (outcome, said) in batch.examples {
            self.examples.entry(outcome).or_insert(said);
        }
        self.threads[batch.thread] = Thread {
            until_ns: batch.until_ns,
            in_flight: batch.in_flight,
            connections: batch.connections,
            cpu: batch.cpu,
        };
        let until_ns = self.threads.iter().map(|thread| thread.until_ns).min().unwrap_or(0);
        self.close(self.index(until_ns));
    }

    /// What a thread had in flight since it said so last, and what the others had then.
    fn add_in_flight(&mut self, batch: &Batch) {
        let others = self.threads.iter().enumerate().filter(|(index, _)| *index != batch.thread);
        let in_flight = batch.in_flight_max + others.map(|(_, thread)| thread.in_flight).sum::<usize>();
        for index in self.index(self.threads[batch.thread].until_ns)..=self.index(batch.until_ns) {
            let point = self.point(index);
            point.in_flight_max = point.in_flight_max.max(in_flight);
        }
    }

    /// Intervals before that one get no more samples.
    fn close(&mut self, before: usize) {
        let open = self.open.split_off(&before);
        for (index, latencies) in std::mem::replace(&mut self.open, open) {
            self.point(index).latency = latencies.quantiles();
        }
    }

    fn add_to_timeline(&mut self, sample: &Sample) {
        let latency_ns = sample.done_ns - sample.intended_ns;
        if sample.attempt == 0 {
            let point = self.point(self.index(sample.intended_ns));
            point.offered += 1;
            point.lateness_max_ns = point.lateness_max_ns.max(sample.begun_ns.saturating_sub(sample.due_ns));
            self.live.lateness.record(sample.begun_ns.saturating_sub(sample.due_ns));
        }
        if sample.outcome != Outcome::Unsent {
            self.point(self.index(sample.begun_ns)).sent += 1;
        }
        let done = self.index(sample.done_ns);
        self.point(done).done.add(sample.outcome);
        self.live.counts.add(sample.outcome);
        if sample.outcome == Outcome::Ok {
            self.open.entry(done).or_insert_with(|| Latencies::new(INTERVAL_DIGITS)).record(latency_ns);
            self.live.ok.record(latency_ns);
        }
    }

    fn add_to_totals(&mut self, sample: &Sample) {
        if sample.outcome == Outcome::Ok && (self.warm_up_ns..self.end_ns).contains(&sample.done_ns) {
            self.ok_in_window += 1;
        }
        if sample.intended_ns < self.warm_up_ns {
            return;
        }
        let latency_ns = sample.done_ns - sample.intended_ns;
        let function = &mut self.functions[sample.target];
        self.counts.add(sample.outcome);
        function.0.add(sample.outcome);
        if sample.attempt == 0 {
            self.arrivals += 1;
            self.lateness.record(sample.begun_ns.saturating_sub(sample.due_ns));
        }
        match sample.outcome.group() {
            Group::Ok => {
                self.ok.record(latency_ns);
                function.1.record(latency_ns);
            }
            // From when this attempt was due: what a refusal costs is asked for, not how often a client came back.
            Group::Refused => self.refused.record(sample.done_ns - sample.due_ns),
            _ => {}
        }
    }

    fn index(&self, at_ns: u64) -> usize {
        (at_ns / self.interval_ns) as usize
    }

    fn point(&mut self, index: usize) -> &mut Point {
        if index >= self.points.len() {
            self.points.resize_with(index + 1, Point::default);
        }
        &mut self.points[index]
    }

    /// What has happened since this was asked for last.
    pub(crate) fn progress(&mut self, elapsed: Duration, duration: Duration, since: Duration) -> Progress {
        let live = std::mem::replace(&mut self.live, Live::new());
        let rate = |count: u64| count as f64 / since.as_secs_f64();
        let (ok, refused) = (live.counts.of(Outcome::Ok), live.counts.group(Group::Refused));
        let quantiles = live.ok.quantiles().unwrap_or_default();
        Progress {
            elapsed,
            duration,
            offered: rate(live.arrivals),
            ok: rate(ok),
            refused: rate(refused),
            failed: rate(live.counts.all() - ok - refused),
            latency_ns: [quantiles.p50_ns, quantiles.p99_ns],
            lateness_ns: live.lateness.quantiles().unwrap_or_default().p99_ns,
            in_flight: self.threads.iter().map(|thread| thread.in_flight).sum(),
        }
    }

    /// The end of it. `elapsed` is since the first request could leave.
    pub(crate) fn report(
        mut self,
        plan: &Plan,
        started: SystemTime,
        elapsed: Duration,
        mut notes: Vec<String>,
        was_stopped: bool,
    ) -> Report {
        if self.requests.as_ref().is_some_and(|requests| requests.len() == REQUESTS_MAX) {
            notes.push(format!("requests.csv has the first {REQUESTS_MAX} requests; all the rest is of all of them."));
        }
        self.close(usize::MAX);
        let end_ns = if was_stopped { self.end_ns.min(elapsed.as_nanos() as u64) } else { self.end_ns };
        let seconds = (end_ns.saturating_sub(self.warm_up_ns) as f64 / 1e9).max(1e-9);
        let interval_s = self.interval_ns as f64 / 1e9;
        for (index, point) in self.points.iter_mut().enumerate() {
            point.at_s = index as f64 * interval_s;
        }
        let functions = plan.targets.iter().zip(&self.functions).map(|(target, (counts, latencies))| FunctionRow {
            function: target.function.clone(),
            qualifier: target.qualifier.clone(),
            weight: target.weight,
            counts: *counts,
            latency: latencies.quantiles(),
        });
        let cpu: Duration = self.threads.iter().map(|thread| thread.cpu).sum();
        let mut report = Report {
            about: About::new(plan, machine::examine(), started, notes, was_stopped),
            totals: Totals {
                seconds,
                arrivals: self.arrivals,
                counts: self.counts,
                offered_per_s: self.arrivals as f64 / seconds,
                goodput_per_s: self.ok_in_window as f64 / seconds,
                connections: self.threads.iter().map(|thread| thread.connections).sum(),
                cpu_share: cpu.as_secs_f64() / elapsed.as_secs_f64() / self.threads.len() as f64,
            },
            latency: self.ok.quantiles(),
            refusal_latency: self.refused.quantiles(),
            lateness: self.lateness.quantiles(),
            functions: functions.collect(),
            timeline: Timeline {
                interval_s,
                warm_up_s: self.warm_up_ns as f64 / 1e9,
                load_s: end_ns as f64 / 1e9,
                points: std::mem::take(&mut self.points),
            },
            curves: Curves { ok: self.ok.curve(), refused: self.refused.curve(), lateness: self.lateness.curve() },
            examples: self.examples.iter().map(|(outcome, said)| (outcome.name(), said.clone())).collect(),
            findings: Vec::new(),
            requests: self.requests.unwrap_or_default(),
        };
        report.findings = trust::findings(&report);
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Endpoint, Pace, Profile, Setting, Spacing, Target, outcome::Reason};

    const MS: u64 = 1_000_000;

    fn plan(warm_up_s: u64) -> Plan {
        Plan {
            endpoint: Endpoint::parse("http://127.0.0.1:9").expect("an endpoint"),
            credentials: None,
            targets: vec![Target::new("a"), Target::new("b")],
            pace: Pace::Open { profile: Profile::constant(100.0, Duration::from_secs(10)), spacing: Spacing::Even },
            seed: 1,
            setting: Setting { warm_up: Duration::from_secs(warm_up_s), ..Setting::default() },
        }
    }

    /// Due at `at_ms`, begun 1 ms late, done `latency_ms` after it was due.
    fn sample(target: usize, at_ms: u64, latency_ms: u64, outcome: Outcome) -> Sample {
        let at_ns = at_ms * MS;
        let (begun_ns, done_ns) = (at_ns + MS, at_ns + latency_ms * MS);
        Sample { number: 0, target, attempt: 0, intended_ns: at_ns, due_ns: at_ns, begun_ns, done_ns, outcome }
    }

    fn report(warm_up_s: u64, samples: Vec<Sample>) -> Report {
        let plan = plan(warm_up_s);
        let mut tally = Tally::new(&plan, 1);
        for (index, samples) in samples.chunks(7).enumerate() {
            // The thread is never further than its samples: intervals must not close too early.
            let until_ns = if index == 0 { 0 } else { samples.iter().map(|s| s.intended_ns).min().unwrap_or(0) };
            let batch =
                Batch { samples: samples.to_vec(), until_ns, arrivals: samples.len() as u64, ..Batch::default() };
            tally.add(batch);
        }
        tally.report(&plan, SystemTime::UNIX_EPOCH, Duration::from_secs(12), Vec::new(), false)
    }

    fn is_near(measured_ns: u64, ns: u64) -> bool {
        measured_ns.abs_diff(ns) <= ns / 500
    }

    #[test]
    fn quantiles_of_known_latencies() {
        // 1 to 1000 ms, one each: the q-th quantile is the (1000·q)-th of them.
        let report = report(0, (1..=1000).map(|ms| sample(0, ms, ms, Outcome::Ok)).collect());
        let quantiles = report.latency.expect("there are answers");
        assert_eq!(quantiles.count, 1000);
        let measured = [quantiles.p50_ns, quantiles.p90_ns, quantiles.p99_ns, quantiles.p999_ns, quantiles.max_ns];
        for (measured, ms) in measured.into_iter().zip([500, 900, 990, 999, 1000]) {
            assert!(is_near(measured, ms * MS), "{measured} is not {ms} ms");
        }
        assert!(is_near(quantiles.mean_ns, 500_500_000), "{}", quantiles.mean_ns);
        let lateness = report.lateness.expect("all were late");
        assert!(is_near(lateness.p50_ns, MS) && is_near(lateness.max_ns, MS));
        let curve = report.curves.ok;
        assert_eq!((curve[0].0, curve.len()), (0.0, 25), "from the least to one in a thousand");
        assert!(curve.is_sorted_by_key(|&(_, latency)| latency));
    }

    #[test]
    fn everything_is_counted_once_and_in_its_place() {
        let refused = Outcome::Refused(Reason::ReservedConcurrency);
        let mut samples = vec![
            sample(0, 50, 10, Outcome::Ok),
            sample(1, 120, 100, refused),
            sample(0, 150, 20, Outcome::FunctionError),
            sample(1, 9_990, 2_000, Outcome::Ok),
            sample(1, 9_999, 1, Outcome::Unsent),
        ];
        samples.push(Sample { attempt: 1, due_ns: 220 * MS, ..sample(1, 120, 140, Outcome::Ok) });
        let report = report(0, samples);
        assert_eq!((report.totals.arrivals, report.totals.counts.all(), report.totals.counts.sent()), (5, 6, 5));
        assert_eq!(report.totals.counts.of(refused), 1);
        let [a, b] = [0, 1].map(|index| report.functions[index].counts);
        assert_eq!((a.all(), b.all(), b.group(Group::Ok)), (2, 4, 2));
        // The answer that came after the load had ended is an answer, but no goodput.
        assert!((report.totals.goodput_per_s - 0.2).abs() < 1e-9, "{}", report.totals.goodput_per_s);
        assert!((report.totals.offered_per_s - 0.5).abs() < 1e-9);

        let points = &report.timeline.points;
        assert!((report.timeline.interval_s - 0.1).abs() < 1e-9);
        assert_eq!((points[0].offered, points[0].done.all()), (1, 1));
        assert_eq!((points[1].offered, points[1].done.all()), (2, 1));
        assert_eq!((points[2].offered, points[2].done.of(refused), points[2].done.of(Outcome::Ok)), (0, 1, 1));
        assert_eq!(points[119].done.of(Outcome::Ok), 1);
        assert_eq!(points.iter().map(|point| point.offered).sum::<u64>(), 5);
        assert_eq!(points.iter().map(|point| point.done.all()).sum::<u64>(), 6);
        let latency = points[2].latency.expect("an answer");
        assert!(latency.max_ns.abs_diff(140 * MS) < MS, "from when the client first asked: {}", latency.max_ns);
    }

    #[test]
    fn the_warm_up_is_shown_and_not_counted() {
        let report = report(5, vec![sample(0, 4_999, 10, Outcome::Ok), sample(0, 5_000, 20, Outcome::Ok)]);
        assert_eq!(report.totals.arrivals, 1);
        assert_eq!(report.latency.expect("an answer").count, 1);
        assert_eq!(report.timeline.points.iter().map(|point| point.offered).sum::<u64>(), 2);
        assert!((report.totals.seconds - 5.0).abs() < 1e-9);
    }

    #[test]
    fn progress_is_of_the_last_second() {
        let mut tally = Tally::new(&plan(0), 1);
        let second = Duration::from_secs(1);
        let samples = vec![sample(0, 10, 5, Outcome::Ok), sample(0, 10, 5, Outcome::Broken)];
        tally.add(Batch { samples, arrivals: 3, in_flight: 1, ..Batch::default() });
        let progress = tally.progress(second, second * 10, second);
        assert_eq!((progress.offered, progress.ok, progress.refused, progress.failed), (3.0, 1.0, 0.0, 1.0));
        assert_eq!(progress.in_flight, 1);
        assert!(progress.latency_ns[0].abs_diff(5 * MS) < MS / 10);
        let progress = tally.progress(second * 2, second * 10, second);
        assert_eq!((progress.offered, progress.ok, progress.latency_ns), (0.0, 0.0, [0, 0]));
    }
}
