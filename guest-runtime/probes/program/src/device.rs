//! The event device, as an ordinary runtime uses it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use mayfly_abi::record::{HEADER_BYTES, Header, RESPONSE};

/// `/dev/mayfly`, open.
pub struct Device {
    pub file: File,
}

impl Device {
    pub fn open() -> Device {
        Device { file: OpenOptions::new().read(true).write(true).open("/dev/mayfly").expect("the event device") }
    }

    /// Waits for an event; returns its payload.
    pub fn read(&mut self) -> Vec<u8> {
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact(&mut header).expect("the header of an event");
        self.rest(Header::from_bytes(header))
    }

    /// Reads what follows a header; returns the payload.
    pub fn rest(&mut self, header: Header) -> Vec<u8> {
        let mut rest = vec![0; (header.meta_bytes + header.payload_bytes) as usize];
        self.file.read_exact(&mut rest).expect("the rest of an event");
        rest.split_off(header.meta_bytes as usize)
    }

    /// Answers.
    pub fn answer(&mut self, payload: &[u8]) {
        let record = record(payload);
        self.file.write_all(&record).expect("writing an answer");
    }
}

/// An answer as bytes.
pub fn record(payload: &[u8]) -> Vec<u8> {
    let header = Header { kind: RESPONSE, flags: 0, meta_bytes: 0, payload_bytes: payload.len() as u32 };
    [&header.to_bytes()[..], payload].concat()
}
