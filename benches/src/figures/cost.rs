//! What functions and instances cost: disk, memory, and the first answer of a function with a large library.
//!
//! An instance's own memory is what only its process has (`Private_Dirty` in `smaps_rollup`, the guest's changed pages among it) and the page tables
//! of the process. Pages of snapshots and images are the page cache's, one for all. What the kernel has besides, KVM's own above all, shows only in what the host has available before and after.

use std::io;
use std::path::Path;
use std::time::Duration;

use mayfly_benches::distribution::Distribution;
use mayfly_benches::http::{Client, invocations};
use mayfly_benches::memory::{available_bytes, private_bytes};
use mayfly_benches::platform::{Platform, Runtime};
use mayfly_benches::report::Report;
use serde_json::{Value, json};

use super::invocation::numpy;
use super::{Asked, Outcome};

const MIB: f64 = 1_048_576.0;

pub(super) fn measure(asked: &Asked) -> Outcome<()> {
    let (functions, instances) = if asked.quick { (50, 50) } else { (1000, 500) };
    let mut report = Report::new("cost", "What functions and instances cost", asked.quick);
    for runtime in Runtime::all() {
        report.section(runtime.name());
        let is_cpython = matches!(runtime, Runtime::CPython(_));
        // Everything at once: this is about what is there, not about how it is scheduled.
        let options = ["--overload-control", "off", "--instances-per-function", "1000"];
        let platform = Platform::start_with(&asked.program, runtime, &options)?;
        platform.deploy("first", &hello(0), "reuse")?;
        disk(&platform, &mut report, functions)?;
        memory(&platform, &mut report, instances)?;
        if is_cpython {
            numpy_functions(&platform, &mut report, if asked.quick { 3 } else { 10 })?;
        }
    }
    Ok(report.write(&asked.results)?)
}

/// No two of them have the same code.
fn hello(index: usize) -> String {
    format!(
        "import time\nINDEX = {index}\ndef handler(event, context):\n    time.sleep(event.get('s', 0))\n    return INDEX\n"
    )
}

fn disk(platform: &Platform, report: &mut Report, functions: usize) -> Outcome<()> {
    let before = disk_bytes(&platform.data_dir())?;
    let mut deploys = Distribution::default();
    for index in 1..functions {
        deploys.add(platform.deploy(&format!("hello-{index}"), &hello(index), "reuse")?);
    }
    let added = (disk_bytes(&platform.data_dir())? - before) as f64 / (functions - 1) as f64;
    report.add("deploy of hello to Active", &deploys, "");
    report.amount("disk that a function adds", added / MIB, "MiB", &format!("functions 2 to {functions}"));
    Ok(())
}

/// What is allocated, not how long files are.
fn disk_bytes(folder: &Path) -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { disk_bytes(&entry.path())? } else { metadata.blocks() * 512 };
    }
    Ok(sum)
}

fn memory(platform: &Platform, report: &mut Report, many: usize) -> Outcome<()> {
    // Shells are there before and after; those that wait on a runtime have more than an instance that idles.
    let before = settled(platform)?;
    invoke(&mut platform.client()?, "first", &json!({}))?;
    let one = settled(platform)?;
    let each = per_machine(&before, &one);
    report.amount("memory of an idle instance, of 1", each / MIB, "MiB", "its process: private pages, page tables");
    let available = available_bytes()?;
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..many).map(|_| scope.spawn(|| sleep_in(platform))).collect();
        calls.into_iter().try_for_each(|call| call.join().expect("no panic"))
    })?;
    let all = settled(platform)?;
    let machines = all.len() - one.len();
    let notes = format!("the same, mean of {machines}");
    report.amount(&format!("memory of an idle instance, of {many}"), per_machine(&one, &all) / MIB, "MiB", &notes);
    let all = (available - available_bytes()?) as f64 / machines as f64;
    report.amount("what the host has less for each of them", all / MIB, "MiB", "KVM's own and all else");
    Ok(())
}

fn sleep_in(platform: &Platform) -> io::Result<()> {
    // Less than the timeout of a function, and more than it takes to bind so many.
    let answer = invoke(&mut platform.client()?, "first", &json!({"s": 2.5}))?;
    if answer == json!(0) { Ok(()) } else { Err(io::Error::other(answer.to_string())) }
}

/// The memory of each machine, once they have given back what they do not need: sixty-four a second do, two seconds after they were used.
fn settled(platform: &Platform) -> Outcome<Vec<u64>> {
    std::thread::sleep(Duration::from_secs(12));
    Ok(platform.machines()?.iter().map(|&pid| private_bytes(pid)).collect::<io::Result<Vec<_>>>()?)
}

/// What each of the machines has that are in `after` and were not in `before`.
fn per_machine(before: &[u64], after: &[u64]) -> f64 {
    let bytes = |machines: &[u64]| machines.iter().sum::<u64>() as f64;
    (bytes(after) - bytes(before)) / (after.len() - before.len()).max(1) as f64
}

/// What a function answers to an event.
fn invoke(client: &mut Client, function: &str, event: &Value) -> io::Result<Value> {
    let path = invocations(function);
    let (status, answer) = client.request("POST", &path, "", event.to_string().as_bytes())?;
    if status != 200 {
        return Err(io::Error::other(String::from_utf8_lossy(&answer).into_owned()));
    }
    Ok(serde_json::from_slice(&answer)?)
}

fn numpy_functions(platform: &Platform, report: &mut Report, copies: usize) -> Outcome<()> {
    let before = disk_bytes(&platform.data_dir())?;
    let (mut deploys, mut first, mut later) = Default::default();
    let (deploys, first, later): (&mut Distribution, &mut Distribution, &mut Distribution) =
        (&mut deploys, &mut first, &mut later);
    for copy in 0..copies {
        let name = format!("numpy-{copy}");
        deploys.add(platform.deploy_with_wheels(&name, numpy::SOURCE, "numpy\n", "reuse")?);
        // Two that overlap need two instances: the first is a spare, the second is bound on demand, and its working set is known.
        first.add(numpy::invoke(&mut platform.client()?, &name)?);
        std::thread::scope(|scope| -> io::Result<()> {
            let calls: Vec<_> = (0..2).map(|_| scope.spawn(|| numpy::invoke(&mut platform.client()?, &name))).collect();
            let times = calls.into_iter().map(|call| call.join().expect("no panic")).collect::<io::Result<Vec<_>>>()?;
            times.into_iter().max().into_iter().for_each(|slower| later.add(slower));
            Ok(())
        })?;
    }
    report.add("deploy of a numpy function, pip and upload included", deploys, "");
    report.add("numpy: first invocation after a deploy", first, "numpy.linalg.inv of 8 by 8, HTTP; by a spare");
    report.add("numpy: first invocation of a second instance", later, "the slower of two at a time");
    let added = (disk_bytes(&platform.data_dir())? - before) as f64 / copies as f64;
    report.amount(
        "disk that a numpy function adds",
        added / MIB,
        "MiB",
        "image and snapshot; the package is stored once",
    );
    Ok(())
}
