//! Half of all instances take all the memory they can, on a host of which more is promised than it has.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use mayfly_benches::{
    platform::Platform,
    report::{Aim, Report},
};
use serde_json::{Value, json};

use super::{Outcome, invoke, start};

const MEMORY_MIB: u64 = 128;
/// Sizes of all instances, in memories of the host.
const OVERCOMMIT: &str = "1.5";
/// Instances and MiB of a host on which a few bombs are too many.
const TIGHT: (usize, u64) = (40, 640);
const MIB: f64 = 1_048_576.0;

/// Each waits until all are there, and says how often it was called.
const QUIET: &str = "
import time
calls = 0
def handler(event, context):
    global calls
    calls += 1
    time.sleep(event['s'])
    return calls
";
const BOMB: &str = "
import time
def handler(event, context):
    time.sleep(event['s'])
    kept = []
    while True:
        kept.append(bytearray(b'x' * (1 << 20)))
";

pub(super) fn measure(report: &mut Report, program: &Path, instances: usize) -> Outcome<()> {
    let limit = (instances as u64 * MEMORY_MIB * 2).div_ceil(3) << 20;
    scene(report, program, instances, limit, OVERCOMMIT)?;
    scene(report, program, TIGHT.0, TIGHT.1 << 20, "10")
}

fn scene(report: &mut Report, program: &Path, instances: usize, limit: u64, overcommit: &str) -> Outcome<()> {
    let host = SmallHost::new(limit);
    let size = if host.is_ok() { format!("{:.1} GiB", limit as f64 / MIB / 1024.0) } else { "all there is".into() };
    report.section(&format!("memory bombs: half of {instances} instances of {MEMORY_MIB} MB, host {size}"));
    if let Err(error) = &host {
        println!("  the host cannot be made small ({error}): all of it is used");
    }
    let overcommit = if host.is_ok() { overcommit } else { "10" };
    let options = ["--memory-overcommit", overcommit, "--memory-reserve-mb", "128", "--shells", "8"];
    let platform = match &host {
        Ok(host) => host.within(|| start(program, &options))?,
        Err(_) => start(program, &options)?,
    };
    for (name, source) in [("quiet", QUIET), ("bomb", BOMB)] {
        platform.deploy_with(name, source, "reuse", &json!({ "MemorySize": MEMORY_MIB, "Timeout": 300 }))?;
    }
    let half = instances / 2;
    let (quiet, bombs, grown) = explode(&platform, half)?;
    let mut count = |name: &str, answers: &[Value], is_right: fn(&Value) -> bool| -> f64 {
        let wrong =
            answers.iter().find(|answer| !is_right(answer)).map_or(String::new(), |answer| format!("; one: {answer}"));
        let right = answers.iter().filter(|answer| is_right(answer)).count();
        report.amount(name, right as f64, "", &format!("of {half}{wrong}"));
        right as f64
    };
    let own =
        count("bombs that ran out of their own memory", &bombs, |answer| answer["errorType"] == "Runtime.OutOfMemory");
    let hosts = count("bombs that were ended for the host's memory", &bombs, |answer| {
        answer["errorMessage"].as_str().is_some_and(|message| message.contains("the host is short of memory"))
    });
    let answered = count("others that answered", &quiet, |answer| *answer == 1);
    let again = all(&platform, "quiet", half, &json!({ "s": 3 }))?;
    count("others that still had their state", &again, |answer| *answer == 2);
    let whole = half as f64;
    report.aim("bombs that were told what they did", Aim::AtLeast(whole), own + hosts, "");
    report.aim("others that answered", Aim::AtLeast(whole), answered, "");
    report.amount("growth of the server", grown, "MiB", "resident");
    report.aim("growth of the server", Aim::AtMost(64.0), grown, "MiB");
    if let Ok(host) = &host {
        report.aim("processes that the kernel ended for memory", Aim::AtMost(0.0), host.killed(), "");
    }
    Ok(())
}

/// All instances at once: the answers of both kinds, and by how many MiB the server grew until after that.
fn explode(platform: &Platform, half: usize) -> Outcome<(Vec<Value>, Vec<Value>, f64)> {
    let machines = platform.machines()?.len();
    // Long enough for all to be there before the first bomb goes off, and until the last one has.
    let (fuse, stay) = (json!({ "s": 5 + half / 4 }), json!({ "s": 25 + half / 2 }));
    let (before, (quiet, bombs)) = thread::scope(|scope| -> Outcome<_> {
        let quiet = scope.spawn(|| all(platform, "quiet", half, &stay));
        let bombs = scope.spawn(|| all(platform, "bomb", half, &fuse));
        while platform.machines()?.len() < machines + 2 * half && !bombs.is_finished() {
            thread::sleep(Duration::from_millis(50));
        }
        let before = resident_mib(platform.server())?;
        Ok((before, (quiet.join().expect("no panic")?, bombs.join().expect("no panic")?)))
    })?;
    Ok((quiet, bombs, resident_mib(platform.server())? - before))
}

fn all(platform: &Platform, function: &str, count: usize, event: &Value) -> io::Result<Vec<Value>> {
    thread::scope(|scope| {
        let calls: Vec<_> = (0..count).map(|_| scope.spawn(|| invoke(platform, function, event))).collect();
        calls.into_iter().map(|call| call.join().expect("no panic").map(|(_, answer)| answer)).collect()
    })
}

fn resident_mib(process: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0)
}

/// A memory group with a limit: to what is started in it, a small host. Of cgroup v1.
struct SmallHost {
    own: PathBuf,
    group: PathBuf,
}

impl SmallHost {
    fn new(bytes: u64) -> io::Result<SmallHost> {
        let groups = fs::read_to_string("/proc/self/cgroup")?;
        let own = groups.lines().find_map(|line| line.split_once(":memory:")).ok_or(io::ErrorKind::Unsupported)?.1;
        let own = Path::new("/sys/fs/cgroup/memory").join(own.trim_start_matches('/'));
        let group = own.join(format!("mayfly-bench-{}", std::process::id()));
        fs::create_dir(&group)?;
        let host = SmallHost { own, group };
        fs::write(host.group.join("memory.limit_in_bytes"), bytes.to_string())?;
        Ok(host)
    }

    /// What is started by this is in it.
    fn within<T>(&self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let go = |group: &Path| fs::write(group.join("cgroup.procs"), std::process::id().to_string());
        go(&self.group)?;
        let started = start();
        go(&self.own)?;
        started
    }

    fn killed(&self) -> f64 {
        let text = fs::read_to_string(self.group.join("memory.oom_control")).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(f64::NAN)
    }
}

impl Drop for SmallHost {
    fn drop(&mut self) {
        // The platform has been told to end.
        for _ in 0..500 {
            if fs::remove_dir(&self.group).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}
