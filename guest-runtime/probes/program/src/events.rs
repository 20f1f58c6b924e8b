//! The event device.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use mayfly_abi::mailbox::RECORD_MAX_BYTES;
use mayfly_abi::record::{HEADER_BYTES, Header};

use crate::Probe;
use crate::device::{Device, record};
use crate::system::errno;

pub const PROBES: &[(&str, Probe)] = &[
    ("event-echo", Probe::Each(<[u8]>::to_vec)),
    ("event-flags", Probe::Own(flags)),
    ("event-parts", Probe::Own(parts)),
    ("event-empty-read", Probe::Own(empty_read)),
    ("event-too-large", Probe::Own(too_large)),
    ("event-no-answer", Probe::Own(no_answer)),
    ("event-two", Probe::Own(two_descriptors)),
    ("event-poll", Probe::Own(poll)),
    ("event-thread", Probe::Own(in_a_thread)),
];

/// Answers with the kind and the flags of the event, and its meta.
fn flags(mut device: Device) {
    loop {
        let mut header = [0; HEADER_BYTES];
        device.file.read_exact(&mut header).expect("header");
        let header = Header::from_bytes(header);
        let mut rest = vec![0; (header.meta_bytes + header.payload_bytes) as usize];
        device.file.read_exact(&mut rest).expect("rest");
        rest.truncate(header.meta_bytes as usize);
        device.answer(&[&header.kind.to_le_bytes()[..], &header.flags.to_le_bytes(), &rest].concat());
    }
}

/// Reads in small parts of different sizes, and answers in small parts.
fn parts(mut device: Device) {
    loop {
        let mut bytes = Vec::new();
        let mut sizes = [1, 3, 7, 2, 5].into_iter().cycle();
        let mut wanted = HEADER_BYTES;
        while bytes.len() < wanted {
            let mut part = vec![0; sizes.next().expect("endless").min(wanted - bytes.len())];
            let got = device.file.read(&mut part).expect("read");
            assert!(got > 0, "the device has no end");
            bytes.extend_from_slice(&part[..got]);
            if bytes.len() == HEADER_BYTES {
                let header = Header::from_bytes(bytes[..].try_into().expect("16 bytes"));
                wanted += (header.meta_bytes + header.payload_bytes) as usize;
            }
        }
        let answer = record(&bytes[HEADER_BYTES..]);
        let mut at = 0;
        while at < answer.len() {
            let end = answer.len().min(at + sizes.next().expect("endless"));
            assert_eq!(device.file.write(&answer[at..end]).expect("write"), end - at);
            at = end;
        }
    }
}

fn empty_read(mut device: Device) {
    loop {
        // Before there is an event, a read of nothing must not wait for one.
        assert_eq!(device.file.read(&mut []).expect("read"), 0);
        let payload = device.read();
        assert_eq!(device.file.read(&mut []).expect("read"), 0);
        device.answer(&payload);
        assert_eq!(device.file.write(b"").expect("write"), 0);
    }
}

fn too_large(mut device: Device) {
    loop {
        device.read();
        let block = vec![7; 1 << 20];
        let mut written = 0;
        let refused = loop {
            match device.file.write(&block) {
                Ok(bytes) => written += bytes,
                Err(error) => break errno::<()>(Err(error)),
            }
        };
        assert_eq!((written, refused), (RECORD_MAX_BYTES, libc::EFBIG));
        // What was written is no record; the host must refuse it.
    }
}

fn no_answer(mut device: Device) {
    loop {
        device.read();
    }
}

fn two_descriptors(mut device: Device) {
    let mut second = Device::open();
    loop {
        let mut header = [0; HEADER_BYTES];
        device.file.read_exact(&mut header).expect("header");
        let payload = second.rest(Header::from_bytes(header));
        second.answer(&payload);
    }
}

fn poll(mut device: Device) {
    let readable = |device: &Device, timeout_ms: i32| {
        let mut polled = libc::pollfd { fd: device.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let count = unsafe { libc::poll(&raw mut polled, 1, timeout_ms) };
        count == 1 && polled.revents & libc::POLLIN != 0
    };
    assert!(!readable(&device, 0), "no event yet");
    loop {
        // Waits for the event in `poll`, not in `read`.
        assert!(readable(&device, -1), "an event");
        let payload = device.read();
        assert!(!readable(&device, 0), "the event was read");
        device.answer(&payload);
    }
}

/// The loop runs in a second thread while the first waits for it.
fn in_a_thread(mut device: Device) {
    let worker = std::thread::spawn(move || {
        loop {
            let payload = device.read();
            device.answer(&payload);
        }
    });
    worker.join().expect("never");
}
