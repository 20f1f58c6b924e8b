//! Ancillary data of messages (`struct cmsghdr`).

use alloc::vec::Vec;

use crate::errno::Errno;
use crate::files::limits::RIGHTS_MAX;
use crate::files::socket::SOCKET_LEVEL;
use crate::syscall::call::{half_at, word_at};

const HEADER_BYTES: usize = 16;
const RIGHTS: u32 = 1;
const CREDENTIALS: u32 = 2;

/// The descriptors that ancillary data of `AF_UNIX` names. Who sends is always the same one: credentials are only checked.
pub(super) fn descriptors(mut data: &[u8]) -> Result<Vec<u32>, Errno> {
    let mut fds = Vec::new();
    while data.len() >= HEADER_BYTES {
        let length = usize::try_from(word_at(data, 0)).ok();
        let length = length.filter(|length| (HEADER_BYTES..=data.len()).contains(length)).ok_or(Errno::INVAL)?;
        let body = &data[HEADER_BYTES..length];
        match (half_at(data, 8), half_at(data, 12)) {
            (SOCKET_LEVEL, RIGHTS) if body.len() / 4 + fds.len() > RIGHTS_MAX => return Err(Errno::INVAL),
            (SOCKET_LEVEL, RIGHTS) => fds.extend(body.chunks_exact(4).map(|fd| half_at(fd, 0))),
            (SOCKET_LEVEL, CREDENTIALS) if body.len() == 12 => {}
            _ => return Err(Errno::INVAL),
        }
        data = data.get(length.next_multiple_of(8)..).unwrap_or(&[]);
    }
    Ok(fds)
}

/// Ancillary data for the program, within the room that it has.
pub(super) struct Control {
    pub(super) bytes: Vec<u8>,
    room: usize,
    /// Something did not fit.
    pub(super) is_cut: bool,
}

impl Control {
    pub(super) fn new(room: usize) -> Control {
        Control { bytes: Vec::new(), room, is_cut: false }
    }

    /// Descriptors for which there is room.
    pub(super) fn rights_room(&self) -> usize {
        (self.room - self.bytes.len()).saturating_sub(HEADER_BYTES) / 4
    }

    pub(super) fn put_rights(&mut self, fds: &[u32]) {
        let data: Vec<u8> = fds.iter().flat_map(|fd| fd.to_le_bytes()).collect();
        self.put(RIGHTS, &data);
    }

    /// Number of the process, user and group: those of the only process that there is.
    pub(super) fn put_credentials(&mut self, process: u32) {
        self.put(CREDENTIALS, &[process.to_le_bytes(), [0; 4], [0; 4]].concat());
    }

    fn put(&mut self, kind: u32, data: &[u8]) {
        let length = HEADER_BYTES + data.len();
        if length > self.room - self.bytes.len() {
            self.is_cut = true;
            return;
        }
        self.bytes.extend_from_slice(&(length as u64).to_le_bytes());
        self.bytes.extend_from_slice(&SOCKET_LEVEL.to_le_bytes());
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(8).min(self.room), 0);
    }
}
