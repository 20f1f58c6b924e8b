//! Reading, writing, seeking and listing through an open description.

use alloc::vec::Vec;

use super::Files;
use super::description::{Description, End, Object, flag};
use super::environment::Environment;
use super::limits::{FILE_BYTES_MAX, RESERVE_BYTES, TRANSFER_BYTES_MAX};
use super::place::{Name, Place, descriptor_entry, place_of};
use super::synthetic::Synthetic;
use super::tmp::{NodeId, Tmp};
use super::tree::Directory;
use crate::errno::Errno;

/// Where `lseek` counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whence {
    Start,
    Current,
    End,
    Data,
    Hole,
}

impl Files {
    /// Most bytes that a read could give now: a buffer need not be larger to be checked. `at` as in [`Files::read`].
    pub(crate) fn readable_bytes(&self, fd: u64, at: Option<u64>, wanted: u64) -> Result<u64, Errno> {
        let description = self.description(fd)?;
        let length = match &description.object {
            Object::Bytes(bytes) => bytes.len(),
            Object::Generated(bytes) => bytes.len() as u64,
            Object::Tmp(id) => self.tmp.len(*id),
            _ => u64::MAX,
        };
        let left = length.saturating_sub(at.unwrap_or(description.position));
        let left = if length == u64::MAX { u64::MAX } else { left };
        Ok(wanted.min(left).min(TRANSFER_BYTES_MAX))
    }

    /// Reads at offset `at`, or at the description's own and moves that. `None`: nothing yet, but there may be later.
    pub(crate) fn read(
        &mut self,
        fd: u64,
        into: &mut [u8],
        at: Option<u64>,
        environment: &mut dyn Environment,
    ) -> Result<Option<usize>, Errno> {
        let index = self.descriptors.get(fd as u32)?.description;
        let description = self.descriptions.get_mut(index).ok_or(Errno::BADF)?;
        if !description.is_readable() {
            return Err(Errno::BADF);
        }
        if at.is_some() && !description.object.is_seekable() {
            return Err(Errno::SPIPE);
        }
        let position = at.unwrap_or(description.position);
        let count = match &description.object {
            Object::Bytes(bytes) => bytes.copy(position, into),
            Object::Generated(bytes) => copy_from(bytes, position, into),
            Object::Tmp(id) => {
                if self.tmp.notes_access(*id) && !into.is_empty() && description.flags & flag::NO_ACCESS_TIME == 0 {
                    self.tmp.note_access(*id, environment.realtime_ns());
                }
                self.tmp.read(*id, position, into)?
            }
            Object::Device(device) => return device.read(into, environment),
            Object::Pipe { pipe, end: End::Read } => {
                let read = self.pipes.get_mut(*pipe).ok_or(Errno::BADF)?.read(into);
                self.changes += u64::from(read.is_some_and(|count| count > 0));
                return Ok(read);
            }
            Object::Counter(counter) => {
                let read = self.counters.get_mut(*counter).ok_or(Errno::BADF)?.read(into)?;
                self.changes += u64::from(read.is_some());
                return Ok(read);
            }
            Object::Timer(timer) => return self.timers.get_mut(*timer).ok_or(Errno::BADF)?.read(into),
            Object::Directory => return Err(Errno::ISDIR),
            Object::Pipe { .. } | Object::Path => return Err(Errno::BADF),
            // What comes in on a socket is a message, not bytes alone: `syscall::socket` reads it.
            Object::Epoll(_) | Object::Socket(_) => return Err(Errno::INVAL),
        };
        if at.is_none() {
            description.position = position.saturating_add(count as u64);
        }
        Ok(Some(count))
    }

    /// Writes, as [`Files::read`] reads. `None`: no room yet.
    pub(crate) fn write(
        &mut self,
        fd: u64,
        from: &[u8],
        at: Option<u64>,
        environment: &mut dyn Environment,
    ) -> Result<Option<usize>, Errno> {
        let index = self.descriptors.get(fd as u32)?.description;
        let description = self.descriptions.get_mut(index).ok_or(Errno::BADF)?;
        if !description.is_writable() {
            return Err(Errno::BADF);
        }
        if at.is_some() && !description.object.is_seekable() {
            return Err(Errno::SPIPE);
        }
        match &description.object {
            // Nothing written: not even the offset moves.
            Object::Tmp(_) if from.is_empty() => Ok(Some(0)),
            Object::Tmp(id) => {
                // O_APPEND counts for pwrite too, as on Linux (and against POSIX).
                let appends = description.flags & flag::APPEND != 0;
                let start = if appends { self.tmp.len(*id) } else { at.unwrap_or(description.position) };
                let count = write_pieces(&mut self.tmp, *id, start, from, environment)?;
                if at.is_none() {
                    description.position = start.saturating_add(count as u64);
                }
                Ok(Some(count))
            }
            Object::Device(device) => device.write(from, environment).map(Some),
            Object::Pipe { pipe, end: End::Write } => {
                let pipe = self.pipes.get_mut(*pipe).ok_or(Errno::BADF)?;
                environment.reserve(from.len().min(pipe.limit_bytes()));
                let written = pipe.write(from)?;
                self.changes += u64::from(written.is_some());
                Ok(written)
            }
            Object::Counter(counter) => {
                let written = self.counters.get_mut(*counter).ok_or(Errno::BADF)?.write(from)?;
                self.changes += u64::from(written.is_some());
                Ok(written)
            }
            Object::Socket(socket) => {
                let socket = *socket;
                self.send(socket, from, &mut Vec::new())
            }
            Object::Epoll(_) | Object::Timer(_) => Err(Errno::INVAL),
            _ => Err(Errno::BADF),
        }
    }

