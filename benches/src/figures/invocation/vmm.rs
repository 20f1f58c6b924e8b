//! The parts of an invocation, in the vmm alone: the very snapshots that the platform made, bound in this process.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mayfly_abi::record::INVOKE;
use mayfly_benches::distribution::Distribution;
use mayfly_benches::report::Report;
use mayfly_vmm::{Host, ImageFile, Machine, Mailbox, ResetStats, Snapshot, Stop, Usage};

use super::EVENT;
use crate::figures::Outcome;

pub(in crate::figures) const META: &[u8] = br#"{"request_id":"00000000-0000-0000-0000-000000000000","deadline_ms":9999999999999,"invoked_function_arn":"arn","client_context":null,"identity":null,"trace_id":null,"tenant_id":null}"#;
const INIT: &[u8] = br#"{"handler":"operator.is_","environment":{},"function_name":"f","function_version":"1","memory_limit_in_mb":"128","log_group_name":"g","log_stream_name":"s"}"#;
const TIMEOUT: Duration = Duration::from_secs(10);

/// The files of a function that the platform deployed.
pub(in crate::figures) struct Files {
    pub(in crate::figures) runtime: PathBuf,
    pub(in crate::figures) function: PathBuf,
    pub(in crate::figures) images: Vec<PathBuf>,
}

pub(super) fn measure(data_dir: &Path, report: &mut Report, runs: usize) -> Outcome<()> {
    let host = Host::open()?;
    let files = find_files(data_dir, &host)?;
    let (base, top) = (Snapshot::open(&files.runtime, &host.build())?, Snapshot::open(&files.function, &host.build())?);
    let images = files.images.iter().map(|path| ImageFile::open(path)).collect::<Result<Vec<_>, _>>()?;
    let images: Vec<&ImageFile> = images.iter().collect();
    let header = top.header().clone();

    let mut working_set = None;
    let (mut create, mut bind, mut first, mut warm, mut reset, mut after_reset) = Default::default();
    let (mut usage, mut stats) = (Usage::default(), ResetStats::default());
    let mut faults = Faults::default();
    for round in 0..runs / 20 + 1 {
        let start = Instant::now();
        let mut machine = Machine::new(&host, Mailbox::new()?)?;
        let created = Instant::now();
        let faults_before = page_faults()?;
        let before_bind = Instant::now();
        machine.bind(&base, Some(&top), &images, header.memory_bytes, header.tmp_bytes, working_set.as_ref())?;
        let bind_took = before_bind.elapsed();
        faults.bind = page_faults()? - faults_before;
        let answered = run(&mut machine)?.0;
        faults.first_run = page_faults()? - faults_before - faults.bind;
        if round == 0 {
            // The first has no working set: it is not what is measured.
            working_set = Some(machine.working_set()?);
            continue;
        }
        Distribution::add(&mut create, created - start);
        Distribution::add(&mut bind, bind_took);
        Distribution::add(&mut first, answered);
        let faults_before = page_faults()?;
        for _ in 0..10 {
            let (duration, used) = run(&mut machine)?;
            Distribution::add(&mut warm, duration);
            usage = used;
        }
        faults.warm = page_faults()? - faults_before;
        for index in 0..10 {
            stats = machine.reset()?;
            Distribution::add(&mut reset, Duration::from_nanos(stats.duration_ns));
            let faults_before = page_faults()?;
            Distribution::add(&mut after_reset, run(&mut machine)?.0);
            if index > 0 {
                faults.after_reset += page_faults()? - faults_before;
            }
        }
    }
    primed(&host, (&base, &top), &images, report, runs / 20)?;
    let prefetched = working_set.map_or(0, |set| set.pages());
    report.add("vmm: make a VM (shell)", &create, "");
    report.add(
        "vmm: bind",
        &bind,
        &format!(
            "{} faults; {prefetched} pages prefetched, {} runs mapped",
            faults.bind,
            base.runs().len() + top.runs().len()
        ),
    );
    report.add("vmm: first run after bind", &first, &format!("{} faults", faults.first_run));
    report.add(
        "vmm: run, warm",
        &warm,
        &format!("{} exit, {} system calls, {} faults in ten runs", usage.exits, usage.system_calls, faults.warm),
    );
    report.add("vmm: reset", &reset, &format!("{} pages copied, {} zeroed", stats.copied_pages, stats.zeroed_pages));
    let rounds = runs as u64 / 20;
    let note = format!("{:.1} faults each", faults.after_reset as f64 / (9 * rounds) as f64);
    report.add("vmm: run after reset", &after_reset, &note);
    save(&mut Machine::new(&host, Mailbox::new()?)?, (&base, &top), &images, report)
}

