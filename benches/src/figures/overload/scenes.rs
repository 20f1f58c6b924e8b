//! What else must hold under overload, scene by scene: `scenes.json` says what is done and what is to come out.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, thread, time::Duration};

use mayfly_benches::platform::Platform;
use mayfly_load::{
    Endpoint, Pace, Plan, Profile, Report, Setting, Spacing, Target,
    outcome::{Group, Outcome as Fate},
    report::{csv, html},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{CONNECTIONS, Outcome, slow::Slow};

/// Without `--quick`, phases are as long as they say; with it, this much of that.
const QUICK: f64 = 0.2;
/// From the invocation that takes the processor to those that come behind it.
const HEAD_START: Duration = Duration::from_millis(300);

/// Points of a slope, and Student's t for as many.
const BATCHES: usize = 20;
const STUDENT: f64 = 2.101;

/// One scene.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scene {
    name: String,
    says: String,
    /// Functions, and their weights.
    functions: BTreeMap<String, f64>,
    phases: Vec<Part>,
    /// Reserved concurrency, by function.
    #[serde(default)]
    reserved: BTreeMap<String, u32>,
    hang_up_ms: Option<u64>,
    /// A function that has the processor meanwhile.
    behind: Option<String>,
    #[serde(default = "once")]
    attempts: u32,
    #[serde(default)]
    slow_connections: usize,
    /// Where the part begins that counts.
    #[serde(default)]
    judged_from_s: f64,
    /// `off`: without overload control.
    #[serde(default)]
    control: Option<String>,
    aims: Vec<Aim>,
}

/// So many times the capacity for so long.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    times: f64,
    seconds: f64,
}

/// A figure, and where it should be.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Aim {
    figure: String,
    least: Option<f64>,
    most: Option<f64>,
}

fn once() -> u32 {
    1
}

/// What scenes are played with.
pub struct Stage<'a> {
    pub platform: &'a Platform,
    /// The same without overload control.
    pub uncontrolled: &'a Platform,
    pub tool_cpu: usize,
    /// Invocations of `count` per second that one processor carries out.
    pub capacity: f64,
    pub is_quick: bool,
    pub out: &'a Path,
}

type Figures = BTreeMap<String, f64>;

impl Stage<'_> {
    /// Plays all scenes, or the one of that name, and writes `scenes.json` and a report of each.
    pub fn play(&self, only: Option<&str>) -> Outcome<()> {
        let scenes: Vec<Scene> = serde_json::from_str(include_str!("scenes.json"))?;
        let mut all = Vec::new();
        for scene in scenes.iter().filter(|scene| only.is_none_or(|only| only == scene.name)) {
            println!("\n{}: {}", scene.name, scene.says);
            let figures = self.scene(scene)?;
            figures.iter().for_each(|(name, value)| println!("  {name:<24} {value:.4}"));
            for Aim { figure, least, most } in &scene.aims {
                let value = figures.get(figure).copied().unwrap_or(f64::NAN);
                let is_reached = least.is_none_or(|least| value >= least) && most.is_none_or(|most| value <= most);
                let limit = least.map_or(String::new(), |least| format!(" ≥ {least}"))
                    + &most.map_or(String::new(), |most| format!(" ≤ {most}"));
                println!("  {figure}{limit}: {}", if is_reached { "reached" } else { "NOT reached" });
            }
            all.push(json!({ "scene": scene.name, "says": scene.says, "aims": scene.aims, "figures": figures }));
        }
        let file = json!({ "capacity_per_s": self.capacity, "scenes": all });
        Ok(fs::write(self.out.join("scenes.json"), serde_json::to_vec_pretty(&file)?)?)
    }

    fn scene(&self, scene: &Scene) -> Outcome<Figures> {
        let platform = if scene.control.is_some() { self.uncontrolled } else { self.platform };
        for (function, concurrency) in &scene.reserved {
            let path = format!("/2017-10-31/functions/{function}/concurrency");
            let body = json!({ "ReservedConcurrentExecutions": concurrency }).to_string();
            platform.client()?.request("PUT", &path, "", body.as_bytes())?;
        }
        let before = runs(platform)?;
        let slow = Slow::open(platform.address(), scene.slow_connections)?;
        let report = match &scene.behind {
            None => self.load(platform, scene)?,
            Some(function) => {
                let mut client = platform.client()?;
                let path = format!("/2015-03-31/functions/{function}/invocations");
                let first = thread::spawn(move || client.request("POST", &path, "", b"{}").map(|(status, _)| status));
                thread::sleep(HEAD_START);
                let report = self.load(platform, scene)?;
                match first.join() {
                    Ok(Ok(200)) => report,
                    other => return Err(format!("the invocation before all others failed: {other:?}").into()),
                }
            }
        };
        drop(slow);
        // To be asked is to be run.
        let runs = runs(platform)? - before - 1.0;
        write(&self.out.join(&scene.name), &report)?;
        Ok(figures(scene, &report, runs))
    }

    fn load(&self, platform: &Platform, scene: &Scene) -> Outcome<Report> {
        let shorter = if self.is_quick && scene.behind.is_none() { QUICK } else { 1.0 };
        let phases = scene
            .phases
            .iter()
            .map(|part| format!("{}:{}ms", part.times * self.capacity, (part.seconds * shorter * 1000.0).round()));
        let profile = Profile::parse(&phases.collect::<Vec<_>>().join(","), Duration::ZERO)?;
        let targets = scene.functions.iter().map(|(name, &weight)| Target { weight, ..Target::new(name) }).collect();
        let setting = Setting {
            connections: CONNECTIONS,
            cpus: vec![self.tool_cpu],
            attempts: scene.attempts,
            hang_up_after: scene.hang_up_ms.map(Duration::from_millis),
            warm_up: Duration::from_secs_f64(scene.judged_from_s * shorter),
            keeps_requests: true,
            ..Setting::default()
        };
        let endpoint = Endpoint::parse(&platform.endpoint())?;
        let pace = Pace::Open { profile, spacing: Spacing::Poisson };
        let plan = Plan { endpoint, credentials: None, targets, pace, seed: 1, setting };
        Ok(mayfly_load::run(plan, &Arc::default(), |_| {})?)
    }
}

