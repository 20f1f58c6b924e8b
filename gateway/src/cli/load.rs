//! `mayfly load`.

use std::{
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Args;
use mayfly_load::{
    Credentials, Endpoint, Pace, Plan, Profile, Progress, Report, Setting, Spacing, Spike, Target, Trace, duration,
    report, run::cpus_allowed,
};

use super::client;

/// Load functions and measure what comes back.
#[derive(Args)]
#[command(
    after_help = "Rates are requests per second. --rate takes several phases, each RATE or FROM..TO, with :DURATION if
it is not --duration; a function takes =WEIGHT and @FILE with its event.

Ends with status 1 if no request was answered.

Examples:
  mayfly load hello --rate 500 --duration 30s --out report
  mayfly load hello --rate 100,200,400,800 --duration 10s             steps
  mayfly load hello --rate 0..2000:60s,2000:30s --poisson             a ramp, then a plateau
  mayfly load hello --rate 100 --duration 2m --spike 2000:5s/30s      5 s at 2000/s every 30 s
  mayfly load hello=3 resize=1@image.json --rate 200 --event '{}'     two functions, 3 to 1
  mayfly load --replay report/requests.csv                            the same again
  mayfly load hello --closed 16                                       16 clients that wait, to compare
  mayfly load hello --rate 5 --endpoint https://lambda.eu-west-1.amazonaws.com

docs/load.md says how to read what comes out."
)]
pub(super) struct Load {
    /// Functions, by name or ARN; with a weight and a file with the event, if wanted
    #[arg(value_name = "NAME[=WEIGHT][@FILE]", required_unless_present = "replay")]
    functions: Vec<String>,
    /// Requests per second, whatever the answers do
    #[arg(long, value_name = "RATE[..RATE][:DURATION],…", default_value = "10", conflicts_with_all = ["replay", "closed"])]
    rate: String,
    /// Length of each phase of --rate that has none of its own, and of --closed
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration::parse)]
    duration: Duration,
    /// Requests come at random, as from independent clients, not evenly
    #[arg(long, conflicts_with_all = ["replay", "closed"])]
    poisson: bool,
    /// Another rate for a while, again and again
    #[arg(long, value_name = "RATE:LENGTH/EVERY", conflicts_with_all = ["replay", "closed"])]
    spike: Option<String>,
    /// Send the requests of a trace when it says: lines of `seconds` or `seconds,function`, or a requests.csv
    #[arg(long, value_name = "FILE", conflicts_with = "closed")]
    replay: Option<PathBuf>,
    /// How many times as fast as it was the trace is replayed
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, requires = "replay")]
    speed: f64,
    /// Instead of a rate, so many clients, each of which waits for its answer before it sends again
    #[arg(long, value_name = "CLIENTS")]
    closed: Option<usize>,
    /// The event, as JSON
    #[arg(long, value_name = "JSON", default_value = "{}")]
    event: String,
    /// File with the event
    #[arg(long, value_name = "FILE", conflicts_with = "event")]
    file: Option<PathBuf>,
    /// Version or alias
    #[arg(long, value_name = "NAME")]
    qualifier: Option<String>,
    /// Load before the run, at its first rate, that is not counted
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    warm_up: Option<Duration>,
    /// Most connections at a time; requests that find none are counted as unsent
    #[arg(long, value_name = "N", default_value_t = 1000)]
    connections: usize,
    /// Longest wait for an answer
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration::parse)]
    timeout: Duration,
    /// Clients hang up when they have waited so long
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    hang_up_after: Option<Duration>,
    /// Clients that are refused or fail ask again at once, until they have asked so often
    #[arg(long, value_name = "ATTEMPTS", num_args = 0..=1, require_equals = true, default_missing_value = "10")]
    retry_at_once: Option<u32>,
    /// Decides whatever is drawn: times, functions
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// CPUs to send from, one thread on each, or any [default: the last one, if there are several]
    #[arg(long, value_name = "N,…")]
    cpu: Option<String>,
    /// Sign requests with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, as is done for amazonaws.com anyway
    #[arg(long)]
    sign: bool,
    /// Region of signatures [default: that of the endpoint, AWS_REGION, us-east-1]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Folder for report.html, report.json, timeline.csv and requests.csv
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Show nothing while it runs
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    server: client::Endpoint,
}

