//! A storm of retries: ten times the capacity for 10 s from clients who ask again at once when they are refused, then 0.7 times.
//!
//! Before it there is 0.7 times, too: that goodput is what must be there again 5 s after the storm.

use mayfly_benches::{
    plot::{self, Look, Plot, Series},
    report::{Aim, Report},
};
use mayfly_load::{
    Pace, Profile, Report as Load, Spacing, Target,
    outcome::{Group, Outcome as Fate},
};

use super::{COUNT, Outcome, Stage, median};

const STORM: f64 = 10.0;
const NORMAL: f64 = 0.7;
/// How often a client asks in all, without any wait.
const ATTEMPTS: u32 = 50;
/// The storm may be felt for so long after it.
const RECOVERY_S: usize = 5;
const AIM: f64 = 95.0;

/// Seconds: before, the storm, and after it.
struct Script {
    before: usize,
    storm: usize,
    after: usize,
}

pub(super) fn measure(stage: &Stage<'_>, report: &mut Report) -> Outcome<()> {
    report.section("a storm of retries");
    let script = if stage.seconds < 30.0 {
        Script { before: 4, storm: 4, after: RECOVERY_S + 4 }
    } else {
        Script { before: 10, storm: 10, after: RECOVERY_S + 15 }
    };
    let platform = stage.start(&[], &[("count", COUNT)])?;
    let targets = [Target::new("count")];
    let capacity = stage.capacity(&platform, &targets)?;
    let machines = platform.machines()?;
    let mut seen = Vec::new();
    for seed in 1..=stage.seeds {
        let phases = format!(
            "{}:{}s,{}:{}s,{}:{}s",
            capacity * NORMAL,
            script.before,
            capacity * STORM,
            script.storm,
            capacity * NORMAL,
            script.after
        );
        let profile = Profile::parse(&phases, std::time::Duration::ZERO)?;
        // Even, so that a second differs from another by what the server does.
        let pace = Pace::Open { profile, spacing: Spacing::Even };
        let load = stage.load(&platform, &targets, pace, seed, |setting| setting.attempts = ATTEMPTS)?;
        let seconds = Seconds::of(&load, script.before + script.storm + script.after);
        if seed == 1 {
            seconds.plot(report)?;
        }
        seen.push(seconds.judge(&script, report, seed));
    }
    report.aim("goodput from 5 s after it, of that before", Aim::AtLeast(AIM), median(seen), "%");
    let left = platform.machines()?;
    let ended = machines.iter().filter(|machine| !left.contains(machine)).count();
    report.aim("machines that ended", Aim::AtMost(0.0), ended as f64, "");
    Ok(())
}

/// What there was in each second of a run.
struct Seconds {
    offered: Vec<f64>,
    answered: Vec<f64>,
    refused: Vec<f64>,
}

impl Seconds {
    fn of(load: &Load, count: usize) -> Seconds {
        let mut seconds = Seconds { offered: vec![0.0; count], answered: vec![0.0; count], refused: vec![0.0; count] };
        for point in load.timeline.points.iter().filter(|point| (point.at_s as usize) < count) {
            let second = point.at_s as usize;
            seconds.offered[second] += point.offered as f64;
            seconds.answered[second] += point.done.of(Fate::Ok) as f64;
            seconds.refused[second] += point.done.group(Group::Refused) as f64;
        }
        seconds
    }

    /// What of the former goodput is there again, in percent.
    fn judge(&self, script: &Script, report: &mut Report, seed: u64) -> f64 {
        let mean = |seconds: &[f64]| seconds.iter().sum::<f64>() / seconds.len() as f64;
        // Not the first second: machines are bound in it.
        let former = mean(&self.answered[1..script.before]);
        let (storm, after) =
            (&self.answered[script.before..][..script.storm], &self.answered[script.before + script.storm..]);
        let back = after.iter().position(|&answered| answered >= former * AIM / 100.0);
        let attempts = mean(&self.refused[script.before..][..script.storm]);
        let notes = format!("{:.1}/s before, {:.1}/s and {attempts:.0} refusals/s in the storm", former, mean(storm));
        let seconds = back.map_or(f64::NAN, |second| second as f64);
        report.amount(&format!("seed {seed}: first second of as much again after the storm"), seconds, "s", &notes);
        mean(&after[RECOVERY_S..]) * 100.0 / former
    }

    fn plot(&self, report: &mut Report) -> Outcome<()> {
        let line = |label: &str, values: &[f64]| {
            Series::new(
                label,
                Look::Line,
                values.iter().enumerate().map(|(at, &value)| (at as f64, value.max(0.1))).collect(),
            )
        };
        let series = vec![
            line("first attempts", &self.offered),
            line("answered", &self.answered),
            line("refused", &self.refused),
        ];
        let plot = Plot {
            title: "A storm of retries, second by second".into(),
            x: plot::linear("s", &series, |point| point.0),
            y: plot::log("per second", &series, |point| point.1),
            series,
        };
        Ok(report.plot("storm", &plot, "Clients ask up to 50 times, without any wait, while they are refused.")?)
    }
}
