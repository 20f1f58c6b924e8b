//! What `mmap` sees of a file.

use alloc::vec::Vec;

use super::Files;
use super::bytes::Bytes;
use super::description::Object;
use super::device::Device;
use super::place::Place;
use super::tmp::NodeId;
use super::transfer;
use crate::errno::Errno;
use crate::memory::Span;

/// What a mapping of a file shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mappable {
    /// Bytes that are in memory already and never change: map them where they are, or copy them.
    InPlace(Bytes),
    /// Bytes of the kernel's, to be copied with [`Files::copy_file`].
    Copy,
    /// A file of a writable tree: to be copied for a private mapping; a shared one is the file's own memory.
    Tmp {
        /// Its number, for the calls below.
        file: u32,
        /// May a shared mapping write to it?
        is_writable: bool,
    },
    /// `/dev/zero`: anonymous memory.
    Zeros,
}

impl Files {
    /// What a mapping of the open file `fd` shows.
    ///
    /// # Errors
    /// [`Errno::BADF`]; [`Errno::ACCES`] if it is not open for reading; [`Errno::NODEV`] if it is nothing to map.
    pub fn mappable(&self, fd: u64) -> Result<Mappable, Errno> {
        let description = self.description(fd)?;
        if matches!(description.object, Object::Path) {
            return Err(Errno::BADF);
        }
        if !description.is_readable() {
            return Err(Errno::ACCES);
        }
        match &description.object {
            Object::Bytes(bytes) => match description.place {
                Some(Place::File(_)) => Ok(Mappable::InPlace(*bytes)),
                // A static text of the kernel starts on no page.
                _ => Ok(Mappable::Copy),
            },
            Object::Generated(_) => Ok(Mappable::Copy),
            Object::Tmp(id) => Ok(Mappable::Tmp { file: id.0, is_writable: description.is_writable() }),
            Object::Device(Device::Zero) => Ok(Mappable::Zeros),
            _ => Err(Errno::NODEV),
        }
    }

    /// Copies bytes of the open file `fd` from offset `at`; fewer than asked for only at its end.
    ///
    /// # Errors
    /// [`Errno::BADF`]; [`Errno::NODEV`] as for [`Files::mappable`].
    pub fn copy_file(&self, fd: u64, at: u64, into: &mut [u8]) -> Result<usize, Errno> {
        match &self.description(fd)?.object {
            Object::Bytes(bytes) => Ok(bytes.copy(at, into)),
            Object::Generated(bytes) => Ok(transfer::copy_from(bytes, at, into)),
            Object::Tmp(id) => self.tmp.read(*id, at, into),
            _ => Err(Errno::NODEV),
        }
    }

    /// Where the bytes of a file of a writable tree are, from a page on, if the whole range is in the program's memory already.
    #[must_use]
    pub fn shared_address(&self, file: u32, first_page: u64, pages: u64) -> Option<u64> {
        self.tmp.address_of(NodeId(file), first_page, pages)
    }

    /// The pages (first, number) that have to move with these if they move to memory of the program. `None`: a part of them is mapped where
    /// it is, and must not move.
    #[must_use]
    pub fn sharable(&self, file: u32, range: (u64, u64), may_move_mapped: bool) -> Option<(u64, u64)> {
        self.tmp.movable(NodeId(file), range, may_move_mapped)
    }

    /// The page of the file that is at that address of the program's memory, and how many follow there.
    #[must_use]
    pub fn shared_page(&self, file: u32, address: u64) -> Option<(u64, u64)> {
        self.tmp.page_at(NodeId(file), address)
    }

    /// Lets the file keep that range of its bytes in the memory at `address`, which is zero, from now on and until the memory is among
    /// [`Files::take_released`].
    ///
    /// # Errors
    /// [`Errno::NOMEM`] if the writable trees have no room for it.
    pub fn share(&mut self, file: u32, first_page: u64, pages: u64, address: u64) -> Result<(), Errno> {
        self.tmp.move_to(NodeId(file), first_page, pages, address)
    }

    /// The file's memory at `address` has become `pages` pages long.
    ///
    /// # Errors
    /// As for [`Files::share`].
    pub fn extend_shared(&mut self, file: u32, address: u64, pages: u64) -> Result<(), Errno> {
        self.tmp.extend_window(NodeId(file), address, pages)
    }

    /// Says whether there are mappings of the file. While there are, it stays where it is.
    pub fn set_mapped(&mut self, file: u32, is_mapped: bool) {
        self.tmp.set_mapped(NodeId(file), is_mapped);
    }

    /// Memory that no file needs any more.
    pub fn take_released(&mut self) -> Vec<Span> {
        self.tmp.take_released()
    }
}
