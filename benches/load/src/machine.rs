//! The machine that requests come from, for whoever reads the figures later.

use std::fs;

use serde::Serialize;

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Model of the CPU.
    pub cpu: String,
    /// How many of them there are.
    pub cores: usize,
    /// `Linux` and its release.
    pub system: String,
    /// Load averages over 1, 5 and 15 minutes when it was looked at.
    pub load: String,
}

/// This machine, now.
#[must_use]
pub fn examine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    Machine {
        cpu: model.unwrap_or("unknown CPU").trim().to_owned(),
        cores: info.lines().filter(|line| line.starts_with("processor")).count().max(1),
        system: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
    }
}
