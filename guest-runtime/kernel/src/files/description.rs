//! Open descriptions: what descriptors name, shared by those that were duplicated.

use alloc::format;
use alloc::vec::Vec;

use super::Files;
use super::bytes::Bytes;
use super::descriptors::Descriptor;
use super::device::Device;
use super::place::Place;
use super::tmp::NodeId;
use crate::errno::Errno;

/// Flags of `open` and `fcntl(F_SETFL)`; the numbers are Linux's.
pub(crate) mod flag {
    pub(crate) const ACCESS_MASK: u32 = 0o3;
    pub(crate) const WRITE_ONLY: u32 = 0o1;
    pub(crate) const READ_WRITE: u32 = 0o2;
    pub(crate) const CREATE: u32 = 0o100;
    pub(crate) const EXCLUSIVE: u32 = 0o200;
    pub(crate) const TRUNCATE: u32 = 0o1000;
    pub(crate) const APPEND: u32 = 0o2000;
    pub(crate) const NONBLOCKING: u32 = 0o4000;
    pub(crate) const DIRECTORY: u32 = 0o200_000;
    pub(crate) const NO_ACCESS_TIME: u32 = 0o1_000_000;
    pub(crate) const NOFOLLOW: u32 = 0o400_000;
    pub(crate) const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    pub(crate) const PATH: u32 = 0o10_000_000;
    pub(crate) const TEMPORARY: u32 = 0o20_000_000;
    /// What `F_SETFL` can change: APPEND, ASYNC, DIRECT, NOATIME, NONBLOCK. Three of them mean something here.
    pub(crate) const SETTABLE: u32 = APPEND | NONBLOCKING | NO_ACCESS_TIME | 0o20_000 | 0o40_000;
    /// What `F_GETFL` shows: all but what only told `open` how to do it.
    pub(crate) const SHOWN: u32 = !(CREATE | EXCLUSIVE | TRUNCATE | CLOSE_ON_EXEC | 0o400);
    /// `O_LARGEFILE`, which Linux shows for every file on a 64-bit machine.
    pub(crate) const LARGE: u32 = 0o100_000;
}

/// Which end of a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Read,
    Write,
}

/// What is open.
#[derive(Debug)]
pub(crate) enum Object {
    /// A file of an image, or a static one: bytes in place.
    Bytes(Bytes),
    /// A file of `/proc`, as it was when it was opened.
    Generated(Vec<u8>),
    /// A directory; the description's place says which.
    Directory,
    /// A file in a writable tree.
    Tmp(NodeId),
    Device(Device),
    Pipe {
        pipe: u32,
        end: End,
    },
    Counter(u32),
    Timer(u32),
    Epoll(u32),
    Socket(u32),
    /// `O_PATH`: only the place counts.
    Path,
}

impl Object {
    /// Has it an offset that `lseek` can move?
    pub(crate) fn is_seekable(&self) -> bool {
        matches!(self, Object::Bytes(_) | Object::Generated(_) | Object::Directory | Object::Tmp(_))
            || matches!(self, Object::Device(Device::Null | Device::Zero | Device::Full | Device::Random))
    }

    /// Is it a regular file?
    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Object::Bytes(_) | Object::Generated(_) | Object::Tmp(_))
    }

    /// Does a blocking write go on until everything is written?
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self, Object::Pipe { .. } | Object::Socket(_) | Object::Device(_))
    }

    /// What `/proc/self/fd` shows for an object without a path.
    pub(crate) fn text(&self) -> Vec<u8> {
        let text = match self {
            Object::Pipe { pipe, .. } => format!("pipe:[{pipe}]"),
            Object::Socket(socket) => format!("socket:[{socket}]"),
            Object::Counter(_) => "anon_inode:[eventfd]".into(),
            Object::Timer(_) => "anon_inode:[timerfd]".into(),
            Object::Epoll(_) => "anon_inode:[eventpoll]".into(),
            Object::Device(Device::Log) => "/dev/console".into(),
            _ => "/dev/null".into(),
        };
        text.into_bytes()
    }
}

/// An open description.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) object: Object,
    /// Where it was opened, if by a path.
    pub(crate) place: Option<Place>,
    /// Offset of the next read or write; in a directory, position of the next entry.
    pub(crate) position: u64,
    /// Access mode and status flags.
    pub(crate) flags: u32,
    /// Descriptors that name it.
    pub(crate) references: u32,
}

