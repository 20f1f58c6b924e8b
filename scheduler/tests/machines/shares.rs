//! What machines get of the host.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mayfly_scheduler::{CpuShares, Platform, Settings, host::State, shares};
use serde_json::json;

use crate::{
    callers::{deploy, invoke, response},
    survival::{children, kill, reopened},
};

const ECHO: &str = "def handler(event, context):\n    return event\n";

fn of_process(pid: u32, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
}

fn machines() -> Vec<u32> {
    children(std::process::id()).into_iter().flat_map(children).collect()
}

/// Where the group of a machine of `function` is that has to do with processors, once there is one.
async fn group_of(function: &str) -> Option<PathBuf> {
    let name = format!("/fn-{function}-");
    let find = || {
        let groups = machines().into_iter().map(|pid| of_process(pid, "cgroup")).collect::<String>();
        let line = groups.lines().find(|line| line.contains(&name))?;
        let (place, group) = line.split_once(':')?.1.split_once(':')?;
        let mounted = if place.is_empty() { "/sys/fs/cgroup".into() } else { format!("/sys/fs/cgroup/{place}") };
        Some(PathBuf::from(format!("{mounted}{group}")))
    };
    for _ in 0..500 {
        match find() {
            None => tokio::time::sleep(Duration::from_millis(10)).await,
            found => return found,
        }
    }
    None
}

/// A machine is in its function's group while it lives, and first in line when the host's memory ends.
pub(crate) async fn a_function_has_its_share(platform: Platform) {
    deploy(&platform, "shared", ECHO, |new| new.configuration.memory_mb = 512).await;
    assert_eq!(response(&invoke(&platform, "shared", json!({"a": 1})).await.expect("it runs")), json!({"a": 1}));
    for machine in machines() {
        assert_eq!(of_process(machine, "oom_score_adj").trim(), "1000");
    }
    let limits = machines().into_iter().filter_map(|pid| {
        let limits = of_process(pid, "limits");
        limits.lines().find_map(|line| line.strip_prefix("Max data size")?.split_whitespace().next()?.parse().ok())
    });
    assert!(
        limits.collect::<Vec<u64>>().iter().any(|bytes| (512 << 20..768 << 20).contains(bytes)),
        "its memory and a little"
    );
    let finding = shares::examine(CpuShares::Auto);
    if finding.state != State::Good {
        return println!("  SKIPPED: CPU shares are {}", finding.found);
    }
    let group = group_of("shared").await.expect("a machine of it is in it");
    let weight = ["cpu.shares", "cpu.weight"].map(|file| std::fs::read_to_string(group.join(file)).ok());
    assert!(weight == [Some("296\n".into()), None] || weight == [None, Some("289\n".into())], "{weight:?}");
    platform.delete_function("shared").await.expect("it is there");
    for _ in 0..500 {
        if !group.exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} is still there", group.display());
}

/// Machines run where they are told to, those of another zygote too; and nothing is left on the host at the end.
pub(crate) async fn machines_are_held_to_processors(settings: Settings) {
    let cpus: shares::Cpus = "0".parse().expect("a list");
    let platform = reopened(&Settings { vm_cpus: Some(cpus), ..settings }).await;
    deploy(&platform, "pinned", ECHO, |_| ()).await;
    for is_first in [true, false] {
        invoke(&platform, "pinned", json!({})).await.expect("it runs");
        let zygote = children(std::process::id())[0];
        let machines = children(zygote);
        for &pid in &machines {
            let status = of_process(pid, "status");
            assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
        }
        if is_first {
            kill(zygote);
            while machines.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    let group = group_of("pinned").await;
    platform.shutdown(Duration::from_secs(5)).await;
    assert!(children(std::process::id()).is_empty(), "the zygote has ended");
    let root = group.as_deref().and_then(Path::parent);
    assert!(root.is_none_or(|root| !root.exists()), "{root:?}");
}
