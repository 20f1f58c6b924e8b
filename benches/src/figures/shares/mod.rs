//! Who gets what of the host: processors by memory size, and memory when others take all they can.
//!
//! Everything here is counted, not timed: processor time as the kernel accounts it to a process, answers, and bytes. So other load on the machine makes
//! it slower, and does not change it. Machines are held to one CPU, and all that is let in runs at once (`--overload-control off`): turns decide
//! who runs when, and shares are about those that run.

mod bombs;
mod processors;

use std::{io, path::Path};

use mayfly_benches::{
    http::invocations,
    platform::{Platform, Runtime},
    report::Report,
};
use serde_json::Value;

use super::{Asked, Outcome};

pub(super) fn measure(asked: &Asked) -> Outcome<()> {
    let (seconds, instances) = if asked.quick { (3, 40) } else { (20, 200) };
    let mut report = Report::new("shares", "Shares of processors and memory", asked.quick);
    bombs::measure(&mut report, &asked.program, instances)?;
    for way in ["auto", "nice", "off"] {
        processors::measure(&mut report, &asked.program, way, seconds)?;
    }
    Ok(report.write(&asked.results)?)
}

/// A platform whose machines are in no turns.
fn start(program: &Path, options: &[&str]) -> io::Result<Platform> {
    let usual = ["--overload-control", "off", "--instances-per-function", "1000"];
    Platform::start_with(program, Runtime::RustPython, &[&usual, options].concat())
}

/// An event for a function: status and answer.
fn invoke(platform: &Platform, function: &str, event: &Value) -> io::Result<(u16, Value)> {
    let path = invocations(function);
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
