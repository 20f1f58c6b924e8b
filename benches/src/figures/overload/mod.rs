//! Goodput past what the machine can bear: 0.8, 1, 2, 5 and 10 times its capacity, in open loops.
//!
//! Starts a platform on one CPU and sends from another. Capacity is what clients that wait for their answers get out of it. Each multiple runs 60 s
//! with each of three seeds; `--quick`: 5 s, one seed. Prints a table with the aims, and writes `overload.json`, `overload.csv` and plots. With `--scenes`, or one `--scene`, plays `scenes.json` instead: what else must hold.

mod results;
mod scenes;
mod slow;

use std::{path::PathBuf, sync::Arc, thread, time::Duration};

use clap::Args;
use mayfly_benches::platform::{Platform, Runtime};
use mayfly_load::{
    Endpoint, Pace, Plan, Profile, Report, Setting, Spacing, Target, duration::show, machine, run::cpus_allowed,
};
use results::{Results, Run};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::{Asked, Outcome};

const MULTIPLES: [f64; 5] = [0.8, 1.0, 2.0, 5.0, 10.0];
/// Clients that wait for their answers: enough to keep one CPU busy, too few to stand in a queue for long.
const CLIENTS: usize = 8;
/// Connections that the tool may have: nearly all that the server takes.
const CONNECTIONS: usize = 4000;
/// Between runs, so that each finds what a quiet machine is.
const PAUSE: Duration = Duration::from_secs(3);

/// About 5 ms of CPython; the event says how much of it.
const SPIN: &str = "def handler(event, context):\n    total = 0\n    for i in range(event.get('n', 60000)):\n        total += i * i\n    return total\n";
const HELLO: &str = "def handler(event, context):\n    return {'message': 'hello'}\n";
const SLEEP: &str = "import time\n\ndef handler(event, context):\n    time.sleep(0.02)\n    return 'slept'\n";
const ALLOCATE: &str = "def handler(event, context):\n    return len(bytearray(4 << 20).hex())\n";
const JSON: &str =
    "import json\n\ndef handler(event, context):\n    return len(json.dumps([{'k': i} for i in range(2000)]))\n";

/// Functions with their weights, by name.
const SCENARIOS: [(&str, &[(&str, f64)]); 2] = [
    ("cpu", &[("spin", 1.0)]),
    ("mix", &[("spin", 1.0), ("hello", 4.0), ("sleep", 2.0), ("allocate", 1.0), ("json", 2.0)]),
];
const FUNCTIONS: [(&str, &str); 5] =
    [("spin", SPIN), ("hello", HELLO), ("sleep", SLEEP), ("allocate", ALLOCATE), ("json", JSON)];

/// About 5 ms, and answers how often it ran.
const COUNT: &str = "runs = 0\n\ndef handler(event, context):\n    global runs\n    runs += 1\n    for i in range(60000):\n        i * i\n    return runs\n";
/// More than a second.
const LONG: &str = "import time\n\ndef handler(event, context):\n    end = time.monotonic() + 1.8\n    while time.monotonic() < end:\n        pass\n";
/// The functions of scenes.
const ACTORS: [(&str, &str); 4] = [("count", COUNT), ("long", LONG), ("noisy", SPIN), ("quiet", SPIN)];
/// One machine of each function, so that `count` has one memory.
const ONE_MACHINE: [&str; 2] = ["--instances-per-function", "1"];

struct Options {
    seconds: u64,
    seeds: u64,
    out: PathBuf,
}

/// What is measured of it.
#[derive(Args, Default)]
pub(super) struct Overload {
    /// Play what else must hold, scene by scene.
    #[arg(long)]
    scenes: bool,
    /// Play that scene.
    #[arg(long, value_name = "NAME")]
    scene: Option<String>,
}

impl Overload {
    pub(super) fn measure(&self, asked: &Asked) -> Outcome<()> {
        let (seconds, seeds) = if asked.quick { (5, 1) } else { (60, 3) };
        let options = Options { seconds, seeds, out: asked.results.clone() };
        std::fs::create_dir_all(&options.out)?;
        let only = self.scene.as_deref();
        overload(asked, options, (only.is_some() || self.scenes).then_some(only))
    }
}

