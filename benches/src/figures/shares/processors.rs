//! Functions that compute at the same time on one processor.

use std::{io, path::Path, thread, time::Duration};

use mayfly_benches::{platform::Platform, report::Report};
use mayfly_load::run::cpus_allowed;
use serde_json::json;

use super::{Outcome, invoke, start, used};

/// Memory sizes of functions that run against each other, and how many of them want to run.
const RACES: [(&str, &[u64], usize); 4] = [
    ("50:50", &[512, 512], 2),
    ("80:20", &[2048, 512], 2),
    ("1:2:4", &[256, 512, 1024], 3),
    ("1:2, and an idle one of 4", &[256, 512, 1024], 2),
];
/// Invocations, and machines, over which costs are taken.
const INVOCATIONS: usize = 1000;
const BINDS: usize = 50;

/// Computes for as long as the event says, or sleeps.
const BUSY: &str = "
import time
def handler(event, context):
    end = time.monotonic() + event.get('busy', 0)
    rounds = 0
    while time.monotonic() < end:
        rounds += 1
    time.sleep(event.get('asleep', 0))
    return rounds
";

pub(super) fn measure(report: &mut Report, program: &Path, way: &str, seconds: u64) -> Outcome<()> {
    report.section(&format!("processors, --cpu-shares {way}"));
    let cpu = cpus_allowed().pop().ok_or("there is a processor")?.to_string();
    let options = ["--cpu-shares", way, "--vm-cpus", &cpu];
    for (name, sizes, running) in RACES {
        let platform = start(program, &options)?;
        race(report, &platform, name, sizes, running, seconds)?;
    }
    let platform = start(program, &options)?;
    costs(report, &platform)?;
    pinned(report, &platform, &cpu)
}

fn race(
    report: &mut Report,
    platform: &Platform,
    name: &str,
    sizes: &[u64],
    running: usize,
    seconds: u64,
) -> Outcome<()> {
    let mut machines = Vec::new();
    for (index, size) in sizes.iter().enumerate() {
        let function = format!("busy-{index}");
        platform.deploy_with(&function, BUSY, "reuse", &json!({ "MemorySize": size, "Timeout": 60 }))?;
        machines.push(machine_of(platform, &function)?);
    }
    let machines = &machines[..running];
    let now = || machines.iter().map(|&machine| used(machine)).collect::<Vec<f64>>();
    let event = json!({ "busy": seconds + 2 });
    let got = thread::scope(|scope| -> Outcome<Vec<f64>> {
        let calls: Vec<_> = (0..running)
            .map(|index| {
                scope.spawn({
                    let event = &event;
                    move || invoke(platform, &format!("busy-{index}"), event)
                })
            })
            .collect();
        // All of them have begun, and none has ended yet.
        thread::sleep(Duration::from_secs(1));
        let before = now();
        thread::sleep(Duration::from_secs(seconds));
        let after = now();
        for call in calls {
            let (status, answer) = call.join().expect("no panic")?;
            if status != 200 || !answer.is_u64() {
                return Err(format!("{status} {answer}").into());
            }
        }
        Ok(after.iter().zip(&before).map(|(after, before)| after - before).collect())
    })?;
    let sizes = &sizes[..running];
    let (all, sum) = (got.iter().sum::<f64>(), sizes.iter().sum::<u64>() as f64);
    for (got, size) in got.iter().zip(sizes) {
        let (part, ideal) = (got * 100.0 / all, *size as f64 * 100.0 / sum);
        let notes = format!("of {all:.1} s; {ideal:.1} by memory, {:+.1}", part - ideal);
        report.amount(&format!("{name}: {size} MB"), part, "%", &notes);
    }
    Ok(())
}

/// The machine that works for a function: the one that has used the processor for it.
fn machine_of(platform: &Platform, function: &str) -> Outcome<u32> {
    let (status, answer) = invoke(platform, function, &json!({}))?;
    if status != 200 {
        return Err(answer.to_string().into());
    }
    let before: Vec<(u32, f64)> = platform.machines()?.into_iter().map(|machine| (machine, used(machine))).collect();
    invoke(platform, function, &json!({ "busy": 0.2 }))?;
    let most = before.into_iter().map(|(machine, before)| (machine, used(machine) - before));
    let most = most.max_by(|one, other| one.1.total_cmp(&other.1));
    Ok(most.ok_or("there are machines")?.0)
}

/// What shares cost: processor time of the server and of its machines.
fn costs(report: &mut Report, platform: &Platform) -> Outcome<()> {
    platform.deploy_with("hello", BUSY, "reuse", &json!({ "Timeout": 60 }))?;
    let machine = machine_of(platform, "hello")?;
    let (mut client, path) = (platform.client()?, "/2015-03-31/functions/hello/invocations");
    let before = (used(platform.server()), used(machine));
    for _ in 0..INVOCATIONS {
        client.request("POST", path, "", b"{}")?;
    }
    let each = 1e6 / INVOCATIONS as f64;
    report.amount("server, per invocation", (used(platform.server()) - before.0) * each, "µs", "processor time; warm");
    report.amount("machine, per invocation", (used(machine) - before.1) * each, "µs", "");

    let (before, event) = (used(platform.server()), &json!({ "asleep": 3 }));
    thread::scope(|scope| -> io::Result<()> {
        let calls: Vec<_> = (0..BINDS).map(|_| scope.spawn(move || invoke(platform, "hello", event))).collect();
        calls.into_iter().try_for_each(|call| call.join().expect("no panic").map(drop))
    })?;
    let notes = format!("processor time; {BINDS} at once, the rest of their invocations included");
    report.amount(
        "server, per machine that is bound",
        (used(platform.server()) - before) * 1e6 / BINDS as f64,
        "µs",
        &notes,
    );
    Ok(())
}

fn pinned(report: &mut Report, platform: &Platform, cpu: &str) -> Outcome<()> {
    let machines = platform.machines()?;
    let wanted = format!("Cpus_allowed_list:\t{cpu}\n");
    let elsewhere = machines.iter().filter(|machine| {
        std::fs::read_to_string(format!("/proc/{machine}/status")).is_ok_and(|status| !status.contains(&wanted))
    });
    report.amount(
        "machines that may run elsewhere",
        elsewhere.count() as f64,
        "",
        &format!("of {}; --vm-cpus {cpu}", machines.len()),
    );
    Ok(())
}
