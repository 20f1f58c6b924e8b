//! Sockets between threads, and what else one waits for.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use crate::Probe;

pub const PROBES: &[(&str, Probe)] = &[
    ("socket-streams", Probe::Each(streams)),
    ("socket-backlog", Probe::Each(backlog)),
    ("socket-datagrams", Probe::Each(datagrams)),
    ("socket-local", Probe::Each(local)),
    ("socket-unreachable", Probe::Each(unreachable)),
    ("wait-epoll", Probe::Each(epoll)),
    ("wait-timer", Probe::Each(timer)),
];

const LOOPBACK: &str = "127.0.0.1:0";

/// A server with a thread per connection, and clients that all talk at once, each more than any buffer holds.
fn streams(_: &[u8]) -> Vec<u8> {
    const CLIENTS: usize = 8;
    const BYTES: usize = 700_000;
    let listener = TcpListener::bind(LOOPBACK).expect("bind");
    let address = listener.local_addr().expect("name");
    let server = std::thread::spawn(move || {
        let serving: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (mut stream, _) = listener.accept().expect("accept");
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 10_007];
                    loop {
                        match stream.read(&mut buffer).expect("read") {
                            0 => break,
                            count => stream.write_all(&buffer[..count]).expect("write"),
                        }
                    }
                })
            })
            .collect();
        serving.into_iter().for_each(|thread| thread.join().expect("join"));
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).expect("connect");
                let sent: Vec<u8> = (0..BYTES).map(|at| (at * (client + 1) % 251) as u8).collect();
                let mut writing = stream.try_clone().expect("dup");
                let content = sent.clone();
                let writer = std::thread::spawn(move || {
                    writing.write_all(&content).expect("write");
                    writing.shutdown(std::net::Shutdown::Write).expect("shutdown");
                });
                let mut seen = Vec::new();
                stream.read_to_end(&mut seen).expect("read");
                writer.join().expect("join");
                assert!(seen == sent, "client {client}");
            })
        })
        .collect();
    clients.into_iter().for_each(|thread| thread.join().expect("join"));
    server.join().expect("join");
    b"ok".to_vec()
}

/// More clients than the backlog holds: each waits for its turn.
fn backlog(_: &[u8]) -> Vec<u8> {
    let listener = TcpListener::bind(LOOPBACK).expect("bind");
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let address = listener.local_addr().expect("name");
    let clients: Vec<_> = (0..20)
        .map(|_| {
            std::thread::spawn(move || {
                let mut answer = String::new();
                TcpStream::connect(address).expect("connect").read_to_string(&mut answer).expect("read");
                assert_eq!(answer, "hello");
            })
        })
        .collect();
    for _ in 0..20 {
        listener.accept().expect("accept").0.write_all(b"hello").expect("write");
    }
    clients.into_iter().for_each(|thread| thread.join().expect("join"));
    drop(listener);
    assert_eq!(TcpStream::connect(address).expect_err("nobody").kind(), ErrorKind::ConnectionRefused);
    b"ok".to_vec()
}

fn datagrams(_: &[u8]) -> Vec<u8> {
    let (one, two) = (UdpSocket::bind(LOOPBACK).expect("bind"), UdpSocket::bind(LOOPBACK).expect("bind"));
    let (to, from) = (two.local_addr().expect("name"), one.local_addr().expect("name"));
    let echo = std::thread::spawn(move || {
        let mut buffer = [0; 100];
        for _ in 0..50 {
            let (count, from) = two.recv_from(&mut buffer).expect("receive");
            two.send_to(&buffer[..count], from).expect("send");
        }
    });
    for message in 0..50_u8 {
        one.send_to(&vec![message; usize::from(message)], to).expect("send");
        let mut buffer = [0; 100];
        let (count, sender) = one.recv_from(&mut buffer).expect("receive");
        assert_eq!((&buffer[..count], sender), (&vec![message; usize::from(message)][..], to));
    }
    echo.join().expect("join");
    let start = Instant::now();
    one.set_read_timeout(Some(Duration::from_millis(20))).expect("option");
    assert_eq!(one.recv(&mut [0; 9]).expect_err("nothing").kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= Duration::from_millis(20));
    one.connect(to).expect("connect");
    one.send(b"to nobody").expect("send");
    assert_eq!(one.recv(&mut [0; 9]).expect_err("nobody").kind(), ErrorKind::ConnectionRefused);
    assert_eq!(from, one.local_addr().expect("name"));
    b"ok".to_vec()
}

