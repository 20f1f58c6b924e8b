//! Many instances side by side: what the N-th costs in time and memory, beside processes and containers.
//!
//! An instance is made here as the platform makes it, without its server: a process forked off the zygote, a VM in it, a function snapshot
//! bound, one event answered, trimmed. All of them stay. LightVM's figures of boot time and of memory against the number of guests. Then the same
//! through the platform, whose shells wait ([`served`]).

mod served;
mod watch;

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use mayfly_abi::record::INVOKE;
use mayfly_benches::baseline::{Unavailable, container::Containers, process::Process};
use mayfly_benches::distribution::Distribution;
use mayfly_benches::memory::{available_bytes, private_bytes, settled_available_bytes};
use mayfly_benches::platform::{Platform, Runtime};
use mayfly_benches::plot::{self, Look, Plot, Series};
use mayfly_benches::report::{Aim, Report};
use mayfly_vmm::{Command, Event, Host, ImageFile, Report as Said, Shell, Snapshot, Stop, Zygote};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::watch::Watch;
use super::invocation::vmm::{Files, META, find_files};
use super::invocation::{ANSWER, EVENT, HELLO};
use super::{Asked, Outcome};

const MIB: f64 = 1_048_576.0;
const TIMEOUT: Duration = Duration::from_secs(30);
/// More are not made when the host has less left than that.
const SPARED_BYTES: i64 = 3 << 30;
/// How often memory is looked at: for the host's is no figure of a single instance.
const SAMPLES: usize = 40;

/// One kind of neighbours: milliseconds until the N-th answered, and MiB that the host had less with N of them.
#[derive(Default)]
struct Crowd {
    answered: Vec<(f64, f64)>,
    memory: Vec<(f64, f64)>,
    /// Of those who answered, where none of the kernel's threads that look at memory ran meanwhile.
    alone: Vec<(f64, f64)>,
}

pub(super) fn measure(asked: &Asked) -> Outcome<()> {
    let (many, containers) = if asked.quick { (200, 20) } else { (2000, 300) };
    raise_open_files();
    let mut report = Report::new("density", "Many instances side by side", asked.quick);
    let mut crowds = Vec::new();
    for runtime in Runtime::all() {
        report.section(runtime.name());
        let name = format!("Mayfly, {}", runtime.name());
        let is_cpython = matches!(runtime, Runtime::CPython(_));
        let crowd = instances(asked, runtime.clone(), many, &mut report)?;
        judge(&mut report, &name, &crowd, false);
        crowds.push((name, crowd));
        if is_cpython {
            report.section(&format!("{}, through the platform", runtime.name()));
            let name = format!("Mayfly served, {}", runtime.name());
            let crowd = served::crowd(asked, runtime, many, &mut report)?;
            judge(&mut report, &name, &crowd, true);
            crowds.push((name, crowd));
        }
    }
    report.section("the same handler elsewhere");
    let of_processes = Process::new(HELLO).map(|process| crowd(many, || process.start(), |started| started.ask(TEXT)));
    let of_containers =
        Containers::new(HELLO).map(|made| crowd(containers, || made.start(), |started| started.ask(TEXT)));
    for (name, found) in [("process", of_processes), ("container", of_containers)] {
        match found {
            Ok(crowd) => {
                let crowd = crowd?;
                judge(&mut report, name, &crowd, false);
                crowds.push((name.to_owned(), crowd));
            }
            Err(Unavailable { why, cure }) => report.missing(name, &why, &cure),
        }
    }
    plots(&mut report, &crowds)?;
    Ok(report.write(&asked.results)?)
}

const TEXT: &str = "{\"name\": \"mayfly\"}";

/// As many as there is memory for, or fewer if one cannot be made. All end with the crowd.
fn crowd<T>(
    many: usize,
    start: impl Fn() -> io::Result<T>,
    ask: impl Fn(&mut T) -> io::Result<String>,
) -> io::Result<Crowd> {
    let (mut crowd, mut all, watch) = (Crowd::default(), Vec::new(), Watch::new());
    let before = settled_available_bytes()?;
    for index in 1..=many {
        let (walked, begun) = (watch.walked(), Instant::now());
        let mut one = start()?;
        let answer = ask(&mut one)?;
        crowd.add(index, begun.elapsed(), watch.walked() > walked);
        if answer.as_bytes() != ANSWER {
            return Err(io::Error::other(answer));
        }
        all.push(one);
        if !crowd.sample(index, many, before)? {
            break;
        }
    }
    Ok(crowd)
}

