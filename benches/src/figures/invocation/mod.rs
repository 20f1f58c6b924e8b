//! One invocation: its latency and throughput through HTTP beside what else answers, and its parts.
//!
//! - [`http`]: through HTTP on one connection, from a platform in a process of its own, on an empty data directory.
//! - [`throughput`]: the same on 1 to 64 connections.
//! - [`numpy`]: a function with a large library.
//! - [`restart`]: the server started again.
//! - [`others`]: the same handler elsewhere.
//! - [`owners`]: whose pages an invocation changes.
//! - [`vmm`]: inside of the vmm, without the server.

pub(super) mod http;
pub(super) mod numpy;
mod others;
mod owners;
mod restart;
mod throughput;
pub(super) mod vmm;

use mayfly_benches::{
    distribution::Distribution,
    platform::{Platform, Runtime},
    plot::{self, Look, Plot, Series},
    report::Report,
};

use super::{Asked, Outcome};

pub(super) const HELLO: &str =
    "def handler(event, context):\n    return {'message': 'hello ' + event.get('name', 'world')}\n";
pub(super) const EVENT: &[u8] = br#"{"name":"mayfly"}"#;
pub(super) const ANSWER: &[u8] = br#"{"message": "hello mayfly"}"#;

/// What is compared, by a short name.
type Compared = Vec<(String, Distribution)>;

pub(super) fn measure(asked: &Asked) -> Outcome<()> {
    let runs = if asked.quick { 50 } else { 1000 };
    let mut report = Report::new("invocation", "One invocation, and its parts", asked.quick);
    let mut compared = Compared::new();
    let mut curves = Vec::new();
    for runtime in Runtime::all() {
        report.section(runtime.name());
        let is_cpython = matches!(runtime, Runtime::CPython(_));
        let mut platform = Platform::start(&asked.program, runtime.clone())?;
        // Not counted: the first waits until the interpreter is packed and has a snapshot.
        platform.deploy("first", HELLO, "reuse")?;
        let latencies = http::measure(&platform, &mut report, runs)?;
        let name = |what: &str| if is_cpython { what.to_owned() } else { format!("{what},\nRustPython") };
        if is_cpython {
            latencies.judge(&mut report);
            curves = throughput::measure(&platform, &mut report, asked.quick)?;
            compared.push(("gateway's\necho".into(), latencies.echo));
        }
        let own = [("`reuse`", latencies.reuse), ("`fresh`", latencies.fresh), ("bound", latencies.bound)];
        compared.extend(own.into_iter().map(|(what, latency)| (name(&what.replace('`', "")), latency)));
        if is_cpython {
            compared.extend(numpy::measure(&platform, &mut report, asked.quick)?);
        }
        vmm::measure(&platform.data_dir(), &mut report, runs)?;
        owners::measure(asked, runtime, &mut report)?;
        restart::measure(&mut platform, &mut report)?;
    }
    report.section("the same handler elsewhere");
    let (others, emulator) = others::measure(&mut report, asked.quick)?;
    compared.extend(others);
    curves.extend(emulator);
    report.plot("latency", &latency(&compared), "One connection, one request at a time, except processes and containers: a new one each time, until its answer is there.")?;
    report.plot(
        "throughput",
        &throughput::plot(curves),
        "Clients that ask again as soon as they are answered, on the same processors as the server.",
    )?;
    Ok(report.write(&asked.results)?)
}

fn latency(compared: &Compared) -> Plot {
    let series = [("p50", 0.5), ("p99", 0.99)].map(|(label, quantile)| {
        let points = compared.iter().enumerate().map(|(at, (_, of))| (at as f64, of.quantile_us(quantile) / 1e3));
        Series::new(label, Look::Bars, points.collect())
    });
    let mut y = plot::log("ms from request to answer (log scale)", &series, |point| point.1);
    // A bar of the least of all must be seen, too.
    y.range.0 = y.range.0.min(0.01);
    let x = plot::names("", compared.iter().map(|(name, _)| name.as_str()));
    Plot { title: "Latency of hello, in different ways".into(), x, y, series: series.into() }
}
