//! What memory this host has, or the container that this process is in.
//!
//! A look reads a few short files: some tens of microseconds.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    cgroup::{Controller, Version},
    clock::Instant,
};

/// Programs that wait for memory for more than this part of the time are too many for it.
const STALL_MAX: f64 = 0.1;

/// The memory of the host.
pub(crate) struct HostMemory {
    /// Groups that may have limits, this process's own first.
    groups: Vec<(Version, PathBuf)>,
    /// How long all programs had waited at the last look, and when that was.
    stalled: Option<(Duration, Instant)>,
}

/// One look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Look {
    /// What can be had; `None` if that cannot be told.
    pub(crate) available_bytes: Option<u64>,
    /// Whether programs get on badly because they wait for memory.
    pub(crate) is_stalling: bool,
}

impl HostMemory {
    /// Of the host, and of the groups in which this process is now.
    pub(crate) fn find() -> HostMemory {
        let own = |version: Version| Some((version, version.own(Controller::Memory)?));
        let groups = [Version::V2, Version::V1].into_iter().filter_map(own);
        let above = |(version, own): (Version, PathBuf)| {
            let all = own.ancestors().map(|group| (version, group.to_owned())).collect::<Vec<_>>();
            all.into_iter().filter(|(version, group)| group.join(files(*version).1).exists())
        };
        HostMemory { groups: groups.flat_map(above).collect(), stalled: None }
    }

    /// All there is.
    pub(crate) fn total_bytes(&self) -> u64 {
        let limits = self.groups.iter().filter_map(|(version, group)| number(&group.join(files(*version).0)));
        limits.chain(meminfo("MemTotal:")).min().unwrap_or(u64::MAX)
    }

    /// What there is now.
    pub(crate) fn look(&mut self) -> Look {
        let left = self.groups.iter().filter_map(|(version, group)| left(*version, group));
        Look { available_bytes: left.chain(meminfo("MemAvailable:")).min(), is_stalling: self.is_stalling() }
    }

    fn is_stalling(&mut self) -> bool {
        let Some(stalled) = fs::read_to_string("/proc/pressure/memory").ok().and_then(|text| stalled(&text)) else {
            return false;
        };
        let now = Instant::now();
        let before = self.stalled.replace((stalled, now));
        before.is_some_and(|(before, then)| {
            stalled.saturating_sub(before).as_secs_f64() > now.saturating_duration_since(then).as_secs_f64() * STALL_MAX
        })
    }
}

/// Memory that a process has to itself: what it shares with others, such as snapshots, would be there without it.
pub(crate) fn own_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    parse_statm(&text).unwrap_or(0) * mayfly_abi::layout::PAGE_BYTES
}

/// Of `size resident shared …`, the pages that are resident and not shared.
fn parse_statm(text: &str) -> Option<u64> {
    let mut words = text.split_ascii_whitespace().skip(1).map(str::parse::<u64>);
    let (resident, shared) = (words.next()?.ok()?, words.next()?.ok()?);
    Some(resident.saturating_sub(shared))
}

/// Limit, use, and what of the use are files that the kernel may drop.
fn files(version: Version) -> (&'static str, &'static str, &'static str) {
    match version {
        Version::V1 => ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "),
        Version::V2 => ("memory.max", "memory.current", "inactive_file "),
    }
}

/// What a group has left; `None` if it has no limit.
fn left(version: Version, group: &Path) -> Option<u64> {
    let (limit, used, inactive) = files(version);
    let (limit, used) = (number(&group.join(limit))?, number(&group.join(used))?);
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let inactive: u64 = stat.lines().find_map(|line| line.strip_prefix(inactive)?.parse().ok()).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(inactive)))
}

/// A file with a number; v2 says `max` where there is none.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn meminfo(field: &str) -> Option<u64> {
    parse_meminfo(&fs::read_to_string("/proc/meminfo").ok()?, field)
}

fn parse_meminfo(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// How long all programs have waited at the same time, since the host was started.
fn stalled(pressure: &str) -> Option<Duration> {
    let full = pressure.lines().find(|line| line.starts_with("full "))?;
    full.rsplit_once("total=")?.1.trim().parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_understood() {
        let text = "MemTotal:  10 kB\nMemAvailable:   2048 kB\nBuffers: 1 kB\n";
        assert_eq!(parse_meminfo(text, "MemAvailable:"), Some(2 << 20));
        assert_eq!(parse_meminfo("MemTotal: 10 kB\n", "MemAvailable:"), None);
        let text =
            "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1500\n";
        assert_eq!(stalled(text), Some(Duration::from_micros(1500)));
        assert_eq!(stalled("some avg10=0.00 total=9\n"), None);
        assert_eq!(parse_statm("900 500 120 10 0 300 0\n"), Some(380));
        assert_eq!(parse_statm(""), None, "it has ended");
    }

    #[test]
    fn a_group_leaves_what_is_not_used_or_can_be_dropped() {
        let group = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(group.path().join(name), text).expect("written");
        write("memory.max", "1000\n");
        write("memory.current", "700\n");
        write("memory.stat", "anon 500\ninactive_file 150\nactive_file 50\n");
        assert_eq!(left(Version::V2, group.path()), Some(450));
        write("memory.max", "max\n");
        assert_eq!(left(Version::V2, group.path()), None);
        write("memory.limit_in_bytes", "1000\n");
        write("memory.usage_in_bytes", "1200\n");
        write("memory.stat", "inactive_file 1\ntotal_inactive_file 150\n");
        assert_eq!(left(Version::V1, group.path()), Some(0), "it is over its limit");
    }

    #[tokio::test]
    async fn this_host_has_some() {
        let mut memory = HostMemory::find();
        let available = memory.look().available_bytes.expect("this host is Linux");
        assert!(available > 0 && available <= memory.total_bytes());
        assert!(own_bytes(std::process::id()) > 0 && own_bytes(0) == 0);
    }
}
