//! Gives up instances that nobody needs, or that there is no memory for.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use super::Dispatcher;
use crate::{clock::Instant, limits};

/// Looks through the idle instances, until the dispatcher is dropped. `memory` says how many bytes the host has available.
pub(crate) async fn keep(dispatcher: Weak<Dispatcher>, memory: impl Fn() -> Option<u64>) {
    loop {
        tokio::time::sleep(limits::KEEPER_PERIOD).await;
        let Some(dispatcher) = dispatcher.upgrade() else { return };
        look(&dispatcher, &memory);
    }
}

fn look(dispatcher: &Arc<Dispatcher>, memory: &impl Fn() -> Option<u64>) {
    let now = dispatcher.clock.now();
    let too_old = |age: Duration| age >= dispatcher.bounds.idle_instance_ttl;
    for lane in dispatcher.lanes() {
        lane.forget_gone();
        while lane.idle_since().is_some_and(|since| too_old(now.saturating_duration_since(since))) {
            lane.drop_oldest();
        }
    }
    trim(dispatcher, now);
    let available = memory().unwrap_or(u64::MAX);
    dispatcher.memory_available_bytes.store(available, Ordering::Relaxed);
    if available < dispatcher.bounds.memory_reserve_bytes {
        // An eighth of them at a time: what that gives back is only seen at the next look.
        let (idle, _, _) = dispatcher.totals();
        let ended = (0..idle.div_ceil(8)).filter(|_| dispatcher.evict()).count();
        tracing::warn!(available, ended, "memory is low: idle instances are given up");
    }
    dispatcher.feed();
}

/// Lets instances that are not in steady use give back what they do not need, a few at a time.
fn trim(dispatcher: &Dispatcher, now: Instant) {
    let Some(then) = now.checked_sub(limits::TRIM_AFTER) else { return };
    let mut left = limits::TRIMS_AT_A_LOOK;
    for lane in dispatcher.lanes() {
        while left > 0 && lane.trim_one(then) {
            left -= 1;
        }
    }
}

/// `MemAvailable` of the host.
pub(crate) fn available_memory() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo() {
        assert_eq!(parse("MemTotal:  10 kB\nMemAvailable:   2048 kB\nBuffers: 1 kB\n"), Some(2 << 20));
        assert_eq!(parse("MemTotal: 10 kB\n"), None);
        assert!(available_memory().is_some_and(|bytes| bytes > 0), "this host is Linux");
    }
}
