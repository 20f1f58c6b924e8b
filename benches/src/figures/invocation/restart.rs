//! The server killed and started again, with all that was deployed.

use std::time::{Duration, Instant};

use mayfly_benches::{
    distribution::Distribution,
    http::invocations,
    platform::Platform,
    report::{Aim, Report},
};

use super::http::invoke;
use crate::figures::Outcome;

const RESTARTS: usize = 10;
/// What ended gives its memory back a little later.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn measure(platform: &mut Platform, report: &mut Report) -> Outcome<()> {
    let [mut ready, mut first] = <[Distribution; 2]>::default();
    for _ in 0..RESTARTS {
        std::thread::sleep(PAUSE);
        let until_ready = platform.restart()?;
        let start = Instant::now();
        invoke(&mut platform.client()?, &invocations("hello"));
        ready.add(until_ready);
        first.add(until_ready + start.elapsed());
    }
    report.add("server started again, until it is ready", &ready, "killed before; runtime snapshots are there");
    report.add("the same, until a function's first answer", &first, "");
    report.aim("server started again, until ready, p50", Aim::AtMost(500.0), ready.quantile_us(0.5) / 1e3, "ms");
    Ok(())
}
