//! Memory of processes and of the host.

use std::{
    io, thread,
    time::{Duration, Instant},
};

/// What ended gives its memory back a little later: at most so much later.
const PATIENCE: Duration = Duration::from_secs(10);
/// Changes that are none.
const STILL_BYTES: i64 = 1 << 20;

/// What only that process has, and its page tables.
///
/// # Errors
/// If it has ended.
pub fn private_bytes(pid: u32) -> io::Result<u64> {
    let sum = |file: &str, names: &[&str]| -> io::Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}"))?;
        let lines = text.lines().filter(|line| names.iter().any(|name| line.starts_with(name)));
        Ok(lines.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>() << 10)
    };
    Ok(sum("smaps_rollup", &["Private_Dirty:"])? + sum("status", &["VmPTE:"])?)
}

/// What the host has left for more.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn available_bytes() -> io::Result<i64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).unwrap_or_default();
    Ok(line.split_ascii_whitespace().next().and_then(|kib| kib.parse::<i64>().ok()).unwrap_or(0) << 10)
}

/// The same, once it does not grow any more.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn settled_available_bytes() -> io::Result<i64> {
    let begun = Instant::now();
    let mut last = available_bytes()?;
    loop {
        thread::sleep(Duration::from_millis(250));
        let now = available_bytes()?;
        if now < last + STILL_BYTES || begun.elapsed() > PATIENCE {
            return Ok(now);
        }
        last = now;
    }
}
