//! Overload: goodput past what the machine can bear, and what else must hold there.
//!
//! Platforms run on one CPU, the tool that sends on another. Loads are open: requests leave when they should, whatever the answers do. What is
//! played, each part in a file of its own:
//!
//! - [`goodput`]: 0.8, 1, 2, 5 and 10 times the capacity;
//! - [`storm`]: ten times the capacity from clients who ask again at once, and what is after that;
//! - [`arrivals`]: LightVM's figure, service time over the number of the arrival;
//! - [`reserved`]: a function at ten times its reserved concurrency beside a quiet one;
//! - [`noisy`]: six kinds of bad neighbours;
//! - [`refused`]: who was refused or hung up has not run;
//! - [`slow`]: 5,000 connections that say nothing.

mod arrivals;
mod goodput;
mod noisy;
mod refused;
mod reserved;
mod slow;
mod storm;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use mayfly_benches::{
    platform::{Platform, Runtime},
    report::Report,
};
use mayfly_load::{Endpoint, Pace, Plan, Profile, Report as Load, Setting, Spacing, Target, run::cpus_allowed};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::{Asked, Outcome};

/// Clients that wait for their answers: enough to keep one CPU busy, too few to stand in a queue for long.
const CLIENTS: usize = 8;
/// Connections that the tool may have, if a part says nothing else.
const CONNECTIONS: usize = 4000;
/// For how long the capacity is looked for.
const CAPACITY_S: f64 = 20.0;
/// Load before one that counts.
const LEAD: Duration = Duration::from_secs(2);
/// Between loads, so that each finds what a quiet machine is.
const PAUSE: Duration = Duration::from_secs(3);
/// One machine of each function.
const ONE_MACHINE: [&str; 2] = ["--instances-per-function", "1"];

/// About 5 ms of CPython; the event says how much of it.
const SPIN: &str = "def handler(event, context):\n    total = 0\n    for i in range(event.get('n', 60000)):\n        total += i * i\n    return total\n";
/// About 5 ms, or as long as the event says, and answers how often it ran.
const COUNT: &str = "import time\n\nruns = 0\n\ndef handler(event, context):\n    global runs\n    runs += 1\n    end = time.monotonic() + event.get('s', 0)\n    while time.monotonic() < end:\n        pass\n    for i in range(60000):\n        i * i\n    return runs\n";

type Part = fn(&Stage<'_>, &mut Report) -> Outcome<()>;
const PARTS: [(&str, Part); 7] = [
    ("goodput", goodput::measure),
    ("storm", storm::measure),
    ("arrivals", arrivals::measure),
    ("reserved", reserved::measure),
    ("noisy", noisy::measure),
    ("refused", refused::measure),
    ("slow", slow::measure),
];

/// What is measured of it.
#[derive(Args, Default)]
pub(super) struct Overload {
    /// Parts that are played [default: all]: goodput, storm, arrivals, reserved, noisy, refused, slow.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<String>,
    /// Length of each load; where a part's own is shorter than 60 s, as much shorter [default: 60, with --quick 5].
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Runs of each load, each with another seed [default: 3, with --quick 1].
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
}

impl Overload {
    pub(super) fn measure(&self, asked: &Asked) -> Outcome<()> {
        if let Some(unknown) = self.only.iter().find(|name| PARTS.iter().all(|(known, _)| known != name)) {
            return Err(format!("there is no part {unknown}").into());
        }
        let (seconds, seeds) = if asked.quick { (5.0, 1) } else { (60.0, 3) };
        let (seconds, seeds) = (self.seconds.unwrap_or(seconds), self.seeds.unwrap_or(seeds).max(1));
        let cpus = cpus_allowed();
        let (server_cpu, tool_cpu) = (cpus[0], cpus[cpus.len() - 1]);
        let stage = Stage { asked, cpus, server_cpu, tool_cpu, seconds, seeds };
        let mut report = Report::new("overload", "Overload", asked.quick);
        let notes = format!("the server is on CPU {server_cpu}, the tool on CPU {tool_cpu}; {seeds} seeds");
        report.amount("length of a load", seconds, "s", &notes);
        for (name, part) in PARTS {
            if self.only.is_empty() || self.only.iter().any(|only| only == name) {
                part(&stage, &mut report)?;
            }
        }
        Ok(report.write(&asked.results)?)
    }
}

/// What parts are played with.
struct Stage<'a> {
    asked: &'a Asked,
    cpus: Vec<usize>,
    server_cpu: usize,
    tool_cpu: usize,
    /// Length of a load of 60 s.
    seconds: f64,
    seeds: u64,
}

