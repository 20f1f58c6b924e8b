//! How a program can end.

use crate::Probe;
use crate::device::Device;
use crate::system::call;

pub const PROBES: &[(&str, Probe)] = &[
    ("end-exit", Probe::Each(|payload| std::process::exit(crate::word(payload) as i32))),
    ("end-abort", Probe::Each(|_| std::process::abort())),
    ("end-panic", Probe::Each(|_| panic!("a panic on purpose"))),
    ("end-signal", Probe::Each(signal)),
    ("end-start", Probe::Own(|_| std::process::exit(7))),
    ("end-main", Probe::Own(main_returns)),
    ("end-thread", Probe::Each(thread_exits)),
    ("end-first-thread", Probe::Each(first_thread_ends)),
];

/// Sends itself the signal that the payload names; returns if it is ignored.
fn signal(payload: &[u8]) -> Vec<u8> {
    let result = call(libc::SYS_kill, &[call(libc::SYS_getpid, &[]) as u64, crate::word(payload)]);
    result.to_le_bytes().to_vec()
}

fn main_returns(mut device: Device) {
    device.read();
}

fn thread_exits(_: &[u8]) -> Vec<u8> {
    std::thread::spawn(|| std::process::exit(9));
    loop {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}

/// The program goes on without its first thread, and ends with its last.
fn first_thread_ends(_: &[u8]) -> Vec<u8> {
    std::thread::spawn(|| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        call(libc::SYS_exit, &[5]);
    });
    call(libc::SYS_exit, &[4]);
    unreachable!()
}
