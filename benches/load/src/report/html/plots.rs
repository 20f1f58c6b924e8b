//! The plots of a report.

use super::super::{
    Point, Report,
    about::rate,
    chart::{Axis, Chart, Series},
};
use crate::{
    duration::show,
    outcome::{Group, Outcome},
};

/// Colours of refusals by reason, the commonest first.
const REFUSED: [&str; 3] = ["refused", "refused-2", "refused-3"];
/// Least latency that is drawn: a microsecond.
const LEAST_S: f64 = 1e-6;

/// What came back, stacked, and what was asked for.
pub(super) fn load(report: &Report) -> Chart {
    let per_second = |count: u64| count as f64 / report.timeline.interval_s;
    let mut base = vec![0.0; report.timeline.points.len()];
    let mut series = Vec::new();
    for (label, class, outcomes) in layers(report) {
        let count = |point: &Point| outcomes.iter().map(|&outcome| point.done.of(outcome)).sum();
        let heights = report.timeline.points.iter().map(|point| per_second(count(point)));
        let tops: Vec<f64> = heights.zip(&base).map(|(height, base)| base + height).collect();
        let points = middles(report).zip(tops.iter().copied()).collect();
        series.push(Series { label, class, base: Some(std::mem::replace(&mut base, tops)), points });
    }
    let offered = report.timeline.points.iter().map(|point| per_second(point.offered));
    let is_within = |at: f64| at < report.timeline.load_s;
    let offered: Vec<f64> =
        offered.zip(middles(report)).map(|(offered, at)| if is_within(at) { offered } else { f64::NAN }).collect();
    let max = base.iter().chain(&offered).copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    series.push(Series {
        label: "offered".into(),
        class: "offered",
        base: None,
        points: middles(report).zip(offered).collect(),
    });
    Chart {
        title: "Requests offered and answers by outcome over time".into(),
        x: time(report),
        y: Axis::linear("requests per second", max, rate),
        series,
        shades: shades(report),
        tips: tips(report),
    }
}

/// Latency of answers over time.
pub(super) fn latency(report: &Report) -> Chart {
    type Pick = fn(&Point) -> Option<u64>;
    let picks: [(&str, &str, Pick); 4] = [
        ("p50", "p50", |point| Some(point.latency?.p50_ns)),
        ("p90", "p90", |point| Some(point.latency?.p90_ns)),
        ("p99", "p99", |point| Some(point.latency?.p99_ns)),
        ("max", "max", |point| Some(point.latency?.max_ns)),
    ];
    let series = picks.map(|(label, class, pick)| line(report, label, class, |point| pick(point).map(seconds)));
    timed(report, "Latency of answers over time", "latency", series.into())
}

/// What waits, over time.
pub(super) fn in_flight(report: &Report) -> Chart {
    let values = || report.timeline.points.iter().map(|point| point.in_flight_max as f64);
    let max = values().fold(1.0, f64::max);
    let points: Vec<(f64, f64)> = middles(report).zip(values()).collect();
    let base = Some(vec![0.0; points.len()]);
    Chart {
        title: "Requests without an answer over time".into(),
        x: time(report),
        y: Axis::linear("requests in flight", max, rate),
        series: vec![Series { label: "most in flight".into(), class: "p90", base, points }],
        shades: shades(report),
        tips: tips(report),
    }
}

/// By how much the tool was late, over time.
pub(super) fn lateness(report: &Report) -> Chart {
    let pick = |point: &Point| (point.offered > 0).then(|| seconds(point.lateness_max_ns));
    let series = vec![line(report, "greatest lateness", "late", pick)];
    timed(report, "The tool's own lateness over time", "lateness", series)
}

/// Latency by quantile. Every step to the right is a tenth of the requests that are left.
pub(super) fn distribution(report: &Report) -> Chart {
    let tail = |quantile: f64| 1.0 / (1.0 - quantile).max(1e-12);
    let curves = [
        ("refusals", "refused", &report.curves.refused),
        ("the tool's own lateness", "late", &report.curves.lateness),
        ("answers", "p99", &report.curves.ok),
    ];
    let curves = curves.into_iter().filter(|(_, _, curve)| !curve.is_empty());
    let series: Vec<Series> = curves
        .map(|(label, class, curve)| Series {
            label: label.into(),
            class,
            base: None,
            points: curve.iter().map(|&(quantile, ns)| (tail(quantile), seconds(ns))).collect(),
        })
        .collect();
    let values = |pick: fn(&(f64, f64)) -> f64| series.iter().flat_map(|series| &series.points).map(pick);
    let mut x = Axis::log("requests that were faster", values(|point| point.0), |_| String::new());
    x.range.0 = 1.0;
    x.ticks = [
        (1.0, "0"),
        (2.0, "50 %"),
        (10.0, "90 %"),
        (100.0, "99 %"),
        (1e3, "99.9 %"),
        (1e4, "99.99 %"),
        (1e5, "99.999 %"),
    ]
    .into_iter()
    .filter(|(value, _)| *value <= x.range.1)
    .map(|(value, text)| (value, text.to_owned()))
    .collect();
    Chart {
        title: "Latency by quantile".into(),
        x,
        y: Axis::log("latency", values(|point| point.1), in_units),
        series,
        shades: Vec::new(),
        tips: Vec::new(),
    }
}

