//! Who gets what of the host: processors by memory size, and memory when others take all they can.
//!
//! `cargo bench -p mayfly-benches --bench shares [-- --quick] [-- --json FILE]`
//!
//! Everything here is counted, not timed: processor time as the kernel accounts it to a process, answers, and bytes. So other load on the machine makes
//! it slower, and does not change it. Machines are held to one CPU, and all that is let in runs at once (`--overload-control off`): turns decide
//! who runs when, and shares are about those that run.

mod bombs;
mod processors;

use std::{error::Error, io, path::Path};

use mayfly_benches::{
    platform::{Platform, Runtime},
    report::Report,
};
use serde_json::Value;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let json = arguments.iter().position(|argument| argument == "--json").and_then(|at| arguments.get(at + 1));
    let (seconds, instances) = if is_quick { (3, 40) } else { (20, 200) };
    let mut report = Report::new("Mayfly: shares of processors and memory");
    bombs::measure(&mut report, instances)?;
    for way in ["auto", "nice", "off"] {
        processors::measure(&mut report, way, seconds)?;
    }
    if let Some(path) = json {
        report.write(Path::new(path))?;
    }
    Ok(())
}

/// A platform whose machines are in no turns.
fn start(options: &[&str]) -> io::Result<Platform> {
    let program = Path::new(env!("CARGO_BIN_EXE_mayfly-under-test"));
    let usual = ["--overload-control", "off", "--instances-per-function", "1000"];
    Platform::start_with(program, Runtime::RustPython, &[&usual, options].concat())
}

/// An event for a function: status and answer.
fn invoke(platform: &Platform, function: &str, event: &Value) -> io::Result<(u16, Value)> {
    let path = format!("/2015-03-31/functions/{function}/invocations");
    let (status, answer) = platform.client()?.request("POST", &path, "", event.to_string().as_bytes())?;
    Ok((status, serde_json::from_slice(&answer)?))
}

/// Processor time of all threads of a process, in seconds.
fn used(process: u32) -> f64 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let ns = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    ns.sum::<f64>() / 1e9
}