fn primed(
    host: &Host,
    (base, top): (&Snapshot, &Snapshot),
    images: &[&ImageFile],
    report: &mut Report,
    runs: usize,
) -> Outcome<()> {
    let (header, below) = (top.header(), base.header());
    let base_images = &images[..below.images as usize];
    let [mut prime, mut bind, mut first, mut second]: [Distribution; 4] = Default::default();
    let mut faults = Faults::default();
    for _ in 0..runs {
        let mut machine = Machine::new(host, Mailbox::new()?)?;
        let start = Instant::now();
        machine.bind(base, None, base_images, below.memory_bytes, below.tmp_bytes, None)?;
        for (kind, meta, event) in [(mayfly_abi::record::INIT, INIT, &b""[..]), (INVOKE, META, EVENT)] {
            let bytes = machine.mailbox().put_event(kind, 0, meta, event)?;
            let (stop, _) = machine.run(bytes, TIMEOUT, &mut Vec::new())?;
            assert_eq!(stop, Stop::Next);
        }
        machine.reset()?;
        prime.add(start.elapsed());
        let faults_before = page_faults()?;
        let start = Instant::now();
        machine.bind(base, Some(top), images, header.memory_bytes, header.tmp_bytes, None)?;
        bind.add(start.elapsed());
        faults.bind = page_faults()? - faults_before;
        first.add(run(&mut machine)?.0);
        faults.first_run = page_faults()? - faults_before - faults.bind;
        second.add(run(&mut machine)?.0);
    }
    report.add("vmm: prime a shell", &prime, "");
    report.add("vmm: bind a primed shell", &bind, &format!("{} faults", faults.bind));
    report.add("vmm: first run after that", &first, &format!("{} faults", faults.first_run));
    report.add("vmm: second run after that", &second, "");
    Ok(())
}

/// Page faults of this process that the host's kernel counted: those of the vCPU are among them, those that only filled a
/// shadow page table are not.
#[derive(Default)]
struct Faults {
    bind: u64,
    first_run: u64,
    warm: u64,
    /// From the second run after a reset on, summed up: the first takes those of the reset's own first time.
    after_reset: u64,
}

fn page_faults() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/stat")?;
    // The name, which may hold anything, ends with the last parenthesis; minor faults are field 10 (proc_pid_stat(5)).
    let fields = status.rsplit_once(')').ok_or("no name in /proc/self/stat")?.1;
    Ok(fields.split_whitespace().nth(7).ok_or("no faults in /proc/self/stat")?.parse()?)
}

pub(in crate::figures) fn run(machine: &mut Machine) -> Outcome<(Duration, Usage)> {
    let start = Instant::now();
    let bytes = machine.mailbox().put_event(INVOKE, 0, META, EVENT)?;
    let (stop, usage) = machine.run(bytes, TIMEOUT, &mut Vec::new())?;
    let answer = machine.mailbox().answer()?;
    let duration = start.elapsed();
    let _ = machine.mailbox().take_log();
    assert_eq!((stop, &answer.payload[..]), (Stop::Next, &br#"{"message": "hello mayfly"}"#[..]));
    Ok((duration, usage))
}

fn save(
    machine: &mut Machine,
    (base, top): (&Snapshot, &Snapshot),
    images: &[&ImageFile],
    report: &mut Report,
) -> Outcome<()> {
    let header = top.header();
    machine.bind(base, Some(top), images, header.memory_bytes, header.tmp_bytes, None)?;
    run(machine)?;
    let directory = tempfile::tempdir()?;
    let mut saves = Distribution::default();
    for index in 0..10 {
        let file = File::create(directory.path().join(index.to_string()))?;
        let start = Instant::now();
        machine.save(&file)?;
        saves.add(start.elapsed());
    }
    report.add("vmm: save what an invocation changed", &saves, "fdatasync included");
    Ok(())
}

/// A function snapshot in the data directory, its runtime snapshot, and its images by their sizes: of two that are equally large, either, since
/// an imported handler reads neither.
pub(in crate::figures) fn find_files(data_dir: &Path, host: &Host) -> Outcome<Files> {
    let files = |directory: &str| -> Outcome<Vec<PathBuf>> {
        let entries = std::fs::read_dir(data_dir.join(directory))?.map(|entry| entry.map(|entry| entry.path()));
        Ok(entries.collect::<Result<_, _>>()?)
    };
    // Interpreters have a folder of their own.
    let mut image_files = files("images")?;
    image_files.extend(files("runtimes").unwrap_or_default());
    let mut snapshots = Vec::new();
    for path in files("snapshots")? {
        if let Ok(snapshot) = Snapshot::open(&path, &host.build()) {
            snapshots.push((path, snapshot.header().clone()));
        }
    }
    let is_base = |base: u64| snapshots.iter().find(move |(_, header)| header.identity == base);
    // Hello's: that of numpy may be there, too, and is larger.
    let bytes = |path: &PathBuf| std::fs::metadata(path).map_or(u64::MAX, |metadata| metadata.len());
    let functions = snapshots.iter().filter(|(_, header)| header.base != 0);
    let (function, header) = functions.min_by_key(|(path, _)| bytes(path)).ok_or("no function snapshot")?;
    let (runtime, _) = is_base(header.base).ok_or("no runtime snapshot")?;
    let mut images = Vec::new();
    for &bytes in &header.image_bytes[..header.images as usize] {
        let found = image_files.iter().find(|path| {
            !images.contains(*path) && std::fs::metadata(path).is_ok_and(|metadata| metadata.len() == bytes)
        });
        images.push(found.ok_or("an image is missing")?.clone());
    }
    Ok(Files { runtime: runtime.clone(), function: function.clone(), images })
}