impl Crowd {
    fn add(&mut self, index: usize, answered: Duration, is_watched: bool) {
        let point = (index as f64, answered.as_secs_f64() * 1e3);
        self.answered.push(point);
        if !is_watched {
            self.alone.push(point);
        }
    }

    /// Looks at memory if it is time to; whether there is enough for more.
    fn sample(&mut self, index: usize, many: usize, before: i64) -> io::Result<bool> {
        if !index.is_multiple_of(many.div_ceil(SAMPLES)) {
            return Ok(true);
        }
        let available = available_bytes()?;
        self.memory.push((index as f64, (before - available) as f64 / MIB));
        Ok(available > SPARED_BYTES)
    }
}

fn instances(asked: &Asked, runtime: Runtime, many: usize, report: &mut Report) -> Outcome<Crowd> {
    // It makes the snapshots, and then only keeps their files.
    let platform = Platform::start(&asked.program, runtime)?;
    platform.deploy("hello", HELLO, "reuse")?;
    let host = Host::open()?;
    let kit = Kit::open(&find_files(&platform.data_dir(), &host)?, &host)?;
    let zygote = Zygote::start(&asked.program, "zygote")?;
    let working_set = tempfile::tempfile()?;
    // The first of all records what it touches, as on the platform.
    let first = kit.instance(&zygote, None, Some(&working_set))?;
    while working_set.metadata()?.len() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (mut crowd, mut shells) = (Crowd::default(), vec![first.shell]);
    let [mut create, mut bind, mut answer]: [Distribution; 3] = Default::default();
    let watch = Watch::new();
    let before = settled_available_bytes()?;
    for index in 1..=many {
        let walked = watch.walked();
        let made = match kit.instance(&zygote, Some(&working_set), None) {
            Ok(made) => made,
            Err(error) => {
                report.missing(&format!("instances {index} to {many}"), &error.to_string(), "Ask `mayfly doctor`");
                break;
            }
        };
        crowd.add(index, made.times.iter().sum(), watch.walked() > walked);
        for (distribution, time) in [&mut create, &mut bind, &mut answer].into_iter().zip(made.times) {
            distribution.add(time);
        }
        shells.push(made.shell);
        if !crowd.sample(index, many, before)? {
            break;
        }
    }
    report.add("process and VM made", &create, "nothing of it was there before");
    report.add("function bound", &bind, "");
    report.add("first event answered", &answer, "");
    let own = shells.iter().map(|shell| private_bytes(shell.pid())).collect::<io::Result<Vec<_>>>()?;
    let own = own.iter().sum::<u64>() as f64 / own.len() as f64 / MIB;
    report.amount("own memory of an instance, mean", own, "MiB", "its process: private pages, page tables");
    Ok(crowd)
}

/// What instances of a function are made of.
struct Kit {
    base: Snapshot,
    top: Snapshot,
    images: Vec<ImageFile>,
}

struct Made {
    shell: Shell,
    /// Of the process with its VM, of the bind, of the first answer.
    times: [Duration; 3],
}

impl Kit {
    fn open(files: &Files, host: &Host) -> Outcome<Kit> {
        let images = files.images.iter().map(|path| ImageFile::open(path)).collect::<Result<Vec<_>, _>>()?;
        let open = |path| Snapshot::open(path, &host.build());
        Ok(Kit { base: open(&files.runtime)?, top: open(&files.function)?, images })
    }

    fn instance(&self, zygote: &Zygote, working_set: Option<&File>, record: Option<&File>) -> Outcome<Made> {
        let begun = Instant::now();
        let mut shell = zygote.spawn()?;
        let Said::Ready = said(&mut shell)? else { return Err("a process without a VM".into()) };
        let created = Instant::now();
        let (base, top, header) = (&self.base, Some(&self.top), self.top.header());
        let images: Vec<&ImageFile> = self.images.iter().collect();
        let (memory_bytes, tmp_bytes) = (header.memory_bytes, header.tmp_bytes);
        shell.send(Command::Bind { base, top, working_set, images: &images, memory_bytes, tmp_bytes })?;
        let Said::Bound = said(&mut shell)? else { return Err("a machine that is not bound".into()) };
        let bound = Instant::now();
        let event = Some(Event { kind: INVOKE, meta: META, payload: EVENT });
        shell.send(Command::Run { event, timeout: TIMEOUT, record })?;
        let Said::Stopped(stopped) = said(&mut shell)? else { return Err("a run without an end".into()) };
        let answered = Instant::now();
        let answer = stopped.answer.map(|answer| answer.payload).unwrap_or_default();
        if stopped.stop != Stop::Next || answer != ANSWER {
            return Err(format!("{:?}: {}", stopped.stop, String::from_utf8_lossy(&answer)).into());
        }
        // What the platform does with one that nobody calls.
        shell.send(Command::Trim)?;
        let Said::Trimmed { .. } = said(&mut shell)? else { return Err("a machine that is not trimmed".into()) };
        Ok(Made { shell, times: [created - begun, bound - created, answered - bound] })
    }
}

