//! LightVM's figure: service time over the number of the arrival, in a machine that is asked for a little more than it can do.
//!
//! There it grew with each arrival. Here with overload control and without.

use std::time::Duration;

use mayfly_benches::{
    plot::{self, Look, Plot, Series},
    report::{Aim, Report},
};
use mayfly_load::{Pace, Profile, Report as Load, Spacing, Target, outcome::Outcome as Fate, report::csv};

use super::{COUNT, Outcome, Stage};

const MULTIPLE: f64 = 1.07;
/// Load before the first arrival that counts: until a burst is overload takes half a second, and then there is a line.
const LEAD: Duration = Duration::from_secs(5);
/// Points of a slope, and Student's t for as many.
const BATCHES: usize = 20;
const STUDENT: f64 = 2.101;
/// Dots in the plot.
const DOTS: usize = 1000;

pub(super) fn measure(stage: &Stage<'_>, report: &mut Report) -> Outcome<()> {
    report.section("LightVM's figure");
    let mut series = Vec::new();
    for (control, label) in [("on", "control on"), ("off", "control off")] {
        // Without control nothing else is to refuse or give up, either.
        let unbounded = ["--account-concurrency", "100000", "--queue-wait-ms", "600000"];
        let options = if control == "on" { &unbounded[..0] } else { &unbounded[..] };
        let platform = stage.start(&[&["--overload-control", control], options].concat(), &[("count", COUNT)])?;
        let targets = [Target::new("count")];
        let capacity = stage.capacity(&platform, &targets)?;
        let profile = Profile::constant(capacity * MULTIPLE, LEAD + stage.seconds(30.0));
        let pace = Pace::Open { profile, spacing: Spacing::Poisson };
        let load = stage.load(&platform, &targets, pace, 1, |setting| {
            (setting.keeps_requests, setting.warm_up) = (true, LEAD);
        })?;
        let answers = answers(&load);
        let fit = Fit::of(&answers);
        let notes = format!(
            "{} answers of {} arrivals; 95 %: {:.3} to {:.3}",
            answers.len(),
            load.totals.arrivals,
            fit.low(),
            fit.high()
        );
        report.amount(&format!("slope, {label}"), fit.slope * 1000.0, "ms per 1,000 arrivals", &notes);
        if control == "on" {
            let beyond = fit.low().max(-fit.high());
            report.aim("control on: the slope's interval is beside 0 by", Aim::AtMost(0.0), beyond, "ms per 1,000");
        } else {
            report.aim("control off: lower end of the slope's interval", Aim::AtLeast(0.0), fit.low(), "ms per 1,000");
        }
        let every = answers.len().div_ceil(DOTS).max(1);
        let ends = [answers.first(), answers.last()].into_iter().flatten().map(|&(number, _)| (number, fit.at(number)));
        series.push(Series::new(&format!("{label}, fit"), Look::Dashed, ends.collect()));
        series.push(Series::new(label, Look::Dots, answers.into_iter().step_by(every).collect()));
    }
    let plot = Plot {
        title: "Service time over the number of the arrival, 7 % over the capacity".into(),
        x: plot::linear("arrival", &series, |point| point.0),
        y: plot::linear("ms", &series, |point| point.1),
        series,
    };
    Ok(report.plot("arrivals", &plot, "With control, what would wait for too long is refused; without, all wait.")?)
}

/// Number, from the first that counts, and latency in milliseconds of each request that was answered.
fn answers(load: &Load) -> Vec<(f64, f64)> {
    let mut lines = Vec::new();
    // A vector takes all that is written.
    let _ = csv::requests(load, &mut lines);
    let text = String::from_utf8_lossy(&lines);
    let answered = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let is_ok = fields.get(6).is_some_and(|outcome| *outcome == Fate::Ok.name());
        let counts = fields.get(2)?.parse::<f64>().ok()? >= LEAD.as_secs_f64();
        if is_ok && counts { Some((fields[0].parse().ok()?, fields[5].parse().ok()?)) } else { None }
    });
    let mut answers: Vec<(f64, f64)> = answered.collect();
    answers.sort_by(|one, other| one.0.total_cmp(&other.0));
    let first = answers.first().map_or(0.0, |answer| answer.0);
    answers.into_iter().map(|(number, latency)| (number - first, latency)).collect()
}

/// The straight line through points, and half the width of its slope's interval of 95 %.
struct Fit {
    slope: f64,
    half: f64,
    through: (f64, f64),
}

impl Fit {
    /// Neighbours in a queue wait for the same things, so the points are not independent: they are taken together in [`BATCHES`], whose means nearly are.
    fn of(points: &[(f64, f64)]) -> Fit {
        if points.len() < BATCHES * 2 {
            return Fit { slope: f64::NAN, half: f64::NAN, through: (0.0, f64::NAN) };
        }
        let mean = |values: &mut dyn Iterator<Item = f64>, count: usize| values.sum::<f64>() / count as f64;
        let batches: Vec<(f64, f64)> = points
            .chunks(points.len().div_ceil(BATCHES))
            .map(|batch| {
                (mean(&mut batch.iter().map(|p| p.0), batch.len()), mean(&mut batch.iter().map(|p| p.1), batch.len()))
            })
            .collect();
        let count = batches.len();
        let (x, y) = (mean(&mut batches.iter().map(|b| b.0), count), mean(&mut batches.iter().map(|b| b.1), count));
        let spread: f64 = batches.iter().map(|b| (b.0 - x).powi(2)).sum();
        let slope = batches.iter().map(|b| (b.0 - x) * (b.1 - y)).sum::<f64>() / spread;
        let rest: f64 = batches.iter().map(|b| (b.1 - y - slope * (b.0 - x)).powi(2)).sum();
        Fit { slope, half: STUDENT * (rest / (count - 2) as f64 / spread).sqrt(), through: (x, y) }
    }

    fn at(&self, x: f64) -> f64 {
        self.through.1 + self.slope * (x - self.through.0)
    }

    /// In milliseconds per 1,000 arrivals, as the other end.
    fn low(&self) -> f64 {
        (self.slope - self.half) * 1000.0
    }

    fn high(&self) -> f64 {
        (self.slope + self.half) * 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_has_an_interval_that_it_is_in() {
        let noise = |at: usize| ((at * 7919) % 101) as f64 / 10.0 - 5.0;
        let points =
            |slope: f64| (0..2000).map(|at| (at as f64, 20.0 + slope * at as f64 + noise(at))).collect::<Vec<_>>();
        for slope in [0.0, 0.01, -0.02] {
            let fit = Fit::of(&points(slope));
            assert!(
                fit.low() <= slope * 1000.0 && slope * 1000.0 <= fit.high(),
                "{slope}: {} to {}",
                fit.low(),
                fit.high()
            );
            assert!((fit.at(1000.0) - 20.0 - slope * 1000.0).abs() < 1.0 && fit.high() - fit.low() < 1.0);
        }
        assert!(Fit::of(&points(0.0)[..30]).slope.is_nan(), "too few");
    }
}
