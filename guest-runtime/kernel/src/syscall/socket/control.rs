//! Ancillary data of messages (`struct cmsghdr`).

use alloc::vec::Vec;

use crate::errno::Errno;
use crate::files::limits::RIGHTS_MAX;
use crate::files::socket::{
    DATAGRAM, Header, INTERNET_6, IPV6_LEVEL, PASS_CREDENTIALS, RECEIVE_HOP_LIMIT, RECEIVE_TRAFFIC_CLASS, SOCKET_LEVEL,
    Socket, UNIX,
};
use crate::syscall::call::{half_at, word_at};

const HEADER_BYTES: usize = 16;
const RIGHTS: u32 = 1;
const CREDENTIALS: u32 = 2;
const HOP_LIMIT: u32 = 52;
const TRAFFIC_CLASS: u32 = 67;

/// What ancillary data asks for.
#[derive(Debug, Default)]
pub(super) struct Request {
    /// Descriptors to send along.
    pub(super) fds: Vec<u32>,
    pub(super) hop_limit: Option<u8>,
    pub(super) traffic_class: Option<u8>,
}

impl Request {
    /// Reads the ancillary data of a message on a socket of that family. Who sends is always the same one: credentials are only
    /// looked at.
    pub(super) fn parse(family: u32, mut data: &[u8]) -> Result<Request, Errno> {
        let mut request = Request::default();
        while data.len() >= HEADER_BYTES {
            let length = usize::try_from(word_at(data, 0)).ok();
            let length = length.filter(|length| (HEADER_BYTES..=data.len()).contains(length)).ok_or(Errno::INVAL)?;
            let body = &data[HEADER_BYTES..length];
            match (family, half_at(data, 8), half_at(data, 12), body.len()) {
                (UNIX, SOCKET_LEVEL, RIGHTS, bytes) if bytes / 4 + request.fds.len() <= RIGHTS_MAX => {
                    request.fds.extend(body.chunks_exact(4).map(|fd| half_at(fd, 0)));
                }
                (UNIX, SOCKET_LEVEL, CREDENTIALS, 12) => {}
                (INTERNET_6, IPV6_LEVEL, HOP_LIMIT, 4) => request.hop_limit = field(half_at(body, 0))?,
                (INTERNET_6, IPV6_LEVEL, TRAFFIC_CLASS, 4) => request.traffic_class = field(half_at(body, 0))?,
                _ => return Err(Errno::INVAL),
            }
            data = data.get(length.next_multiple_of(8)..).unwrap_or(&[]);
        }
        Ok(request)
    }
}

/// A field of a header; -1 is what the socket has.
fn field(value: u32) -> Result<Option<u8>, Errno> {
    match value {
        u32::MAX => Ok(None),
        value => u8::try_from(value).map(Some).map_err(|_| Errno::INVAL),
    }
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
        self.put(SOCKET_LEVEL, RIGHTS, &data);
    }

    /// Number of the process, user and group: those of the only process that there is.
    pub(super) fn put_credentials(&mut self, process: u32) {
        self.put(SOCKET_LEVEL, CREDENTIALS, &[process.to_le_bytes(), [0; 4], [0; 4]].concat());
    }

    pub(super) fn put_hop_limit(&mut self, hop_limit: u8) {
        self.put(IPV6_LEVEL, HOP_LIMIT, &u32::from(hop_limit).to_le_bytes());
    }

    pub(super) fn put_traffic_class(&mut self, traffic_class: u8) {
        self.put(IPV6_LEVEL, TRAFFIC_CLASS, &u32::from(traffic_class).to_le_bytes());
    }

    /// Adds an item, or as much of it as there is room for; of one whose header does not fit, nothing.
    fn put(&mut self, level: u32, kind: u32, data: &[u8]) {
        let left = self.room - self.bytes.len();
        let length = (HEADER_BYTES + data.len()).min(left);
        self.is_cut |= length < HEADER_BYTES + data.len();
        let Some(data) = data.get(..length.wrapping_sub(HEADER_BYTES)) else { return };
        self.bytes.extend_from_slice(&(length as u64).to_le_bytes());
        self.bytes.extend_from_slice(&level.to_le_bytes());
        self.bytes.extend_from_slice(&kind.to_le_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(8).min(self.room), 0);
    }
}

/// What a socket is told of each message besides its bytes.
pub(super) struct Told {
    credentials: bool,
    hop_limit: bool,
    traffic_class: bool,
}

impl Told {
    pub(super) fn of(socket: &Socket) -> Told {
        let asks = |option| socket.options.get(option) != 0;
        let over_ipv6 = socket.family == INTERNET_6 && socket.kind == DATAGRAM;
        Told {
            credentials: socket.family == UNIX && asks(PASS_CREDENTIALS),
            hop_limit: over_ipv6 && asks(RECEIVE_HOP_LIMIT),
            traffic_class: over_ipv6 && asks(RECEIVE_TRAFFIC_CLASS),
        }
    }

    pub(super) fn put(&self, out: &mut Control, header: &Header, process: u32) {
        if self.credentials {
            out.put_credentials(process);
        }
        if self.hop_limit {
            out.put_hop_limit(header.hop_limit);
        }
        if self.traffic_class {
            out.put_traffic_class(header.traffic_class);
        }
    }
}