fn overload(asked: &Asked, options: Options, scene_wanted: Option<Option<&str>>) -> Outcome<()> {
    let cpus = cpus_allowed();
    let (server_cpu, tool_cpu) = (cpus[0], cpus[cpus.len() - 1]);
    let machine = machine::examine();
    println!("{}, {} CPUs, {}, load {}", machine.cpu, machine.cores, machine.system, machine.load);
    println!("server on CPU {server_cpu}, tool on CPU {tool_cpu}; {} s each, {} seeds", options.seconds, options.seeds);

    if let Some(only) = scene_wanted {
        return play(asked, &options, (server_cpu, tool_cpu), only);
    }

    // What is started now, stays there: threads and machines of the platform have the CPUs of this thread.
    pin(&[server_cpu])?;
    let runtime = Runtime::all().pop().ok_or("there is no runtime")?;
    let platform = Platform::start_with(&asked.program, runtime, &[])?;
    pin(&cpus)?;
    for (name, source) in FUNCTIONS {
        platform.deploy(name, source, "reuse")?;
    }
    let bench = Bench { endpoint: Endpoint::parse(&platform.endpoint())?, tool_cpu, options };
    let mut all = Vec::new();
    for (name, functions) in SCENARIOS {
        all.push(bench.scenario(name, functions)?);
    }
    results::write(&bench.options.out, &machine, &all)?;
    println!("\nwritten to {}", bench.options.out.display());
    Ok(())
}

fn play(asked: &Asked, options: &Options, (server_cpu, tool_cpu): (usize, usize), only: Option<&str>) -> Outcome<()> {
    let cpus = cpus_allowed();
    let program = &asked.program;
    let runtime = Runtime::all().pop().ok_or("there is no runtime")?;
    pin(&[server_cpu])?;
    let platform = Platform::start_with(program, runtime.clone(), &ONE_MACHINE)?;
    let uncontrolled = Platform::start_with(program, runtime, &["--overload-control", "off"])?;
    pin(&cpus)?;
    for platform in [&platform, &uncontrolled] {
        for (name, source) in ACTORS {
            platform.deploy(name, source, "reuse")?;
        }
    }
    let endpoint = Endpoint::parse(&platform.endpoint())?;
    let bench = Bench { endpoint, tool_cpu, options: Options { seconds: 5, seeds: 1, out: options.out.clone() } };
    let targets = [Target::new("count")];
    let closed = Pace::Closed { clients: CLIENTS, duration: Duration::from_secs(5) };
    let capacity = bench.run(&targets, closed, 1)?.totals.goodput_per_s;
    println!("capacity {capacity:.1}/s with {CLIENTS} clients that wait");
    let out = &options.out;
    scenes::Stage { platform: &platform, uncontrolled: &uncontrolled, tool_cpu, capacity, is_quick: asked.quick, out }
        .play(only)?;
    println!("\nwritten to {}", out.display());
    Ok(())
}

struct Bench {
    endpoint: Endpoint,
    tool_cpu: usize,
    options: Options,
}

impl Bench {
    fn scenario(&self, name: &str, functions: &[(&str, f64)]) -> Outcome<Results> {
        let targets: Vec<Target> =
            functions.iter().map(|&(name, weight)| Target { weight, ..Target::new(name) }).collect();
        let seconds = Duration::from_secs(self.options.seconds);
        let closed = |duration| Pace::Closed { clients: CLIENTS, duration };
        self.run(&targets, closed(seconds.min(Duration::from_secs(5))), 1)?;
        let capacity = self.run(&targets, closed(seconds), 1)?.totals.goodput_per_s;
        println!("\n{name}: capacity {capacity:.1}/s with {CLIENTS} clients that wait");
        println!(
            "  multiple  seed  offered/s  goodput/s  refused/s  failed/s  unsent/s        p50        p99  late p99"
        );
        let mut results = Results { scenario: name.to_owned(), capacity, runs: Vec::new() };
        for seed in 1..=self.options.seeds {
            for multiple in MULTIPLES {
                thread::sleep(PAUSE);
                let profile = Profile::constant(capacity * multiple, seconds);
                let report = self.run(&targets, Pace::Open { profile, spacing: Spacing::Poisson }, seed)?;
                let run = Run::new(multiple, seed, &report);
                println!(
                    "{multiple:>10} {seed:>5} {:>10.1} {:>10.1} {:>10.1} {:>9.1} {:>9.1} {:>10} {:>10} {:>9}",
                    run.offered_per_s,
                    run.goodput_per_s,
                    run.refused_per_s,
                    run.failed_per_s,
                    run.unsent_per_s,
                    show(run.p50_ns),
                    show(run.p99_ns),
                    show(run.lateness_p99_ns)
                );
                results.runs.push(run);
            }
        }
        results.judge();
        Ok(results)
    }

    fn run(&self, targets: &[Target], pace: Pace, seed: u64) -> Outcome<Report> {
        let setting = Setting { connections: CONNECTIONS, cpus: vec![self.tool_cpu], ..Setting::default() };
        let (endpoint, targets) = (self.endpoint.clone(), targets.to_vec());
        let plan = Plan { endpoint, credentials: None, targets, pace, seed, setting };
        Ok(mayfly_load::run(plan, &Arc::default(), |_| {})?)
    }
}

fn pin(cpus: &[usize]) -> Outcome<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu);
    }
    Ok(sched_setaffinity(None, &set)?)
}
