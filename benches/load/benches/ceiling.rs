//! How much the load tool can send from one CPU, and how late it is then: against a server that does nothing, on another CPU.
//!
//! `cargo bench -p mayfly-load --bench ceiling [-- SECONDS]`: each rate for so many seconds (3). It stops where the tool or the server
//! is at its end.

use std::{
    convert::Infallible,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use mayfly_load::{
    Credentials, Endpoint, Pace, Plan, Profile, Setting, Spacing, Target, duration::show, machine, run::cpus_allowed,
};
use rustix::{
    process::setpriority_process,
    thread::{CpuSet, sched_setaffinity},
};

const RATES: [f64; 12] = [1e3, 2e3, 5e3, 10e3, 15e3, 20e3, 25e3, 30e3, 35e3, 40e3, 50e3, 60e3];

fn main() {
    let seconds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(3);
    let cpus = cpus_allowed();
    let (server_cpu, tool_cpu) = (cpus[0], cpus[cpus.len() - 1]);
    let address = serve(server_cpu);
    let machine = machine::examine();
    println!("{}, {} CPUs, {}, load {}", machine.cpu, machine.cores, machine.system, machine.load);
    println!("server on CPU {server_cpu}, tool on CPU {tool_cpu}, {seconds} s each, Poisson arrivals\n");
    for is_signed in [false, true] {
        println!("{}", if is_signed { "signed" } else { "unsigned" });
        println!("  offered/s  goodput/s  tool's CPU  late p50  late p99  answers p50  answers p99  connections");
        for rate in RATES {
            let report = mayfly_load::run(plan(address, rate, seconds, tool_cpu, is_signed), &Arc::default(), |_| {});
            let report = report.expect("the server is there");
            let (latency, lateness) = (report.latency.unwrap_or_default(), report.lateness.unwrap_or_default());
            println!(
                "{:>11.0} {:>10.0} {:>9.0} % {:>9} {:>9} {:>12} {:>12} {:>12}",
                report.totals.offered_per_s,
                report.totals.goodput_per_s,
                report.totals.cpu_share * 100.0,
                show(lateness.p50_ns),
                show(lateness.p99_ns),
                show(latency.p50_ns),
                show(latency.p99_ns),
                report.totals.connections
            );
            if report.totals.goodput_per_s < 0.99 * report.totals.offered_per_s {
                break;
            }
        }
    }
}

fn plan(address: SocketAddr, rate: f64, seconds: u64, cpu: usize, is_signed: bool) -> Plan {
    let credentials = Credentials::new("AKID".into(), "SECRET".into(), None, "us-east-1".into());
    let profile = Profile::constant(rate, Duration::from_secs(seconds));
    Plan {
        endpoint: Endpoint::parse(&format!("http://{address}")).expect("an endpoint"),
        credentials: is_signed.then_some(credentials),
        targets: vec![Target::new("nothing")],
        pace: Pace::Open { profile, spacing: Spacing::Poisson },
        seed: 1,
        setting: Setting { cpus: vec![cpu], ..Setting::default() },
    }
}

/// A server of one thread on one CPU that answers `{}`.
fn serve(cpu: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set).expect("a CPU that is allowed");
        // As the tool's own thread does: other programs are not what is measured.
        let _ = setpriority_process(None, -15);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            loop {
                let (socket, _) = listener.accept().await.expect("a connection");
                let _ = socket.set_nodelay(true);
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service_fn(answer)),
                );
            }
        });
    });
    address
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    Ok(Response::new(Full::from("{}")))
}