impl Load {
    pub(super) async fn run(self) -> Result<ExitCode, String> {
        if let Some(folder) = &self.out {
            fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
        }
        let plan = self.plan()?;
        let stop = Arc::new(AtomicBool::new(false));
        tokio::spawn(stop_on_interrupt(Arc::clone(&stop)));
        let mut show = Show::new(self.quiet);
        let run = move || mayfly_load::run(plan, &stop, |progress| show.progress(progress));
        let report = tokio::task::spawn_blocking(run).await.map_err(|error| format!("the run failed ({error})"))?;
        let report = report.map_err(|error| error.to_string())?;
        print!("{}", report::text::render(&report));
        match &self.out {
            Some(folder) => {
                write(folder, &report)?;
                println!("\nwritten to {}", folder.join("report.html").display());
            }
            None => println!("\n--out DIR writes a report with plots"),
        }
        Ok(if report.latency.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn plan(&self) -> Result<Plan, String> {
        let endpoint = Endpoint::parse(&self.server.endpoint)?;
        let credentials = self.credentials(&endpoint)?;
        let event = match &self.file {
            Some(path) => read(path)?,
            None => self.event.clone().into_bytes(),
        };
        let template = Target { event: event.into(), qualifier: self.qualifier.clone(), ..Target::new("") };
        let mut targets = Vec::new();
        for text in &self.functions {
            let (mut target, file) = Target::parse(text, &template)?;
            if let Some(file) = file {
                target.event = read(Path::new(file))?.into();
            }
            targets.push(target);
        }
        let pace = self.pace(&mut targets, &template)?;
        let setting = Setting {
            warm_up: self.warm_up.unwrap_or_default(),
            connections: self.connections,
            timeout: self.timeout,
            hang_up_after: self.hang_up_after,
            attempts: self.retry_at_once.unwrap_or(1),
            cpus: self.cpus()?,
            keeps_requests: self.out.is_some(),
        };
        Ok(Plan { endpoint, credentials, targets, pace, seed: self.seed, setting })
    }

    fn pace(&self, targets: &mut Vec<Target>, template: &Target) -> Result<Pace, String> {
        if let Some(path) = &self.replay {
            if !(self.speed > 0.0 && self.speed.is_finite()) {
                return Err(format!("--speed cannot be {}; it must be above 0", self.speed));
            }
            let text = String::from_utf8(read(path)?).map_err(|_| format!("{} is no text", path.display()))?;
            return Ok(Pace::Replay(Trace::parse(&text, self.speed, targets, template)?));
        }
        if let Some(clients) = self.closed {
            let duration = self.duration + self.warm_up.unwrap_or_default();
            return Ok(Pace::Closed { clients: clients.max(1), duration });
        }
        let mut profile = Profile::parse(&self.rate, self.duration)?;
        if let Some(spike) = &self.spike {
            profile = profile.with_spikes(Spike::parse(spike)?)?;
        }
        if let Some(warm_up) = self.warm_up {
            profile = profile.after(warm_up);
        }
        let spacing = if self.poisson { Spacing::Poisson } else { Spacing::Even };
        Ok(Pace::Open { profile, spacing })
    }

    fn credentials(&self, endpoint: &Endpoint) -> Result<Option<Credentials>, String> {
        if !self.sign && endpoint.aws_region().is_none() {
            return Ok(None);
        }
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (Some(access), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) else {
            return Err("requests to be signed need AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; set them".to_owned());
        };
        let region = self.region.clone().or_else(|| endpoint.aws_region().map(ToOwned::to_owned));
        let region = region.or_else(|| variable("AWS_REGION")).unwrap_or_else(|| "us-east-1".to_owned());
        Ok(Some(Credentials::new(access, secret, variable("AWS_SESSION_TOKEN"), region)))
    }

    fn cpus(&self) -> Result<Vec<usize>, String> {
        let allowed = cpus_allowed();
        let Some(text) = &self.cpu else {
            return Ok(if allowed.len() > 1 { allowed.last().copied().into_iter().collect() } else { Vec::new() });
        };
        if text == "any" {
            return Ok(Vec::new());
        }
        let wanted = text.split(',').map(|cpu| cpu.trim().parse().ok().filter(|cpu| allowed.contains(cpu)));
        wanted.collect::<Option<Vec<usize>>>().ok_or_else(|| {
            let allowed = allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            format!("--cpu cannot be '{text}'; it must be any, or some of {allowed}")
        })
    }
}

/// The first interrupt ends the load; what was sent is waited for. The second ends the program.
async fn stop_on_interrupt(stop: Arc<AtomicBool>) {
    while tokio::signal::ctrl_c().await.is_ok() {
        if stop.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("\nno more requests; waiting for answers (again to end at once)");
    }
}

fn write(folder: &Path, report: &Report) -> Result<(), String> {
    let file = |name: &str, write: &dyn Fn(&mut BufWriter<fs::File>) -> io::Result<()>| {
        let path = folder.join(name);
        let written = fs::File::create(&path).and_then(|file| {
            let mut file = BufWriter::new(file);
            write(&mut file)?;
            file.flush()
        });
        written.map_err(|error| cannot_write(&path, &error))
    };
    file("report.html", &|file| file.write_all(report::html::render(report).as_bytes()))?;
    file("report.json", &|file| Ok(serde_json::to_writer_pretty(file, report)?))?;
    file("timeline.csv", &|file| report::csv::timeline(report, file))?;
    file("requests.csv", &|file| report::csv::requests(report, file))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {} ({error}); check the path", path.display()))
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {} ({error}); give another folder with --out", path.display())
}

/// Progress on standard error: a line that changes, or, if nobody looks, a new one every ten seconds.
struct Show {
    is_quiet: bool,
    is_terminal: bool,
    has_header: bool,
}

/// Seconds between lines where there is no terminal.
const LINE_S: u64 = 10;

impl Show {
    fn new(is_quiet: bool) -> Show {
        Show { is_quiet, is_terminal: io::stderr().is_terminal(), has_header: false }
    }

    fn progress(&mut self, progress: &Progress) {
        let is_due = self.is_terminal || progress.elapsed.as_secs().is_multiple_of(LINE_S);
        if self.is_quiet || !is_due {
            return;
        }
        if !std::mem::replace(&mut self.has_header, true) {
            eprintln!(
                "     time  offered/s   goodput/s  refused/s  failed/s        p50        p99   lateness  in flight"
            );
        }
        let [p50, p99] = progress.latency_ns.map(duration::show);
        let line = format!(
            "{:>4}/{:<4} {:>9.0}   {:>9.0}  {:>9.0} {:>9.0} {p50:>10} {p99:>10} {:>10} {:>10}",
            progress.elapsed.as_secs(),
            format!("{:.0}s", progress.duration.as_secs_f64()),
            progress.offered,
            progress.ok,
            progress.refused,
            progress.failed,
            duration::show(progress.lateness_ns),
            progress.in_flight
        );
        if self.is_terminal {
            eprint!("\r{line}\x1b[K");
            let _ = io::stderr().flush();
        } else {
            eprintln!("{line}");
        }
    }
}

impl Drop for Show {
    /// The line that changed is over.
    fn drop(&mut self) {
        if self.is_terminal && self.has_header {
            eprintln!("\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        load: Load,
    }

    fn plan(arguments: &[&str]) -> Result<Plan, String> {
        let arguments = ["load"].iter().chain(arguments);
        Command::try_parse_from(arguments).map_err(|error| error.to_string())?.load.plan()
    }

    #[test]
    fn plans() {
        let folder = tempfile::tempdir().expect("a folder");
        let event = folder.path().join("event.json");
        fs::write(&event, "[1]").expect("written");
        let function = format!("b=3@{}", event.display());
        let wanted = plan(&[
            "a",
            &function,
            "--rate",
            "5:1s,0..10",
            "--duration",
            "4s",
            "--spike",
            "100:1s/2s",
            "--poisson",
            "--warm-up",
            "2s",
            "--event",
            "{\"x\":1}",
            "--qualifier",
            "live",
            "--retry-at-once",
            "--cpu",
            "any",
        ])
        .expect("a plan");
        let [a, b] = wanted.targets.try_into().expect("two functions");
        assert_eq!((a.weight, &a.event[..], a.qualifier.as_deref()), (1.0, &b"{\"x\":1}"[..], Some("live")));
        assert_eq!((b.weight, &b.event[..]), (3.0, &b"[1]"[..]));
        let Pace::Open { profile, spacing } = wanted.pace else { panic!("not open") };
        assert_eq!((spacing, profile.seconds()), (Spacing::Poisson, 7.0));
        assert_eq!([1.0, 2.5, 4.5, 5.5].map(|at| profile.rate_at(at)), [5.0, 5.0, 100.0, 6.25]);
        assert_eq!((wanted.setting.attempts, wanted.setting.cpus), (10, vec![]));
    }

    #[test]
    fn other_paces() {
        let folder = tempfile::tempdir().expect("a folder");
        let trace = folder.path().join("trace.csv");
        fs::write(&trace, "0.5,a\n2,b\n").expect("written");
        let replay = plan(&["--replay", trace.to_str().expect("text"), "--speed", "2"]).expect("a plan");
        assert_eq!((replay.pace.duration(), replay.targets.len()), (Duration::from_secs(1), 2));
        let closed = plan(&["a", "--closed", "4", "--duration", "3s", "--warm-up", "1s"]).expect("a plan");
        assert_eq!(closed.pace, Pace::Closed { clients: 4, duration: Duration::from_secs(4) });
    }

    #[test]
    fn what_cannot_be_is_said() {
        let cases: [(&[&str], &str); 8] = [
            (&[], "NAME"),
            (&["a", "--rate", "x"], "requests per second"),
            (&["a", "--spike", "5"], "2000:5s/30s"),
            (&["a", "--cpu", "9999"], "any, or some of"),
            (&["a", "--file", "/nowhere"], "/nowhere"),
            (&["a", "--closed", "2", "--poisson"], "--poisson"),
            (&["a", "--duration", "1d"], "250ms"),
            (&["a", "--endpoint", "h"], "http://127.0.0.1:9000"),
        ];
        for (arguments, said) in cases {
            let problem = plan(arguments).err().expect("no plan");
            assert!(problem.contains(said), "{arguments:?}: {problem}");
        }
    }
}