fn local(_: &[u8]) -> Vec<u8> {
    let path = "/tmp/socket";
    let listener = UnixListener::bind(path).expect("bind");
    let client = std::thread::spawn(move || {
        let mut stream = UnixStream::connect(path).expect("connect");
        stream.write_all(b"over a path").expect("write");
    });
    let mut seen = String::new();
    listener.accept().expect("accept").0.read_to_string(&mut seen).expect("read");
    assert_eq!(seen, "over a path");
    client.join().expect("join");
    drop(listener);
    std::fs::remove_file(path).expect("remove");
    // A full inbox waits for its reader.
    let (one, two) = UnixDatagram::pair().expect("pair");
    let sender = std::thread::spawn(move || (0..100).for_each(|_| drop(one.send(&[7; 20_000]).expect("send"))));
    let mut buffer = vec![0; 20_001];
    for _ in 0..100 {
        assert_eq!(two.recv(&mut buffer).expect("receive"), 20_000);
    }
    sender.join().expect("join");
    b"ok".to_vec()
}

fn unreachable(_: &[u8]) -> Vec<u8> {
    let start = Instant::now();
    for address in ["10.1.2.3:80", "[2001:db8::1]:443", "192.168.1.1:1"] {
        let address: SocketAddr = address.parse().expect("an address");
        let error = TcpStream::connect_timeout(&address, Duration::from_secs(60)).expect_err("no network");
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable, "{address}");
    }
    assert!(start.elapsed() < Duration::from_secs(30), "at once, not after a timeout");
    b"ok".to_vec()
}

/// One thread sleeps in `epoll_wait` while others wake it by a counter, a socket and the end of a pipe.
fn epoll(_: &[u8]) -> Vec<u8> {
    let (epoll, counter) = unsafe { (libc::epoll_create1(0), libc::eventfd(0, 0)) };
    let (reader, writer) = std::io::pipe().expect("pipe");
    let (ours, mut theirs) = UnixStream::pair().expect("pair");
    for (fd, data) in [(counter, 1), (reader.as_raw_fd(), 2), (ours.as_raw_fd(), 3)] {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: data };
        assert_eq!(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) }, 0);
    }
    let waking = std::thread::spawn(move || {
        let one = 1_u64;
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(unsafe { libc::write(counter, (&raw const one).cast(), 8) }, 8);
        std::thread::sleep(Duration::from_millis(5));
        theirs.write_all(b"x").expect("write");
        std::thread::sleep(Duration::from_millis(5));
        drop(writer);
        theirs
    });
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 8];
        let count = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 8, -1) };
        seen.extend(events[..count as usize].iter().map(|event| event.u64));
    }
    assert_eq!(seen, [1, 3, 2]);
    waking.join().expect("join");
    [epoll, counter].map(|fd| assert_eq!(unsafe { libc::close(fd) }, 0));
    b"ok".to_vec()
}

fn timer(_: &[u8]) -> Vec<u8> {
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) };
    let ms = |ms: i64| libc::timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 };
    let setting = libc::itimerspec { it_interval: ms(4), it_value: ms(10) };
    let start = Instant::now();
    assert_eq!(unsafe { libc::timerfd_settime(fd, 0, &raw const setting, std::ptr::null_mut()) }, 0);
    let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    assert_eq!(unsafe { libc::poll(&raw mut polled, 1, -1) }, 1);
    assert!(start.elapsed() >= Duration::from_millis(10));
    let mut total = 0;
    while total < 3 {
        let mut count = 0_u64;
        assert_eq!(unsafe { libc::read(fd, (&raw mut count).cast(), 8) }, 8);
        total += count;
    }
    assert!(start.elapsed() >= Duration::from_millis(18), "three expirations in {:?}", start.elapsed());
    assert_eq!(unsafe { libc::close(fd) }, 0);
    b"ok".to_vec()
}
