//! The handler that functions have, run by others.

use std::{
    io,
    time::{Duration, Instant},
};

use mayfly_benches::{
    baseline::{
        Unavailable,
        container::Containers,
        emulator::{self, Emulator},
        process::Process,
    },
    distribution::Distribution,
    report::Report,
};

use super::{
    ANSWER, Compared, EVENT, HELLO,
    throughput::{Curve, Request, rate},
};
use crate::figures::Outcome;

pub(super) fn measure(report: &mut Report, is_quick: bool) -> Outcome<(Compared, Option<Curve>)> {
    let mut compared = Compared::new();
    let (requests, processes) = if is_quick { (50, 10) } else { (1000, 100) };
    let mut told = |report: &mut Report, short: &str, name: &str, found: Result<Distribution, Unavailable>| match found
    {
        Ok(latency) => {
            report.add(name, &latency, "");
            compared.push((short.to_owned(), latency));
        }
        Err(Unavailable { why, cure }) => report.missing(name, &why, &cure),
    };
    let (emulated, curve) = match Emulator::start(HELLO) {
        Ok(emulator) => {
            emulate(&emulator, report, requests, is_quick).map(|(latency, curve)| (Ok(latency), Some(curve)))?
        }
        Err(unavailable) => (Err(unavailable), None),
    };
    told(report, "AWS's\nemulator", "AWS's emulator with awslambdaric, warm, HTTP", emulated);
    let event = String::from_utf8_lossy(EVENT);
    let process = match Process::new(HELLO) {
        Ok(process) => Ok(first_answers(processes, || process.start(), |process| process.ask(&event))?),
        Err(unavailable) => Err(unavailable),
    };
    told(report, "process", "python3 as a process, until its answer", process);
    let container = match Containers::new(HELLO) {
        Ok(containers) => Ok(first_answers(processes, || containers.start(), |container| container.ask(&event))?),
        Err(unavailable) => Err(unavailable),
    };
    told(report, "container", "python3 in a container (runc), until its answer", container);
    Ok((compared, curve))
}

fn emulate(
    emulator: &Emulator,
    report: &mut Report,
    requests: usize,
    is_quick: bool,
) -> Outcome<(Distribution, Curve)> {
    let mut client = emulator.client()?;
    let mut latency = Distribution::default();
    for _ in 0..requests {
        let begun = Instant::now();
        let (status, answer) = client.request("POST", emulator::PATH, "", EVENT)?;
        latency.add(begun.elapsed());
        if (status, &answer[..]) != (200, ANSWER) {
            return Err(format!("the emulator answers {status} {}", String::from_utf8_lossy(&answer)).into());
        }
    }
    let duration = Duration::from_secs(if is_quick { 1 } else { 5 });
    let request = Request { method: "POST", path: emulator::PATH, body: EVENT };
    let (rate, _) = rate(&|| emulator.client(), 1, duration, request)?;
    report.amount("AWS's emulator, connections: 1", rate, "/s", "it ends when it is asked twice at a time");
    Ok((latency, ("AWS's emulator".into(), vec![(1.0, rate)])))
}

/// Of one after another, each made for it. Without the time that it takes to end them.
fn first_answers<T>(
    count: usize,
    start: impl Fn() -> io::Result<T>,
    ask: impl Fn(&mut T) -> io::Result<String>,
) -> io::Result<Distribution> {
    let mut latency = Distribution::default();
    for _ in 0..count {
        let begun = Instant::now();
        let mut started = start()?;
        let answer = ask(&mut started)?;
        latency.add(begun.elapsed());
        if answer.as_bytes() != ANSWER {
            return Err(io::Error::other(answer));
        }
    }
    Ok(latency)
}