/// What is stacked: outcomes that there are, with refusals by reason and errors together.
fn layers(report: &Report) -> Vec<(String, &'static str, Vec<Outcome>)> {
    let seen = |outcome: Outcome| report.timeline.points.iter().map(|point| point.done.of(outcome)).sum::<u64>();
    let of = |group: Group| -> Vec<Outcome> {
        let there_are = |outcome: &Outcome| outcome.group() == group && seen(*outcome) > 0;
        Outcome::ALL.into_iter().filter(there_are).collect()
    };
    let mut layers = vec![("ok".to_owned(), "ok", vec![Outcome::Ok])];
    layers.push(("function errors".into(), "function-error", of(Group::FunctionError)));
    let mut refusals = of(Group::Refused);
    refusals.sort_by_key(|&outcome| std::cmp::Reverse(seen(outcome)));
    for (position, outcome) in refusals.into_iter().enumerate() {
        layers.push((outcome.label().to_owned(), REFUSED[position.min(REFUSED.len() - 1)], vec![outcome]));
    }
    layers.push(("errors".into(), "error", of(Group::Error)));
    layers.push(("hung up by us".into(), "hung-up", of(Group::HungUp)));
    layers.push(("unsent".into(), "unsent", of(Group::Unsent)));
    layers.retain(|(_, class, outcomes)| *class == "ok" || !outcomes.is_empty());
    layers
}

fn timed(report: &Report, title: &str, label: &str, series: Vec<Series>) -> Chart {
    let values = series.iter().flat_map(|series| &series.points).map(|point| point.1);
    Chart {
        title: title.to_owned(),
        x: time(report),
        y: Axis::log(label, values, in_units),
        series,
        shades: shades(report),
        tips: tips(report),
    }
}

fn line(report: &Report, label: &str, class: &'static str, pick: impl Fn(&Point) -> Option<f64>) -> Series {
    let values = report.timeline.points.iter().map(|point| pick(point).unwrap_or(f64::NAN));
    Series { label: label.to_owned(), class, base: None, points: middles(report).zip(values).collect() }
}

fn seconds(nanoseconds: u64) -> f64 {
    (nanoseconds as f64 / 1e9).max(LEAST_S)
}

/// A round value of an axis: `200 µs`, `5 ms`, `1 s`.
fn in_units(seconds: f64) -> String {
    match seconds {
        ..0.000_999 => format!("{:.0} µs", seconds * 1e6),
        ..0.999 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.0} s"),
    }
}

fn middles(report: &Report) -> impl Iterator<Item = f64> {
    let half = report.timeline.interval_s / 2.0;
    report.timeline.points.iter().map(move |point| point.at_s + half)
}

fn end(report: &Report) -> f64 {
    let last = report.timeline.points.last().map_or(0.0, |point| point.at_s + report.timeline.interval_s);
    last.max(report.timeline.load_s)
}

fn time(report: &Report) -> Axis {
    Axis::exact("time from the first request, s", end(report), |value| {
        format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
    })
}

fn shades(report: &Report) -> Vec<(f64, f64, &'static str)> {
    let (timeline, end) = (&report.timeline, end(report));
    let mut shades = Vec::new();
    if timeline.warm_up_s > 0.0 {
        shades.push((0.0, timeline.warm_up_s, "warm-up, not counted"));
    }
    if end - timeline.load_s > 2.0 * timeline.interval_s {
        shades.push((timeline.load_s, end, "no more requests"));
    }
    shades
}

fn tips(report: &Report) -> Vec<(f64, f64, String)> {
    let interval = report.timeline.interval_s;
    let tip = |point: &Point| {
        let end = point.at_s + interval;
        let per_second = |count: u64| rate(count as f64 / interval);
        let mut text = format!("{:.2} to {end:.2} s\noffered {}/s", point.at_s, per_second(point.offered));
        for (outcome, count) in point.done.some() {
            text.push_str(&format!("\n{} {}/s", outcome.label(), per_second(count)));
        }
        if let Some(latency) = &point.latency {
            let [p50, p90, p99, max] = [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.max_ns].map(show);
            text.push_str(&format!("\np50 {p50}, p90 {p90}, p99 {p99}, max {max}"));
        }
        text.push_str(&format!("\nin flight {}, late by {}", point.in_flight_max, show(point.lateness_max_ns)));
        (point.at_s, end, text)
    };
    report.timeline.points.iter().map(tip).collect()
}
