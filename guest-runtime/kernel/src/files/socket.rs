//! Sockets: connected pairs, and stubs of the others that say clearly that there is no network.

use super::Files;
use super::description::{End, Object, flag};
use super::pipe::Pipe;
use crate::errno::Errno;

/// Operation on something that is not a socket.
pub(crate) const NOT_A_SOCKET: Errno = Errno(88);
/// Destination address required.
pub(crate) const NO_DESTINATION: Errno = Errno(89);
/// Protocol not available (an unknown socket option).
pub(crate) const NO_SUCH_OPTION: Errno = Errno(92);
/// Protocol not supported.
pub(crate) const NO_SUCH_PROTOCOL: Errno = Errno(93);
/// Socket type not supported.
pub(crate) const NO_SUCH_TYPE: Errno = Errno(94);
/// Operation not supported.
pub(crate) const NOT_SUPPORTED: Errno = Errno(95);
/// Transport endpoint is already connected.
pub(crate) const IS_CONNECTED: Errno = Errno(106);
/// Transport endpoint is not connected.
pub(crate) const NOT_CONNECTED: Errno = Errno(107);

/// Address families.
pub(crate) const UNIX: u32 = 1;
pub(crate) const INTERNET: u32 = 2;
pub(crate) const INTERNET_6: u32 = 10;
/// `SOCK_STREAM`.
pub(crate) const STREAM: u32 = 1;
/// `SOCK_DGRAM`.
pub(crate) const DATAGRAM: u32 = 2;

/// A socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) family: u32,
    pub(crate) kind: u32,
    /// The two pipes of a connected pair; each is given up when its direction is shut down.
    pub(crate) reads: Option<u32>,
    pub(crate) writes: Option<u32>,
    pub(crate) is_connected: bool,
}

impl Files {
    /// A socket that is not connected, and that nothing can be done with but to try.
    pub(crate) fn open_socket(&mut self, family: u32, kind: u32, flags: u32) -> Result<u32, Errno> {
        let socket = Socket { family, kind, reads: None, writes: None, is_connected: false };
        let index = self.sockets.insert(socket);
        self.install(Object::Socket(index), None, flag::READ_WRITE | flags)
    }

    /// Two connected stream sockets.
    pub(crate) fn open_socket_pair(&mut self, flags: u32) -> Result<[u32; 2], Errno> {
        if !self.descriptors.has_room(2) {
            return Err(Errno::MFILE);
        }
        let (there, back) = (self.pipes.insert(Pipe::new()), self.pipes.insert(Pipe::new()));
        let mut pair = [0; 2];
        for (slot, (reads, writes)) in pair.iter_mut().zip([(back, there), (there, back)]) {
            let socket =
                Socket { family: UNIX, kind: STREAM, reads: Some(reads), writes: Some(writes), is_connected: true };
            let index = self.sockets.insert(socket);
            *slot = self.install(Object::Socket(index), None, flag::READ_WRITE | flags)?;
        }
        Ok(pair)
    }

    /// Two ends of a new pipe: for reading, for writing.
    pub(crate) fn open_pipe(&mut self, flags: u32) -> Result<[u32; 2], Errno> {
        if !self.descriptors.has_room(2) {
            return Err(Errno::MFILE);
        }
        let pipe = self.pipes.insert(Pipe::new());
        let read = self.install(Object::Pipe { pipe, end: End::Read }, None, flags)?;
        let write = self.install(Object::Pipe { pipe, end: End::Write }, None, flag::WRITE_ONLY | flags)?;
        Ok([read, write])
    }

    pub(crate) fn socket(&self, fd: u64) -> Result<(u32, &Socket), Errno> {
        match self.description(fd)?.object {
            Object::Socket(index) => Ok((index, self.sockets.get(index).ok_or(Errno::BADF)?)),
            _ => Err(NOT_A_SOCKET),
        }
    }

    /// Ends one direction or both.
    pub(crate) fn shut_down(&mut self, index: u32, reading: bool, writing: bool) {
        let Some(socket) = self.sockets.get_mut(index) else { return };
        let reads = if reading { socket.reads.take() } else { None };
        let writes = if writing { socket.writes.take() } else { None };
        if let Some(pipe) = reads {
            self.close_pipe_end(pipe, End::Read);
        }
        if let Some(pipe) = writes {
            self.close_pipe_end(pipe, End::Write);
        }
        self.changes += 1;
    }

    pub(crate) fn end_socket(&mut self, index: u32) {
        self.shut_down(index, true, true);
        self.sockets.remove(index);
    }
}
