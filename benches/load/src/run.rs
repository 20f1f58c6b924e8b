//! A run: a plan in, a report out.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    process::{Resource, getrlimit, setpriority_process, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use crate::{
    endpoint::Endpoint,
    profile::Profile,
    report::Report,
    schedule::Spacing,
    sender::{self, Batch, Share},
    sign::{Credentials, Prepared},
    tally::Tally,
    target::Target,
    trace::Trace,
};

/// Files that are open beside connections.
const OTHER_FILES: u64 = 64;
/// From the start of the threads to the first request.
const RUN_UP: Duration = Duration::from_millis(100);
/// Priority of the threads that send.
const NICE: i32 = -15;
/// How often progress is told.
const TICK: Duration = Duration::from_secs(1);

/// What is to be sent, where to, and how.
#[derive(Clone)]
pub struct Plan {
    /// Where to.
    pub endpoint: Endpoint,
    /// Who signs the requests, if they are to be signed.
    pub credentials: Option<Credentials>,
    /// The functions; at least one.
    pub targets: Vec<Target>,
    /// When.
    pub pace: Pace,
    /// Decides whatever is drawn.
    pub seed: u64,
    /// How it is sent.
    pub setting: Setting,
}

/// When requests leave.
#[derive(Debug, Clone, PartialEq)]
pub enum Pace {
    /// At a rate that may change, whatever the answers do.
    Open {
        /// The rate.
        profile: Profile,
        /// The distances between requests.
        spacing: Spacing,
    },
    /// When they did before.
    Replay(Trace),
    /// Each of so many clients sends the next request when it has the answer to the one before.
    Closed {
        /// How many.
        clients: usize,
        /// For how long.
        duration: Duration,
    },
}

/// How requests are sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Not counted: requests of this first part of the run.
    pub warm_up: Duration,
    /// Most connections at a time.
    pub connections: usize,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// After so long without an answer a client hangs up.
    pub hang_up_after: Option<Duration>,
    /// How often a client sends a request that is refused or fails, the first time included. It does not wait in between.
    pub attempts: u32,
    /// CPUs to stay on, one thread on each. None: one thread, anywhere.
    pub cpus: Vec<usize>,
    /// Whether the report is to have every request, up to [`crate::report::REQUESTS_MAX`] of them.
    pub keeps_requests: bool,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            warm_up: Duration::ZERO,
            connections: 1000,
            timeout: Duration::from_secs(60),
            hang_up_after: None,
            attempts: 1,
            cpus: Vec::new(),
            keeps_requests: false,
        }
    }
}

/// The last second of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Since the first request could leave.
    pub elapsed: Duration,
    /// Length of the whole.
    pub duration: Duration,
    /// Requests per second that the plan wanted.
    pub offered: f64,
    /// Answers per second.
    pub ok: f64,
    /// 429 per second.
    pub refused: f64,
    /// Everything else per second.
    pub failed: f64,
    /// Latency of answers in nanoseconds: median and 99th percentile.
    pub latency_ns: [u64; 2],
    /// 99th percentile of the tool's own lateness in nanoseconds.
    pub lateness_ns: u64,
    /// Requests without an answer yet.
    pub in_flight: usize,
}

/// Why there is no run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan has something in it that cannot be done.
    #[error("{0}")]
    Plan(String),
    /// Nobody listens.
    #[error("cannot reach {url} ({source}); start a server with `mayfly serve`, or give another with --endpoint")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// What the system said.
        source: io::Error,
    },
    /// This machine does not let us.
    #[error("this machine does not let it run ({0})")]
    Host(#[from] io::Error),
}

impl Pace {
    /// Time of the last request, or a little after it.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self {
            Pace::Open { profile, .. } => Duration::from_secs_f64(profile.seconds()),
            Pace::Replay(trace) => trace.duration(),
            Pace::Closed { duration, .. } => *duration,
        }
    }
}

