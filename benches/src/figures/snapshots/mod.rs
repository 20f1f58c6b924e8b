//! Snapshots: save and load against their size, reset and bind against the pages that differ; in the vmm alone.
//!
//! One function writes to as many pages as its event says. What it has written is saved, loaded, bound, and put back. Beside that, [`pages`]: the
//! same bytes copied, and given back with `MADV_DONTNEED`. LightVM's figures of checkpoints.

mod pages;

use std::fs::File;
use std::time::{Duration, Instant};

use mayfly_abi::record::INVOKE;
use mayfly_benches::distribution::Distribution;
use mayfly_benches::platform::{Platform, Runtime};
use mayfly_benches::plot::{self, Look, Plot, Series};
use mayfly_benches::report::{Aim, Report};
use mayfly_vmm::{Host, ImageFile, Machine, Mailbox, Snapshot, Stop};
use serde_json::json;

use self::pages::Floor;
use super::invocation::vmm::{META, find_files};
use super::{Asked, Outcome};

/// As many as 100 MiB have.
const PAGES: [usize; 9] = [1, 4, 16, 64, 256, 1024, 4096, 10_240, 25_600];
const TIMEOUT: Duration = Duration::from_secs(60);
/// Writes to one byte of each page, another one each time.
const WRITER: &str = "\
import mmap

memory = mmap.mmap(-1, 25_600 * 4096)
calls = 0

def handler(event, context):
    global calls
    calls += 1
    pages = event['pages']
    memory[0:pages * 4096:4096] = bytes([calls % 250 + 1]) * pages
    return [calls, pages]
";

/// Points of a plot: pages, and milliseconds.
type Points = Vec<(f64, f64)>;

pub(super) fn measure(asked: &Asked) -> Outcome<()> {
    let rounds = if asked.quick { 5 } else { 30 };
    let mut report = Report::new("snapshots", "Snapshots: saved, loaded, bound, put back", asked.quick);
    let runtime = Runtime::all().pop().ok_or("there is no runtime")?;
    report.section(runtime.name());
    let platform = Platform::start(&asked.program, runtime)?;
    platform.deploy_with("writer", WRITER, "reuse", &json!({ "MemorySize": 256, "Timeout": 60 }))?;
    let host = Host::open()?;
    let files = find_files(&platform.data_dir(), &host)?;
    let images = files.images.iter().map(|path| ImageFile::open(path)).collect::<Result<Vec<_>, _>>()?;
    let base = Snapshot::open(&files.runtime, &host.build())?;
    let function = Snapshot::open(&files.function, &host.build())?;
    let bench = Bench { host, base, images, folder: tempfile::tempdir()?, rounds };
    let saved = bench.save(&function, &mut report)?;
    bench.reset(saved.last().ok_or("nothing was saved")?, &mut report)?;
    Ok(report.write(&asked.results)?)
}

struct Bench {
    host: Host,
    base: Snapshot,
    images: Vec<ImageFile>,
    folder: tempfile::TempDir,
    rounds: usize,
}

impl Bench {
    fn machine(&self) -> Outcome<Machine> {
        Ok(Machine::new(&self.host, Mailbox::new()?)?)
    }

    fn bind(&self, machine: &mut Machine, top: &Snapshot) -> Outcome<Duration> {
        let (images, header): (Vec<&ImageFile>, _) = (self.images.iter().collect(), top.header());
        let begun = Instant::now();
        machine.bind(&self.base, Some(top), &images, header.memory_bytes, header.tmp_bytes, None)?;
        Ok(begun.elapsed())
    }

    /// Saves a guest that wrote to more and more pages, loads what was saved, and binds it. The snapshots, the smallest first.
    fn save(&self, function: &Snapshot, report: &mut Report) -> Outcome<Vec<Snapshot>> {
        let mut machine = self.machine()?;
        self.bind(&mut machine, function)?;
        let [mut saves, mut loads, mut binds, mut runs]: [Points; 4] = Default::default();
        let mut snapshots = Vec::new();
        for (index, pages) in PAGES.into_iter().enumerate() {
            write(&mut machine, pages, Some(index + 1))?;
            let path = self.folder.path().join(pages.to_string());
            let [mut save, mut load, mut bind, mut run]: [Distribution; 4] = Default::default();
            for _ in 0..self.rounds.div_ceil(3) {
                let file = File::create(&path)?;
                let begun = Instant::now();
                machine.save(&file)?;
                save.add(begun.elapsed());
            }
            let mib = std::fs::metadata(&path)?.len() as f64 / 1_048_576.0;
            let open = || Snapshot::open(&path, &self.host.build());
            for _ in 0..self.rounds {
                let begun = Instant::now();
                open()?;
                load.add(begun.elapsed());
            }
            let snapshot = open()?;
            for _ in 0..self.rounds.div_ceil(3) {
                let mut other = self.machine()?;
                bind.add(self.bind(&mut other, &snapshot)?);
                run.add(write(&mut other, pages, Some(index + 2))?);
            }
            let size = format!("{mib:.1} MiB");
            for (what, notes, of, points) in [
                ("saved", "fdatasync included", &save, &mut saves),
                ("loaded", "every byte verified", &load, &mut loads),
                ("bound to an empty shell", "", &bind, &mut binds),
                ("first run after that, which writes to all of them", "", &run, &mut runs),
            ] {
                let notes = if notes.is_empty() { String::new() } else { format!("{size}, {notes}") };
                report.add(&format!("{pages} pages written: {what}"), of, &notes);
                points.push((pages as f64, of.quantile_us(0.5) / 1e3));
            }
            if index == 0 {
                report.aim(&format!("a function's snapshot saved ({size})"), Aim::AtMost(10.0), saves[0].1, "ms");
                report.aim(&format!("a function's snapshot loaded ({size})"), Aim::AtMost(1.0), loads[0].1, "ms");
            }
            snapshots.push(snapshot);
        }
        let series = [("save", saves), ("load", loads), ("bind", binds), ("first run", runs)];
        let title = "Snapshots saved, loaded and bound, by what was written";
        let notes = "Pages on top of those of a small function. The first run writes to all of them again.";
        report.plot("files", &plot(title, "ms (log scale)", series), notes)?;
        Ok(snapshots)
    }

