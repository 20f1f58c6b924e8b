//! A function with a large library: its first invocation after a deploy, which a spare answers, and later ones.

use std::time::{Duration, Instant};

use mayfly_benches::{
    distribution::Distribution,
    http::{Client, invocations},
    platform::Platform,
    report::{Aim, Report},
};

use super::Compared;
use crate::figures::{Outcome, cost::NUMPY};

/// Until the shells that wait are there again, and what was deployed has settled.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn measure(platform: &Platform, report: &mut Report, is_quick: bool) -> Outcome<Compared> {
    let (copies, runs) = if is_quick { (2, 20) } else { (12, 500) };
    let mut client = platform.client()?;
    let [mut bound, mut reuse, mut fresh] = <[Distribution; 3]>::default();
    for copy in 0..copies {
        let name = format!("numpy-{copy}");
        platform.deploy_with_wheels(&name, NUMPY, "numpy\n", if copy == 0 { "fresh" } else { "reuse" })?;
        std::thread::sleep(PAUSE);
        bound.add(invoke(&mut client, &invocations(&name))?);
    }
    for (name, distribution) in [("numpy-1", &mut reuse), ("numpy-0", &mut fresh)] {
        for _ in 0..runs {
            distribution.add(invoke(&mut client, &invocations(name))?);
        }
    }
    report.add(
        "numpy, first invocation after a deploy, HTTP",
        &bound,
        "linalg.inv of 8 by 8; each a function of its own; its spare was bound before",
    );
    report.add("numpy, reuse, HTTP", &reuse, "");
    report.add("numpy, fresh, HTTP", &fresh, "");
    report.aim("numpy deployed to first answer, p50", Aim::AtMost(8.0), bound.quantile_us(0.5) / 1e3, "ms");
    Ok([("reuse,\nnumpy", reuse), ("fresh,\nnumpy", fresh), ("first,\nnumpy", bound)]
        .map(|(name, of)| (name.into(), of))
        .into())
}

fn invoke(client: &mut Client, path: &str) -> Outcome<Duration> {
    let start = Instant::now();
    let (status, body) = client.request("POST", path, "", b"{}")?;
    let taken = start.elapsed();
    if (status, &body[..]) == (200, b"4.0") {
        Ok(taken)
    } else {
        Err(String::from_utf8_lossy(&body).into_owned().into())
    }
}
