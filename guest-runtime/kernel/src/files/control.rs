//! What calls do to a descriptor or an open file itself.

use super::Files;
use super::description::{End, Object};
use super::place::Place;
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
            Object::Bytes(bytes) => left(bytes.len() as u64),
            Object::Generated(bytes) => left(bytes.len() as u64),
            Object::Tmp(id) => left(self.tmp.len(*id)),
            Object::Pipe { pipe, end: End::Read } => in_pipe(*pipe),
            Object::Socket(socket) => {
                let reads = self.sockets.get(*socket).and_then(|socket| socket.reads);
                Some(reads.and_then(in_pipe).unwrap_or(0))
            }
            _ => None,
        })
    }

    /// Gives the bytes from `start` to `end` of a file their memory now; with `grows`, the file reaches to `end` then.
    pub(crate) fn allocate(&mut self, place: Place, range: (u64, u64), grows: bool, now_ns: u64) -> Result<(), Errno> {
        let Place::Tmp(id) = place else { return Err(Errno::NODEV) };
        let (start, end) = range;
        if end > super::limits::FILE_BYTES_MAX {
            return Err(Errno::FBIG);
        }
        // Asked for before anything is allocated: an impossible wish must not fill the tree up.
        let free = self.tmp.budget.limit_bytes.saturating_sub(self.tmp.budget.used_bytes);
        let stored = self.tmp.content(id)?.stored_bytes();
        if end - start > free.saturating_add(stored) {
            return Err(Errno::NOSPC);
        }
        let allocated = self.tmp.change(id, now_ns, |content, budget| {
            let allocated = content.allocate(start, end, budget);
            if allocated && grows && content.len() < end {
                content.resize(end, budget);
            }
            allocated
        })?;
        if allocated { Ok(()) } else { Err(Errno::NOSPC) }
    }

    /// Makes the bytes from `start` to `end` of a file zero.
    pub(crate) fn punch(&mut self, place: Place, (start, end): (u64, u64), now_ns: u64) -> Result<(), Errno> {
        let Place::Tmp(id) = place else { return Err(Errno::NODEV) };
        self.tmp.change(id, now_ns, |content, budget| content.punch(start, end, budget))
    }
}
