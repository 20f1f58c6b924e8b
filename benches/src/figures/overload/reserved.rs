//! A function at ten times what its reserved concurrency carries out, beside a quiet one.

use mayfly_benches::{
    platform::Platform,
    report::{Aim, Report},
};
use mayfly_load::{
    Pace, Profile, Spacing, Target,
    outcome::{Group, Outcome as Fate},
};
use serde_json::json;

use super::{LEAD, Outcome, SPIN, Stage, median, p99_ms, percent};

const RESERVED: u32 = 2;
const TIMES: f64 = 10.0;
/// The quiet one's load, as a part of the capacity.
const QUIET: f64 = 0.1;
/// The tool has one pool of connections for both, so enough that the quiet one's requests always leave: many wait to be told that they were refused.
const CONNECTIONS: usize = 8000;

pub(super) fn measure(stage: &Stage<'_>, report: &mut Report) -> Outcome<()> {
    report.section("ten times its reserved concurrency, beside a quiet one");
    let platform = stage.start(&[], &[("noisy", SPIN), ("quiet", SPIN)])?;
    reserve(&platform, "noisy", RESERVED)?;
    let capacity = stage.capacity(&platform, &[Target::new("quiet")])?;
    let (mut answered, mut factors, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for seed in 1..=stage.seeds {
        let alone = stage.constant(&platform, &[Target::new("quiet")], capacity * QUIET, stage.seconds(20.0), seed)?;
        let both = [Target { weight: TIMES, ..Target::new("noisy") }, Target { weight: QUIET, ..Target::new("quiet") }];
        let profile = Profile::constant(capacity * (TIMES + QUIET), LEAD + stage.seconds(20.0));
        let pace = Pace::Open { profile, spacing: Spacing::Poisson };
        let load = stage.load(&platform, &both, pace, seed, |setting| {
            // The tool is late while it opens thousands of them.
            (setting.connections, setting.warm_up) = (CONNECTIONS, LEAD);
        })?;
        let of = |name: &str| load.functions.iter().find(|row| row.function == name).ok_or("it was called");
        let (noisy, quiet) = (of("noisy")?, of("quiet")?);
        answered.push(percent(quiet.counts.of(Fate::Ok), quiet.counts.all()));
        factors.push(p99_ms(quiet.latency) / p99_ms(alone.latency));
        shares.push(percent(noisy.counts.group(Group::Refused), load.totals.counts.group(Group::Refused)));
        let notes = format!(
            "{:.1} ms alone; the other one: {} answered, {} refused",
            p99_ms(alone.latency),
            noisy.counts.of(Fate::Ok),
            noisy.counts.group(Group::Refused)
        );
        report.amount(&format!("seed {seed}: p99 of the quiet one"), p99_ms(quiet.latency), "ms", &notes);
    }
    let least = |seeds: Vec<f64>| seeds.into_iter().fold(100.0, f64::min);
    report.aim("the quiet one is answered", Aim::AtLeast(99.9), least(answered), "%");
    report.aim("its p99 against alone", Aim::AtMost(1.5), median(factors), "×");
    report.aim("refusals that the other one gets", Aim::AtLeast(99.0), least(shares), "%");
    Ok(())
}

fn reserve(platform: &Platform, function: &str, concurrency: u32) -> Outcome<()> {
    let path = format!("/2017-10-31/functions/{function}/concurrency");
    let body = json!({ "ReservedConcurrentExecutions": concurrency }).to_string();
    let (status, answer) = platform.client()?.request("PUT", &path, "", body.as_bytes())?;
    if status == 200 { Ok(()) } else { Err(format!("{status} {}", String::from_utf8_lossy(&answer)).into()) }
}
