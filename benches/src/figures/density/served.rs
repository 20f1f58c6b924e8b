//! Instances as the platform has them: each of a function of its own, invoked for the first time through HTTP, while all before it stay.

use std::time::{Duration, Instant};

use mayfly_benches::distribution::Distribution;
use mayfly_benches::http::invocations;
use mayfly_benches::memory::settled_available_bytes;
use mayfly_benches::platform::{Platform, Runtime};
use mayfly_benches::report::Report;

use super::{Crowd, Watch};
use crate::figures::invocation::{HELLO, http::invoke};
use crate::figures::{Asked, Outcome};

/// Longer than it takes to replace a shell: it is about instances that are there, not about ones that are made at the same time.
const PAUSE: Duration = Duration::from_millis(60);
/// Until the last one has given back what it does not need: sixty-four a second do, two seconds after they were used.
const TRIMMED: Duration = Duration::from_secs(4);

/// Deploys `many` functions, and has each answer once.
pub(super) fn crowd(asked: &Asked, runtime: Runtime, many: usize, report: &mut Report) -> Outcome<Crowd> {
    let most = (many + 100).to_string();
    let options = ["--instances", &most, "--memory-overcommit", "1000", "--idle-instance-s", "3600"];
    let platform = Platform::start_with(&asked.program, runtime, &options)?;
    let mut deploys = Distribution::default();
    for index in 0..=many {
        // No two of them have the same code.
        deploys.add(platform.deploy(&name(index), &format!("INDEX = {index}\n{HELLO}"), "reuse")?);
    }
    report.add("deploy of hello to Active, HTTP", &deploys, "one after another");
    let mut client = platform.client()?;
    // The first has no instance to be beside.
    invoke(&mut client, &invocations(&name(0)));
    let (mut crowd, watch) = (Crowd::default(), Watch::new());
    let before = settled_available_bytes()?;
    for index in 1..=many {
        std::thread::sleep(PAUSE);
        let (walked, begun) = (watch.walked(), Instant::now());
        invoke(&mut client, &invocations(&name(index)));
        crowd.add(index, begun.elapsed(), watch.walked() > walked);
        if index == many {
            std::thread::sleep(TRIMMED);
        }
        if !crowd.sample(index, many, before)? {
            break;
        }
    }
    Ok(crowd)
}

fn name(index: usize) -> String {
    format!("hello-{index}")
}
