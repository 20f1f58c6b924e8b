//! Noisy neighbours: a function that computes a little, at a fifth of the capacity, alone and beside others that misbehave.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use mayfly_benches::{
    http::invocations,
    platform::Platform,
    plot::{self, Look, Plot, Series},
    report::{Aim, Report},
};
use mayfly_load::{Target, outcome::Outcome as Fate};
use serde_json::json;

use super::{Outcome, PAUSE, SPIN, Stage, median, p99_ms, percent, pin};

/// What a neighbour does, from so many clients who begin again as soon as they are answered.
struct Noise {
    name: &'static str,
    clients: u64,
    act: Act,
}

enum Act {
    /// Call a function with this source.
    Call(&'static str),
    /// Deploy functions, one after the other.
    Deploy,
    /// Ask for what there is not, or not as HTTP wants it.
    AskBadly,
}

const LOOP: &str = "def handler(event, context):\n    while True:\n        pass\n";
const EXIT: &str = "import os\n\ndef handler(event, context):\n    os._exit(1)\n";
const LOG: &str = "def handler(event, context):\n    for _ in range(20000):\n        print('x' * 50)\n";
const BOMB: &str =
    "def handler(event, context):\n    kept = []\n    while True:\n        kept.append(bytearray(b'x' * (1 << 20)))\n";

const NOISES: [Noise; 6] = [
    Noise { name: "tight loop", clients: 8, act: Act::Call(LOOP) },
    Noise { name: "exit storm", clients: 4, act: Act::Call(EXIT) },
    Noise { name: "log flood", clients: 4, act: Act::Call(LOG) },
    Noise { name: "deploy storm", clients: 2, act: Act::Deploy },
    Noise { name: "memory bomb", clients: 4, act: Act::Call(BOMB) },
    Noise { name: "bad requests", clients: 4, act: Act::AskBadly },
];
const BAD: [(&str, &str, &[u8]); 4] = [
    ("POST", "/2015-03-31/functions/nobody/invocations", b"{}"),
    ("POST", "/2015-03-31/functions/quiet/invocations", b"{not json"),
    ("DELETE", "/2015-03-31/nothing", b""),
    ("POST", "/2015-03-31/functions/%00/invocations", b"[]"),
];
/// The quiet one's load, as a part of the capacity.
const LOAD: f64 = 0.2;
/// How much longer its p99 may get, and how many must be answered.
const FACTOR: f64 = 1.5;
const ANSWERED: f64 = 99.9;
/// Shortest load that is worth a 99th percentile.
const LEAST: Duration = Duration::from_secs(4);
/// From the begin of the noise to the first request that counts.
const LEAD: Duration = Duration::from_secs(1);

pub(super) fn measure(stage: &Stage<'_>, report: &mut Report) -> Outcome<()> {
    report.section("noisy neighbours");
    let platform = stage.start(&[], &[("quiet", SPIN)])?;
    for noise in &NOISES {
        if let Act::Call(source) = noise.act {
            platform.deploy_with(&noise.function(), source, "reuse", &json!({ "Timeout": 3 }))?;
        }
    }
    let targets = [Target::new("quiet")];
    let rate = stage.capacity(&platform, &targets)? * LOAD;
    let quiet = |seed: u64| -> Outcome<(f64, f64)> {
        let load = stage.constant(&platform, &targets, rate, stage.seconds(15.0).max(LEAST), seed)?;
        Ok((p99_ms(load.latency), percent(load.totals.counts.of(Fate::Ok), load.totals.arrivals)))
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for (at, noise) in NOISES.iter().enumerate() {
        let (mut p99s_alone, mut p99s, mut factors, mut answered) = (vec![], vec![], vec![], vec![]);
        let mut statuses = BTreeMap::new();
        for seed in 1..=stage.seeds {
            thread::sleep(PAUSE);
            // Alone anew each time: the machine is not the same all the time.
            let (p99_alone, _) = quiet(seed)?;
            let (p99, part) = noise.during(&platform, stage.tool_cpu, &mut statuses, || quiet(seed))?;
            p99s_alone.push(p99_alone);
            p99s.push(p99);
            factors.push(p99 / p99_alone);
            answered.push(part);
        }
        if !noise.has_happened(&statuses) {
            return Err(format!("the noise was none: {}: {statuses:?}", noise.name).into());
        }
        let told: Vec<String> = statuses.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        let all: Vec<String> = factors.iter().map(|factor| format!("{factor:.2}")).collect();
        let (p99_alone, p99) = (median(p99s_alone), median(p99s));
        let notes =
            format!("{p99_alone:.1} ms alone; seeds {} ×; the noise was answered {}", all.join(", "), told.join(", "));
        report.amount(&format!("{}: p99", noise.name), p99, "ms", &notes);
        report.aim(&format!("{}: p99 against alone", noise.name), Aim::AtMost(FACTOR), median(factors), "×");
        report.aim(
            &format!("{}: the quiet one is answered", noise.name),
            Aim::AtLeast(ANSWERED),
            answered.into_iter().fold(100.0, f64::min),
            "%",
        );
        alone.push((at as f64, p99_alone));
        beside.push((at as f64, p99));
    }
    let series = vec![Series::new("alone", Look::Bars, alone), Series::new("beside the neighbour", Look::Bars, beside)];
    let plot = Plot {
        title: "p99 of a quiet function, alone and beside a noisy one".into(),
        x: plot::names("neighbour", NOISES.iter().map(|noise| noise.name)),
        y: plot::linear("ms", &series, |point| point.1),
        series,
    };
    Ok(report.plot("noisy", &plot, "Median of the seeds.")?)
}

impl Noise {
    fn function(&self) -> String {
        self.name.replace(' ', "-")
    }

    /// Whether its clients were answered what they wanted, or, where they ask badly, that they do.
    fn has_happened(&self, statuses: &BTreeMap<u16, u64>) -> bool {
        statuses.keys().any(|&status| match self.act {
            Act::Call(_) => status == 200,
            Act::Deploy => status == 201,
            Act::AskBadly => (400..429).contains(&status),
        })
    }

    /// What is seen meanwhile; adds the statuses that its clients were answered.
    fn during<T>(
        &self,
        platform: &Platform,
        cpu: usize,
        statuses: &mut BTreeMap<u16, u64>,
        seen: impl FnOnce() -> Outcome<T>,
    ) -> Outcome<T> {
        let stop = AtomicBool::new(false);
        // Deployed functions have a name each.
        let begun: u64 = statuses.values().sum();
        let statuses = Mutex::new(statuses);
        thread::scope(|scope| {
            for client in 0..self.clients {
                let (stop, statuses) = (&stop, &statuses);
                scope.spawn(move || {
                    // Not on the server's: it is what the platform does for them that is measured. If it fails, they are in the way, and seen.
                    let _ = pin(&[cpu]);
                    for round in begun.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        // A connection that was closed is an answer, too.
                        let status = self.act(platform, client, round).unwrap_or(0);
                        *statuses.lock().expect("no panic").entry(status).or_default() += 1;
                    }
                });
            }
            thread::sleep(LEAD);
            let seen = seen();
            stop.store(true, Ordering::Relaxed);
            seen
        })
    }

    /// One round of one client: the status that it was answered.
    fn act(&self, platform: &Platform, client: u64, round: u64) -> io::Result<u16> {
        match self.act {
            Act::Call(_) => {
                let path = invocations(&self.function());
                Ok(platform.client()?.request("POST", &path, "", b"{}")?.0)
            }
            Act::Deploy => platform.deploy(&format!("new-{client}-{round}"), SPIN, "reuse").map(|_| 201),
            Act::AskBadly => {
                let (method, path, body) = BAD[(round % BAD.len() as u64) as usize];
                Ok(platform.client()?.request(method, path, "", body)?.0)
            }
        }
    }
}
