//! What calls do to a descriptor or an open file itself.

use super::Files;
use super::description::{End, Object, flag};
use super::pipe::Pipe;
use super::place::Place;
use super::socket::State;
use crate::errno::Errno;

impl Files {
    pub(crate) fn closes_on_exec(&self, fd: u64) -> Result<bool, Errno> {
        Ok(self.descriptors.get(fd as u32)?.closes_on_exec)
    }

    pub(crate) fn set_closes_on_exec(&mut self, fd: u64, closes: bool) -> Result<(), Errno> {
        self.descriptors.get_mut(fd as u32)?.closes_on_exec = closes;
        Ok(())
    }

    /// The lowest free descriptor from `from` on.
    pub(crate) fn lowest_free(&self, from: u32) -> Result<u32, Errno> {
        self.descriptors.lowest_free(from)
    }

    /// Bytes that a read could give now; `None` for what has no such number.
    pub(crate) fn waiting_bytes(&self, fd: u64) -> Result<Option<u64>, Errno> {
        let description = self.description(fd)?;
        let left = |length: u64| Some(length.saturating_sub(description.position));
        let in_pipe = |pipe: u32| self.pipes.get(pipe).map(|pipe| pipe.len() as u64);
        Ok(match &description.object {
            Object::Bytes(bytes) => left(bytes.len()),
            Object::Generated(bytes) => left(bytes.len() as u64),
            Object::Tmp(id) => left(self.tmp.len(*id)),
            Object::Pipe { pipe, end: End::Read } => in_pipe(*pipe),
            Object::Socket(socket) => match self.sockets.get(*socket).map(|socket| &socket.state) {
                Some(State::Connected(link)) => Some(link.incoming.len() as u64),
                Some(State::Datagrams(inbox)) => Some(inbox.first_bytes() as u64),
                _ => Some(0),
            },
            _ => None,
        })
    }

    /// Two ends of a new pipe: for reading, for writing.
    pub(crate) fn open_pipe(&mut self, flags: u32) -> Result<[u32; 2], Errno> {
        if !self.descriptors.has_room(2) {
            return Err(Errno::MFILE);
        }
        let pipe = self.pipes.insert(Pipe::default());
        let read = self.install(Object::Pipe { pipe, end: End::Read }, None, flags)?;
        let write = self.install(Object::Pipe { pipe, end: End::Write }, None, flag::WRITE_ONLY | flags)?;
        Ok([read, write])
    }

    pub(crate) fn pipe_mut(&mut self, fd: u64) -> Result<&mut Pipe, Errno> {
        match self.description(fd)?.object {
            Object::Pipe { pipe, .. } => self.pipes.get_mut(pipe).ok_or(Errno::BADF),
            _ => Err(Errno::BADF),
        }
    }

    /// Makes a file reach to `end` if `grows`, provided that there is room for what is missing of the bytes from `start` on.
    ///
    /// Nothing is set aside: pages that nobody has written would be copied into snapshots and put back at resets.
    pub(crate) fn allocate(&mut self, place: Place, range: (u64, u64), grows: bool, now_ns: u64) -> Result<(), Errno> {
        let Place::Tmp(id) = place else { return Err(Errno::NODEV) };
        let (start, end) = range;
        if end > super::limits::FILE_BYTES_MAX {
            return Err(Errno::FBIG);
        }
        let free = self.tmp.budget.limit_bytes.saturating_sub(self.tmp.budget.used_bytes);
        let content = self.tmp.content(id)?;
        if end - start > free.saturating_add(content.stored_bytes()) {
            return Err(Errno::NOSPC);
        }
        if grows && content.len() < end { self.tmp.resize(id, end, now_ns) } else { Ok(()) }
    }

    /// Makes the bytes from `start` to `end` of a file zero.
    pub(crate) fn punch(&mut self, place: Place, (start, end): (u64, u64), now_ns: u64) -> Result<(), Errno> {
        let Place::Tmp(id) = place else { return Err(Errno::NODEV) };
        self.tmp.change(id, now_ns, |content, budget| content.punch(start, end, budget))
    }
}