    /// Resets a guest all of whose pages have origins in the snapshot, after it wrote to more and more of them.
    fn reset(&self, snapshot: &Snapshot, report: &mut Report) -> Outcome<()> {
        let mut machine = self.machine()?;
        self.bind(&mut machine, snapshot)?;
        write(&mut machine, 1, None)?;
        machine.reset()?;
        let floor = Floor::new();
        let [mut resets, mut searches, mut copies, mut runs, mut drops, mut faults]: [Points; 6] = Default::default();
        for pages in PAGES {
            let [mut reset, mut search, mut copy, mut run, mut drop, mut fault]: [Distribution; 6] = Default::default();
            let mut put_back = Default::default();
            // All in turn, so that what disturbs one disturbs the others. The first reset finds the pages; it is measured with the others.
            for _ in 0..self.rounds {
                run.add(write(&mut machine, pages, Some(PAGES.len() + 1))?);
                put_back = machine.reset()?;
                reset.add(Duration::from_nanos(put_back.duration_ns));
                let times = floor.measure((put_back.copied_pages + put_back.zeroed_pages) as usize, pages)?;
                copy.add(times.copy);
                drop.add(times.drop);
                fault.add(times.fault);
                write(&mut machine, pages, Some(PAGES.len() + 1))?;
                // A fault of this thread: for all that the machine knows, its guest has written to another page.
                pages::drop_and_fault(1)?;
                search.add(Duration::from_nanos(machine.reset()?.duration_ns));
            }
            let notes = format!("{} copied, {} zeroed", put_back.copied_pages, put_back.zeroed_pages);
            let most = 2.0 * copy.quantile_us(0.5) + 60.0;
            for (what, notes, of, points) in [
                ("run that writes to them, after a reset", "", &run, &mut runs),
                ("reset after the same pages as before", notes.as_str(), &reset, &mut resets),
                ("reset that has to search", "", &search, &mut searches),
                ("memcpy of the pages that were put back", "", &copy, &mut copies),
                ("MADV_DONTNEED", "", &drop, &mut drops),
                ("a write to each page after that", "", &fault, &mut faults),
            ] {
                report.add(&format!("{pages} pages written: {what}"), of, notes);
                points.push((pages as f64, of.quantile_us(0.5)));
            }
            for (what, of) in [("reset", &reset), ("reset that searches", &search)] {
                let what = format!("{what}, {pages} pages (2 × memcpy + 60 µs)");
                report.aim(&what, Aim::AtMost(most.round()), of.quantile_us(0.5), "µs");
            }
        }
        let series = [
            ("run", runs),
            ("reset", resets),
            ("reset, search", searches),
            ("memcpy", copies),
            ("MADV_DONTNEED", drops),
            ("faults after it", faults),
        ];
        let title = "Reset, by pages that the invocation wrote to";
        let notes = "Beside the pages that the event asks for, some hundred of the interpreter are put back. Page tables are searched only after an invocation that took a fault: one that wrote to pages that those before it did not.";
        Ok(report.plot("reset", &plot(title, "µs (log scale)", series), notes)?)
    }
}

/// Has the guest write to so many pages. It must be its so manieth call: a guest that was reset has forgotten those after its snapshot.
fn write(machine: &mut Machine, pages: usize, call: Option<usize>) -> Outcome<Duration> {
    let event = format!("{{\"pages\": {pages}}}");
    let begun = Instant::now();
    let bytes = machine.mailbox().put_event(INVOKE, 0, META, event.as_bytes())?;
    let (stop, _) = machine.run(bytes, TIMEOUT, &mut Vec::new())?;
    let answer = machine.mailbox().answer()?.payload;
    let took = begun.elapsed();
    let _ = machine.mailbox().take_log();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let is_right = call.is_none_or(|call| answer == format!("[{call}, {pages}]"));
    if stop == Stop::Next && is_right { Ok(took) } else { Err(format!("{stop:?}: {answer}").into()) }
}

fn plot<const N: usize>(title: &str, unit: &str, series: [(&str, Points); N]) -> Plot {
    let series: Vec<Series> = series.into_iter().map(|(name, points)| Series::new(name, Look::Line, points)).collect();
    let ticks = PAGES.map(|pages| pages as f64);
    Plot {
        title: title.into(),
        x: plot::log_of("pages that were written (log scale)", &ticks),
        y: plot::log(unit, &series, |point| point.1),
        series,
    }
}