/// Carries out a plan; ends early, with what there is until then, when `stop` is set. Blocks the thread, and moves it to the CPUs of the plan.
///
/// # Errors
/// It cannot begin.
pub fn run(plan: Plan, stop: &Arc<AtomicBool>, mut observe: impl FnMut(&Progress)) -> Result<Report, LoadError> {
    let (plan, address, notes) = prepare(plan)?;
    // Adding up must not take the CPU on which the server is measured.
    pin(&plan.setting.cpus);
    let started = SystemTime::now();
    let begin = Instant::now() + RUN_UP;
    let threads = plan.setting.cpus.len().max(1);
    let plan = Arc::new(plan);
    let (samples, batches) = mpsc::channel();
    let senders: Vec<_> = (0..threads)
        .map(|index| {
            let share = Share { plan: Arc::clone(&plan), address, index, threads, begin, stop: Arc::clone(stop) };
            let (cpu, samples) = (plan.setting.cpus.get(index).copied(), samples.clone());
            thread::Builder::new().name(format!("load-{index}")).spawn(move || {
                pin(cpu.as_slice());
                hurry();
                sender::send(share, &samples)
            })
        })
        .collect::<io::Result<_>>()?;
    drop(samples);

    let mut tally = Tally::new(&plan, threads);
    collect(&batches, &mut tally, begin, plan.pace.duration(), &mut observe);
    for sender in senders {
        sender.join().map_err(|_| io::Error::other("a thread has failed; what it said is above"))??;
    }
    let elapsed = begin.elapsed();
    Ok(tally.report(&plan, started, elapsed, notes, stop.load(Ordering::Relaxed)))
}

/// Adds up what the senders say until the last of them has ended.
fn collect(
    batches: &mpsc::Receiver<Batch>,
    tally: &mut Tally,
    begin: Instant,
    duration: Duration,
    observe: &mut impl FnMut(&Progress),
) {
    let mut tick = begin + TICK;
    loop {
        match batches.recv_timeout(tick.saturating_duration_since(Instant::now())) {
            Ok(batch) => tally.add(batch),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= tick {
            observe(&tally.progress(begin.elapsed(), duration, TICK));
            tick += TICK;
        }
    }
}

/// Checks what can be checked before anything is sent. Returns what the user must know, too.
fn prepare(mut plan: Plan) -> Result<(Plan, SocketAddr, Vec<String>), LoadError> {
    let refuse = |problem: String| Err(LoadError::Plan(problem));
    let setting = &mut plan.setting;
    if plan.targets.is_empty() {
        return refuse("there is no function to invoke; name one".into());
    }
    let mut notes = Vec::new();
    let files = open_files().saturating_sub(OTHER_FILES);
    if setting.connections as u64 > files {
        notes.push(format!(
            "Connections were limited to {files}, not {}, by the limit of open files (ulimit -n).",
            setting.connections
        ));
        setting.connections = files as usize;
    }
    if let Pace::Closed { clients, .. } = plan.pace
        && clients > setting.connections
    {
        return refuse(format!("{clients} clients need as many connections; the limit is {}", setting.connections));
    }
    if setting.connections < setting.cpus.len().max(1) {
        return refuse("there must be a connection for every thread; allow more with --connections".into());
    }
    if setting.warm_up >= plan.pace.duration() {
        return refuse("the warm-up is as long as the run; nothing would be measured".into());
    }
    for target in &plan.targets {
        Prepared::new(&plan.endpoint, target, plan.credentials.clone())
            .and_then(|mut prepared| prepared.request())
            .map_err(LoadError::Plan)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = runtime
        .block_on(plan.endpoint.find())
        .map_err(|source| LoadError::Unreachable { url: plan.endpoint.url().to_owned(), source })?;
    Ok((plan, address, notes))
}

/// The limit of open files, raised as far as it may be.
fn open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// The CPUs that this thread may run on.
#[must_use]
pub fn cpus_allowed() -> Vec<usize> {
    let allowed = sched_getaffinity(None).ok();
    allowed.map_or(Vec::new(), |set| (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// Puts this thread before other programs that want its CPU, where that is allowed (root, CAP_SYS_NICE). It asks for little of it, and
/// whatever it has to wait is in the figures.
fn hurry() {
    let _ = setpriority_process(None, NICE);
}

/// Moves this thread to those CPUs. Where that is not allowed it stays where it is; the report says where requests came from.
fn pin(cpus: &[usize]) {
    let mut set = CpuSet::new();
    for &cpu in cpus.iter().filter(|&&cpu| cpu < CpuSet::MAX_CPU) {
        set.set(cpu);
    }
    if set.count() > 0 {
        let _ = sched_setaffinity(None, &set);
    }
}
