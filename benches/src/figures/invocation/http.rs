//! Invocations through HTTP on one connection: how long they take, and where the time goes.

use std::time::{Duration, Instant, SystemTime};

use mayfly_benches::{
    breakdown::{self, Breakdown},
    distribution::Distribution,
    http::{Client, invocations},
    platform::Platform,
    report::{Aim, Report},
};

use super::{EVENT, HELLO};
use crate::figures::Outcome;

/// Functions that are deployed one after another.
const DEPLOYS: usize = 50;
/// Of those, invoked for the first time with and without a pause.
const BOUND: usize = 25;
/// After an invocation, longer than it takes: the server has at most half its time to do.
const HALF_LOAD: Duration = Duration::from_millis(2);

/// What clients saw.
#[derive(Default)]
pub(super) struct Latencies {
    pub(super) deploys: Distribution,
    pub(super) echo: Distribution,
    pub(super) bound: Distribution,
    pub(super) reuse: Distribution,
    pub(super) fresh: Distribution,
    pub(super) reuse_half: Distribution,
    pub(super) fresh_half: Distribution,
}

impl Latencies {
    /// Against what is to be reached with CPython.
    pub(super) fn judge(&self, report: &mut Report) {
        let ms = |of: &Distribution, quantile| of.quantile_us(quantile) / 1e3;
        let above = ms(&self.reuse, 0.5) - ms(&self.echo, 0.5);
        report.aim("hello, `reuse`, p50 above the gateway's own echo", Aim::AtMost(0.09), above, "ms");
        let factor = ms(&self.fresh_half, 0.5) / ms(&self.reuse_half, 0.5);
        report.aim("hello, `fresh`, p50 at up to half load", Aim::AtMost(1.3), factor, "× that of `reuse`, as often");
        report.aim("bound on demand, p50", Aim::AtMost(1.5), ms(&self.bound, 0.5), "ms");
        report.aim("bound on demand, p99", Aim::AtMost(4.0), ms(&self.bound, 0.99), "ms");
        report.aim("deploy to Active, p50", Aim::AtMost(100.0), ms(&self.deploys, 0.5), "ms");
    }
}

pub(super) fn measure(platform: &Platform, report: &mut Report, runs: usize) -> Outcome<Latencies> {
    let mut deploys = Distribution::default();
    deploys.add(platform.deploy("hello", HELLO, "reuse")?);
    deploys.add(platform.deploy("hello-fresh", HELLO, "fresh")?);
    for index in 0..DEPLOYS {
        deploys.add(platform.deploy(&format!("deploy-{index}"), HELLO, "reuse")?);
    }
    report.add("deploy of hello to Active, HTTP", &deploys, "one after another");

    let mut client = platform.client()?;
    let floor = Distribution::measure(runs, || {
        client.request("GET", "/healthz", "", b"").expect("the platform answers");
    });
    report.add("gateway without a VM (/healthz), HTTP", &floor, "");
    let [mut bound, mut reuse, mut fresh] = <[Breakdown; 3]>::default();
    let mut in_a_row = Breakdown::default();
    for index in 0..2 * BOUND {
        let path = invocations(&format!("deploy-{index}"));
        if index < BOUND {
            // For longer than it takes to replace a shell.
            std::thread::sleep(Duration::from_millis(200));
        }
        invoke_timed(&mut client, &path, if index < BOUND { &mut bound } else { &mut in_a_row });
    }
    report.add("first invocation, bound on demand, HTTP", &bound.seen(), "200 ms apart");
    report.add("the same, in a row", &in_a_row.seen(), "the shells that wait on a runtime are used up");
    let mut latencies = Latencies { deploys, echo: floor, bound: bound.seen(), ..Latencies::default() };
    for (name, function, pause, place) in [
        ("reuse", "hello", None, &mut latencies.reuse),
        ("fresh", "hello-fresh", None, &mut latencies.fresh),
        ("reuse, at most half load", "hello", Some(HALF_LOAD), &mut latencies.reuse_half),
        ("fresh, at most half load", "hello-fresh", Some(HALF_LOAD), &mut latencies.fresh_half),
    ] {
        let path = invocations(function);
        for _ in 0..20 {
            invoke(&mut client, &path);
        }
        let mut distribution = Distribution::default();
        for _ in 0..runs {
            let start = Instant::now();
            invoke(&mut client, &path);
            distribution.add(start.elapsed());
            if let Some(pause) = pause {
                std::thread::sleep(pause);
            }
        }
        report.add(&format!("hello, {name}, HTTP"), &distribution, "");
        *place = distribution;
    }
    for (function, breakdown) in [("hello", &mut reuse), ("hello-fresh", &mut fresh)] {
        let path = invocations(function);
        for _ in 0..runs {
            invoke_timed(&mut client, &path, breakdown);
        }
    }
    let kinds = [("`reuse`", &reuse), ("`fresh`, back to back", &fresh), ("bound, a function's first", &bound)];
    report.table("where the time of an invocation through HTTP goes", &breakdown::table(&latencies.echo, &kinds));
    Ok(latencies)
}

/// The same, and where its time went.
fn invoke_timed(client: &mut Client, path: &str, breakdown: &mut Breakdown) {
    let (sent, start) = (SystemTime::now(), Instant::now());
    let (status, _) = client.request("POST", path, "x-mayfly-timing: 1\r\n", EVENT).expect("the platform answers");
    let seen = start.elapsed();
    assert_eq!(status, 200);
    breakdown.add(sent, seen, client.header("server-timing").expect("it was asked for"));
}

/// An invocation of hello, with the right answer.
pub(in crate::figures) fn invoke(client: &mut Client, path: &str) {
    let (status, body) = client.request("POST", path, "", EVENT).expect("the platform answers");
    assert_eq!(
        (status, &body[..]),
        (200, &br#"{"message": "hello mayfly"}"#[..]),
        "{}",
        String::from_utf8_lossy(&body)
    );
}
