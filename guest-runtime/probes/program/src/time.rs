//! Clocks and sleep.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Probe;

pub const PROBES: &[(&str, Probe)] =
    &[("time-monotonic", Probe::Each(monotonic)), ("time-now", Probe::Each(now)), ("time-sleep", Probe::Each(sleep))];

fn monotonic(_: &[u8]) -> Vec<u8> {
    let mut last = Instant::now();
    for _ in 0..20_000 {
        let now = Instant::now();
        assert!(now >= last);
        last = now;
    }
    b"ok".to_vec()
}

/// Nanoseconds of the real-time and of the monotonic clock.
fn now(_: &[u8]) -> Vec<u8> {
    let realtime = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) }, 0);
    let monotonic = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
    [realtime.to_le_bytes(), monotonic.to_le_bytes()].concat()
}

/// Sleeps as many milliseconds as the payload says; returns how many nanoseconds it took.
fn sleep(payload: &[u8]) -> Vec<u8> {
    let start = Instant::now();
    std::thread::sleep(Duration::from_millis(crate::word(payload)));
    (start.elapsed().as_nanos() as u64).to_le_bytes().to_vec()
}