/// Waits for what a machine says.
fn said(shell: &mut Shell) -> Outcome<Said> {
    loop {
        match shell.receive()? {
            Some(Said::Failed(why)) => return Err(why.into()),
            Some(said) => return Ok(said),
            None => poll(&mut [PollFd::new(&*shell, PollFlags::IN)], None)?,
        };
    }
}

/// The first against the last of them, and what each took of the host's memory.
fn judge(report: &mut Report, name: &str, crowd: &Crowd, has_aims: bool) {
    let count = crowd.answered.len();
    let (first, last) = ends(report, &format!("{name}: first answer"), &crowd.answered);
    let while_alone = format!("{name}: the same, while no thread of the kernel looked at memory");
    let is_told = (1..count).contains(&crowd.alone.len());
    let alone = is_told.then(|| ends(report, &while_alone, &crowd.alone));
    // Where others gave back more meanwhile, there is no figure.
    let each = crowd.memory.last().map(|(count, mib)| mib / count).filter(|each| *each > 0.0).unwrap_or(f64::NAN);
    report.amount(&format!("{name}: memory that the host has less for each"), each, "MiB", &format!("of {count}"));
    if has_aims {
        report.aim("first answer, the last against the first", Aim::AtMost(1.2), last / first, "×");
        if let Some((first, last)) = alone {
            report.aim("the same, while no thread of the kernel looked at memory", Aim::AtMost(1.2), last / first, "×");
        }
        report.aim("first answer, the last, p50", Aim::AtMost(3.0), last, "ms");
        report.aim(&format!("memory of each of {count}"), Aim::AtMost(1.2), each * MIB / 1e6, "MB");
    }
}

/// Medians of the first and of the last of them, in milliseconds.
fn ends(report: &mut Report, name: &str, points: &[(f64, f64)]) -> (f64, f64) {
    let (count, part) = (points.len(), (points.len() / 4).clamp(1, 100).min(points.len()));
    let mut add = |name: &str, points: &[(f64, f64)]| {
        let mut distribution = Distribution::default();
        points.iter().for_each(|point| distribution.add(Duration::from_secs_f64(point.1 / 1e3)));
        report.add(name, &distribution, "");
        distribution.quantile_us(0.5) / 1e3
    };
    let first = add(&format!("{name}, the first {part}"), &points[..part]);
    (first, add(&format!("{name}, the last {part} of {count}"), &points[count - part..]))
}

fn plots(report: &mut Report, crowds: &[(String, Crowd)]) -> Outcome<()> {
    let series = |look, of: fn(&Crowd) -> &Vec<(f64, f64)>| -> Vec<Series> {
        crowds.iter().map(|(name, crowd)| Series::new(name, look, of(crowd).clone())).collect()
    };
    let (answered, memory) = (series(Look::Dots, |crowd| &crowd.answered), series(Look::Line, |crowd| &crowd.memory));
    let x = "instances that are there";
    let plot = Plot {
        title: "Time until the N-th instance is made and has answered".into(),
        x: plot::linear(x, &answered, |point| point.0),
        y: plot::log("ms (log scale)", &answered, |point| point.1),
        series: answered,
    };
    report.plot("answered", &plot, "Each is made from nothing while all before it stay: process, VM, bind, first event. Served: through the platform, which has shells that wait, and HTTP.")?;
    let plot = Plot {
        title: "Memory that the host has less with N instances".into(),
        x: plot::linear(x, &memory, |point| point.0),
        y: plot::linear("MiB", &memory, |point| point.1),
        series: memory,
    };
    Ok(report.plot(
        "memory",
        &plot,
        "Difference of MemAvailable: everything included. Instances that have answered once and idle.",
    )?)
}

/// Each instance takes three here, as in the server.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the figure says how far it came.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