/// How often `count` has run on the machine that answers, this time included.
fn runs(platform: &Platform) -> Outcome<f64> {
    let (status, body) = platform.client()?.request("POST", "/2015-03-31/functions/count/invocations", "", b"{}")?;
    let text = String::from_utf8_lossy(&body);
    text.parse().map_err(|_| format!("the function that counts answers {status} {text}").into())
}

fn figures(scene: &Scene, report: &Report, runs: f64) -> Figures {
    let counts = &report.totals.counts;
    let (ok, refused, hung_up) = (counts.of(Fate::Ok), counts.group(Group::Refused), counts.group(Group::HungUp));
    let part = |part: u64, of: u64| part as f64 / of as f64;
    let mut figures = Figures::from([
        ("ok".into(), ok as f64),
        ("refusals".into(), refused as f64),
        ("hung_up".into(), hung_up as f64),
        ("answered".into(), part(ok, report.totals.arrivals)),
        ("goodput_of_offered".into(), report.totals.goodput_per_s / report.totals.offered_per_s),
        ("lateness_p99_ms".into(), report.lateness.unwrap_or_default().p99_ns as f64 / 1e6),
    ]);
    // The warm-up runs, too, but is not counted: then there is nothing to compare. Nor is there where it has many machines.
    if scene.judged_from_s == 0.0 && scene.functions.contains_key("count") {
        figures.insert("ran_without_an_answer".into(), runs - ok as f64);
        figures.insert("hung_up_and_ran".into(), (runs - ok as f64) / hung_up as f64);
    }
    for row in &report.functions {
        let (own, ok) = (&row.counts, row.counts.of(Fate::Ok));
        figures.insert(format!("answered_of_{}", row.function), part(ok, own.all()));
        figures.insert(format!("refusals_of_{}", row.function), part(own.group(Group::Refused), refused));
        figures.insert(format!("p99_ms_of_{}", row.function), row.latency.unwrap_or_default().p99_ns as f64 / 1e6);
    }
    let (slope, half) = slope(&answers(report));
    figures.insert("slope_ms_per_1000".into(), slope * 1000.0);
    figures.insert("slope_low".into(), (slope - half) * 1000.0);
    figures.insert("slope_high".into(), (slope + half) * 1000.0);
    figures.retain(|_, value| value.is_finite());
    figures
}

/// Number and latency in milliseconds of each request that was answered.
fn answers(report: &Report) -> Vec<(f64, f64)> {
    let mut lines = Vec::new();
    // A vector takes all that is written.
    let _ = csv::requests(report, &mut lines);
    let text = String::from_utf8_lossy(&lines);
    let answered = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let is_ok = fields.get(6).is_some_and(|outcome| *outcome == Fate::Ok.name());
        if is_ok { Some((fields[0].parse().ok()?, fields[5].parse().ok()?)) } else { None }
    });
    answered.collect()
}

/// Of the straight line through the points, and half the width of its interval of 95 %. Neighbours in a queue wait for the same things, so
/// the points are not independent: they are taken together in [`BATCHES`], whose means nearly are.
fn slope(points: &[(f64, f64)]) -> (f64, f64) {
    if points.len() < BATCHES * 2 {
        return (f64::NAN, f64::NAN);
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
    (slope, STUDENT * (rest / (count - 2) as f64 / spread).sqrt())
}

fn write(folder: &Path, report: &Report) -> Outcome<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("report.html"), html::render(report))?;
    fs::write(folder.join("report.json"), serde_json::to_vec_pretty(report)?)?;
    csv::timeline(report, &mut fs::File::create(folder.join("timeline.csv"))?)?;
    Ok(())
}
