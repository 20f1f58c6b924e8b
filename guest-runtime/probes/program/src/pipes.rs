//! Pipes, poll, epoll, eventfd.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::Probe;

pub const PROBES: &[(&str, Probe)] = &[("pipe-threads", Probe::Each(threads)), ("pipe-poll", Probe::Each(poll))];

fn threads(_: &[u8]) -> Vec<u8> {
    const BYTES: usize = 1 << 20;
    let (mut reader, mut writer) = std::io::pipe().expect("pipe");
    let writing = std::thread::spawn(move || {
        for at in (0..BYTES).step_by(10_007) {
            let part: Vec<u8> = (at..BYTES.min(at + 10_007)).map(|at| (at % 253) as u8).collect();
            writer.write_all(&part).expect("write");
        }
    });
    let mut all = Vec::new();
    reader.read_to_end(&mut all).expect("read to the end");
    writing.join().expect("join");
    assert!(all.len() == BYTES && all.iter().enumerate().all(|(at, &byte)| byte == (at % 253) as u8));
    b"ok".to_vec()
}

fn poll(_: &[u8]) -> Vec<u8> {
    use std::os::fd::AsRawFd;
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    let wait = |timeout_ms: i32| {
        let mut polled = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let count = unsafe { libc::poll(&raw mut polled, 1, timeout_ms) };
        (count, polled.revents)
    };
    assert_eq!(wait(0), (0, 0));
    let start = Instant::now();
    assert_eq!(wait(30), (0, 0));
    assert!(start.elapsed() >= Duration::from_millis(30), "poll returned after {:?}", start.elapsed());
    writer.write_all(b"x").expect("write");
    assert_eq!(wait(-1), (1, libc::POLLIN));
    drop(writer);
    assert_eq!(wait(-1), (1, libc::POLLIN | libc::POLLHUP));
    // Another thread ends the wait.
    let (reader, mut writer) = std::io::pipe().expect("pipe");
    let other = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(10));
        writer.write_all(b"y").expect("write");
    });
    let mut polled = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    assert_eq!(unsafe { libc::poll(&raw mut polled, 1, -1) }, 1);
    other.join().expect("join");
    b"ok".to_vec()
}