    /// Moves the offset and says where it is.
    pub(crate) fn seek(&mut self, fd: u64, offset: i64, whence: Whence) -> Result<u64, Errno> {
        let description = self.description(fd)?;
        if description.flags & flag::PATH != 0 {
            return Err(Errno::BADF);
        }
        if !description.object.is_seekable() {
            return Err(Errno::SPIPE);
        }
        let length = match &description.object {
            Object::Bytes(bytes) => bytes.len(),
            Object::Generated(bytes) => bytes.len() as u64,
            Object::Tmp(id) => self.tmp.len(*id),
            // The number under which a directory's end is found is nobody's business; devices have no offset at all.
            Object::Directory if whence != Whence::Start && whence != Whence::Current => return Err(Errno::INVAL),
            Object::Directory => 0,
            _ => return Ok(0),
        };
        let position = match whence {
            Whence::Start => u64::try_from(offset).ok(),
            Whence::Current => description.position.checked_add_signed(offset),
            Whence::End => length.checked_add_signed(offset),
            Whence::Data | Whence::Hole => Some(self.seek_data(description, length, offset, whence == Whence::Data)?),
        };
        let limit = if matches!(description.object, Object::Directory) { i64::MAX as u64 } else { FILE_BYTES_MAX };
        let position = position.filter(|position| *position <= limit).ok_or(Errno::INVAL)?;
        self.description_mut(fd)?.position = position;
        Ok(position)
    }

    fn seek_data(&self, description: &Description, length: u64, offset: i64, data: bool) -> Result<u64, Errno> {
        let offset = u64::try_from(offset).ok().filter(|offset| *offset < length).ok_or(Errno::NXIO)?;
        match description.object {
            Object::Tmp(id) => self.tmp.content(id)?.seek(offset, data).ok_or(Errno::NXIO),
            _ => Ok(if data { offset } else { length }),
        }
    }

    /// The entry of the open directory `place` at `position` or later: the position after it, its name, what it is.
    /// `.` and `..` come first.
    pub(crate) fn entry_at(&self, place: Place, position: u64) -> Result<Option<(u64, Name, Place)>, Errno> {
        const DOTS: u64 = 2;
        match position {
            0 => return Ok(Some((1, Name::new(b".")?, place))),
            // A removed directory has none above it; it shows itself.
            1 => return Ok(Some((DOTS, Name::new(b"..")?, self.parent(place).unwrap_or(place)))),
            _ => {}
        }
        let position = position - DOTS;
        let (next, name, place) = match place {
            Place::Tmp(id) => {
                let Some((order, name, node)) = self.tmp.entries(id)?.at(position) else { return Ok(None) };
                (order + 1, Name::new(name)?, Place::Tmp(NodeId(node)))
            }
            Place::Directory(Directory {
                synthetic: Some(at @ (Synthetic::PROC_SELF_FD | Synthetic::PROC_SELF_FD_INFO)),
                ..
            }) => {
                let from = u32::try_from(position).unwrap_or(u32::MAX);
                let Some(fd) = self.descriptors.numbers(from).next() else { return Ok(None) };
                (u64::from(fd) + 1, Name::new(alloc::format!("{fd}").as_bytes())?, descriptor_entry(at, fd))
            }
            Place::Directory(Directory { synthetic: Some(Synthetic::PROC_SELF_TASK), .. }) => {
                let name = alloc::format!("{}", self.process.id);
                let Some(itself) = self.child(place, name.as_bytes())?.filter(|_| position == 0) else {
                    return Ok(None);
                };
                (1, Name::new(name.as_bytes())?, itself)
            }
            Place::Directory(directory) => {
                let Some((next, name, child)) = self.tree.list(&directory, position) else { return Ok(None) };
                (next, Name::new(name)?, place_of(child))
            }
            _ => return Err(Errno::NOTDIR),
        };
        Ok(Some((next + DOTS, name, place)))
    }
}

/// Writes piece by piece, asking for memory before each. Fewer bytes than asked for: there is no more of it.
fn write_pieces(
    tmp: &mut Tmp,
    id: NodeId,
    start: u64,
    from: &[u8],
    environment: &mut dyn Environment,
) -> Result<usize, Errno> {
    let now_ns = environment.realtime_ns();
    let mut done = 0;
    for piece in from.chunks(RESERVE_BYTES) {
        let written = match environment.reserve(piece.len()) {
            true => tmp.write(id, start.saturating_add(done as u64), piece, now_ns),
            false => Err(Errno::NOSPC),
        };
        match written {
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
            Ok(count) => done += count,
        }
        if !done.is_multiple_of(RESERVE_BYTES) {
            break;
        }
    }
    Ok(done)
}

pub(crate) fn copy_from(bytes: &[u8], position: u64, into: &mut [u8]) -> usize {
    let start = usize::try_from(position).unwrap_or(usize::MAX).min(bytes.len());
    let count = into.len().min(bytes.len() - start);
    into[..count].copy_from_slice(&bytes[start..start + count]);
    count
}
