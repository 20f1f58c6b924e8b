//! Where programs get randomness from.

use std::io::Read;

use crate::Probe;
use crate::system::call;

pub const PROBES: &[(&str, Probe)] = &[("random", Probe::Each(random))];

/// 32 bytes of `getrandom`, 32 of `/dev/urandom`, 36 of the kernel's UUIDs.
fn random(_: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    assert_eq!(call(libc::SYS_getrandom, &[bytes.as_mut_ptr() as u64, 32, 0]), 32);
    let mut urandom = std::fs::File::open("/dev/urandom").expect("open");
    urandom.read_exact(&mut bytes[32..]).expect("read");
    bytes.extend(std::fs::read("/proc/sys/kernel/random/uuid").expect("uuid").iter().take(36));
    bytes
}