impl Stage<'_> {
    /// So much of what was asked for instead of 60 s, and not less than two seconds.
    fn seconds(&self, of_sixty: f64) -> Duration {
        Duration::from_secs_f64((self.seconds * of_sixty / 60.0).max(2.0))
    }

    /// A platform on its CPU, with these functions.
    fn start(&self, options: &[&str], functions: &[(&str, &str)]) -> Outcome<Platform> {
        let runtime = Runtime::all().pop().ok_or("there is no runtime")?;
        // What is started now, stays there: threads and machines of the platform have the CPUs of this thread.
        pin(&[self.server_cpu])?;
        let platform = Platform::start_with(&self.asked.program, runtime, options);
        pin(&self.cpus)?;
        let platform = platform?;
        for (name, source) in functions {
            platform.deploy(name, source, "reuse")?;
        }
        Ok(platform)
    }

    /// What clients that wait for their answers get out of it, per second.
    fn capacity(&self, platform: &Platform, targets: &[Target]) -> Outcome<f64> {
        let closed = |duration| Pace::Closed { clients: CLIENTS, duration };
        self.load(platform, targets, closed(self.seconds(CAPACITY_S / 4.0)), 1, |_| {})?;
        let capacity = self.load(platform, targets, closed(self.seconds(CAPACITY_S)), 1, |_| {})?;
        Ok(capacity.totals.goodput_per_s)
    }

    /// An open load at one rate, of clients that know nothing of each other.
    fn constant(
        &self,
        platform: &Platform,
        targets: &[Target],
        rate: f64,
        duration: Duration,
        seed: u64,
    ) -> Outcome<Load> {
        let pace = Pace::Open { profile: Profile::constant(rate, duration), spacing: Spacing::Poisson };
        self.load(platform, targets, pace, seed, |_| {})
    }

    fn load(
        &self,
        platform: &Platform,
        targets: &[Target],
        pace: Pace,
        seed: u64,
        adjust: impl FnOnce(&mut Setting),
    ) -> Outcome<Load> {
        let mut setting = Setting { connections: CONNECTIONS, cpus: vec![self.tool_cpu], ..Setting::default() };
        adjust(&mut setting);
        let (endpoint, targets) = (Endpoint::parse(&platform.endpoint())?, targets.to_vec());
        let plan = Plan { endpoint, credentials: None, targets, pace, seed, setting };
        // Who still asks again when the load is over does not do so for minutes.
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        Ok(mayfly_load::run(plan, &stop, move |now| {
            is_over.store(now.elapsed >= now.duration, Ordering::Relaxed);
        })?)
    }
}

fn pin(cpus: &[usize]) -> Outcome<()> {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|&cpu| set.set(cpu));
    Ok(sched_setaffinity(None, &set)?)
}

/// The value in the middle.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn percent(part: u64, of: u64) -> f64 {
    part as f64 * 100.0 / of as f64
}

/// The 99th percentile of the latency of answers, in milliseconds.
fn p99_ms(latency: Option<mayfly_load::report::Quantiles>) -> f64 {
    latency.map_or(f64::NAN, |latency| latency.p99_ns as f64 / 1e6)
}
