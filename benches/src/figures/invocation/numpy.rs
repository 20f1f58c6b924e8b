//! A function with a large library: its first invocation, bound on demand or answered by a spare, and later ones.

use std::io;
use std::time::{Duration, Instant};

use mayfly_benches::{
    distribution::Distribution,
    http::{Client, invocations},
    platform::Platform,
    report::{Aim, Report},
};

use super::Compared;
use crate::figures::Outcome;

/// What only a large library can do.
pub(in crate::figures) const SOURCE: &str =
    "import numpy\ndef handler(event, context):\n    return float(numpy.linalg.inv(numpy.eye(8) * 2).sum())\n";

/// Until the shells that wait are there again.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn measure(platform: &Platform, report: &mut Report, is_quick: bool) -> Outcome<Compared> {
    let (copies, runs) = if is_quick { (6, 20) } else { (16, 500) };
    let [mut bound, mut spare, mut reuse, mut fresh] = <[Distribution; 4]>::default();
    let name = |copy: usize| format!("numpy-{copy}");
    for copy in 0..copies {
        let state = if copy == 0 { "fresh" } else { "reuse" };
        platform.deploy_with_wheels(&name(copy), SOURCE, "numpy\n", state)?;
    }
    // Not before: a connection on which nobody asks is closed.
    let mut client = platform.client()?;
    // Those that were deployed last have a spare: an instance that was bound before anyone called.
    for copy in 0..copies {
        std::thread::sleep(PAUSE);
        let taken = invoke(&mut client, &name(copy))?;
        let is_bound = client.header("server-timing").is_some_and(|timing| timing.contains("start;desc=bound"));
        if is_bound { &mut bound } else { &mut spare }.add(taken);
    }
    for (copy, distribution) in [(1, &mut reuse), (0, &mut fresh)] {
        for _ in 0..runs {
            distribution.add(invoke(&mut client, &name(copy))?);
        }
    }
    report.add(
        "numpy, first invocation, bound on demand, HTTP",
        &bound,
        "linalg.inv of 8 by 8; each a function of its own",
    );
    report.add("numpy, first invocation, by a spare, HTTP", &spare, "those that were deployed last");
    report.add("numpy, reuse, HTTP", &reuse, "");
    report.add("numpy, fresh, HTTP", &fresh, "");
    let ms = |of: &Distribution| of.quantile_us(0.5) / 1e3;
    report.aim("numpy bound on demand to first answer, p50", Aim::AtMost(8.0), ms(&bound), "ms");
    report.aim("numpy just deployed to first answer, p50", Aim::AtMost(8.0), ms(&spare), "ms");
    Ok([("reuse,\nnumpy", reuse), ("fresh,\nnumpy", fresh), ("bound,\nnumpy", bound), ("spare,\nnumpy", spare)]
        .map(|(name, of)| (name.into(), of))
        .into())
}

/// How long an answer takes. It says how it came to be, in `Server-Timing`.
pub(in crate::figures) fn invoke(client: &mut Client, function: &str) -> io::Result<Duration> {
    let path = invocations(function);
    let start = Instant::now();
    let (status, body) = client.request("POST", &path, "x-mayfly-timing: 1\r\n", b"{}")?;
    let taken = start.elapsed();
    if (status, &body[..]) == (200, b"4.0") { Ok(taken) } else { Err(io::Error::other(String::from_utf8_lossy(&body))) }
}