impl Description {
    pub(crate) fn is_readable(&self) -> bool {
        self.flags & (flag::PATH | flag::ACCESS_MASK) != flag::WRITE_ONLY && self.flags & flag::PATH == 0
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.flags & flag::ACCESS_MASK != 0 && self.flags & flag::PATH == 0
    }

    pub(crate) fn is_nonblocking(&self) -> bool {
        self.flags & flag::NONBLOCKING != 0
    }
}

impl Files {
    /// The description that `fd` (a register: the upper half does not count) names.
    pub(crate) fn description(&self, fd: u64) -> Result<&Description, Errno> {
        let descriptor = self.descriptors.get(fd as u32)?;
        self.descriptions.get(descriptor.description).ok_or(Errno::BADF)
    }

    pub(crate) fn description_mut(&mut self, fd: u64) -> Result<&mut Description, Errno> {
        let descriptor = self.descriptors.get(fd as u32)?;
        self.descriptions.get_mut(descriptor.description).ok_or(Errno::BADF)
    }

    /// Opens `object` at the lowest free number. On an error nothing is open and the object is undone.
    pub(crate) fn install(&mut self, object: Object, place: Option<Place>, flags: u32) -> Result<u32, Errno> {
        let closes_on_exec = flags & flag::CLOSE_ON_EXEC != 0;
        let description = Description { object, place, position: 0, flags: flags & flag::SHOWN, references: 1 };
        self.hold(place);
        let description = self.descriptions.insert(description);
        let descriptor = Descriptor { description, closes_on_exec };
        let added = self.descriptors.lowest_free(0).and_then(|fd| self.descriptors.set(fd, descriptor).map(|_| fd));
        if added.is_err() {
            self.drop_reference(description);
        }
        added
    }

    /// Makes `number` name what `fd` names, closing what it named before.
    pub(crate) fn duplicate(&mut self, fd: u64, number: u32, closes_on_exec: bool) -> Result<u32, Errno> {
        let description = self.descriptors.get(fd as u32)?.description;
        let before = self.descriptors.set(number, Descriptor { description, closes_on_exec })?;
        if let Some(shared) = self.descriptions.get_mut(description) {
            shared.references += 1;
        }
        if let Some(before) = before {
            self.drop_reference(before.description);
        }
        Ok(number)
    }

    /// Closes a descriptor.
    pub(crate) fn close(&mut self, fd: u64) -> Result<(), Errno> {
        let descriptor = self.descriptors.remove(fd as u32)?;
        self.drop_reference(descriptor.description);
        Ok(())
    }

    fn drop_reference(&mut self, index: u32) {
        self.drop_one(index);
        self.end_orphans();
    }

    /// One reference less. What a socket held that ends with it is left to [`Files::end_orphans`].
    pub(crate) fn drop_one(&mut self, index: u32) {
        let Some(description) = self.descriptions.get_mut(index) else { return };
        description.references -= 1;
        if description.references > 0 {
            return;
        }
        if let Some(ended) = self.descriptions.remove(index) {
            for epoll in self.epolls.values_mut() {
                epoll.forget(index);
            }
            self.end_object(&ended.object);
            self.release(ended.place);
        }
    }

    /// What closing the last descriptor means for an object.
    fn end_object(&mut self, object: &Object) {
        self.changes += 1;
        match *object {
            Object::Pipe { pipe, end } => self.close_pipe_end(pipe, end),
            Object::Timer(timer) => drop(self.timers.remove(timer)),
            Object::Counter(counter) => drop(self.counters.remove(counter)),
            Object::Epoll(epoll) => drop(self.epolls.remove(epoll)),
            Object::Socket(socket) => self.end_socket(socket),
            _ => {}
        }
    }

    /// Closes one end of a pipe; the pipe is gone with its last end.
    pub(crate) fn close_pipe_end(&mut self, index: u32, end: End) {
        let Some(pipe) = self.pipes.get_mut(index) else { return };
        match end {
            End::Read => pipe.close_reader(),
            End::Write => pipe.close_writer(),
        }
        if pipe.readers == 0 && pipe.writers == 0 {
            self.pipes.remove(index);
        }
    }
}
