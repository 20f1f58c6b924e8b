//! `mmap`, `munmap` and `mremap`, of memory and of files.
//!
//! ```text
//! file of an image    only read, and no library    in place: the image's own memory, the same in all guests
//!                     a library, the first time    in place: its load area, of which a guest writes to pages of its own (`library.rs`)
//!                     else                         a private copy
//! file in /tmp        shared                       the file's bytes move to the mapping and stay there
//!                     private                      a copy
//! ```

use alloc::vec::Vec;

use mayfly_abi::layout::{PAGE_BYTES, is_in_images};

use super::library;
use crate::errno::Errno;
use crate::files::{Bytes, Files, Mappable};
use crate::memory::{Backing, Place, Span, protection};
use crate::system::{Action, Answer, Machine, System};

const MAP_SHARED: u64 = 0x01;
const MAP_PRIVATE: u64 = 0x02;
const MAP_TYPE: u64 = 0x0f;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
/// Ignored by Linux, and set by one program: `ld.so`, for the extent of a library.
pub(super) const MAP_DENYWRITE: u64 = 0x800;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;
const MREMAP_MAYMOVE: u64 = 1;
const MREMAP_FIXED: u64 = 2;
const MREMAP_DONTUNMAP: u64 = 4;

/// What these calls work on.
pub struct Memory<'a, M> {
    /// The files.
    pub files: &'a mut Files,
    /// The program.
    pub system: &'a mut System,
    /// Its bytes.
    pub machine: &'a mut M,
}

impl<M: Machine> Memory<'_, M> {
    /// `mmap(address, bytes, protection, flags, fd, offset)`. `MAP_NORESERVE`, `MAP_POPULATE`, `MAP_STACK`, `MAP_GROWSDOWN` and
    /// `MAP_HUGETLB` change nothing.
    ///
    /// # Errors
    /// As on Linux.
    pub fn map(&mut self, arguments: &[u64; 6]) -> Answer {
        let [address, bytes, protection, flags, fd, offset] = *arguments;
        let is_shared = match flags & MAP_TYPE {
            MAP_PRIVATE => false,
            MAP_SHARED | MAP_TYPE_VALIDATED => true,
            _ => return Err(Errno::INVAL),
        };
        let place = place(address, flags);
        if matches!(place, Place::Exactly { .. }) && is_in_images(address) {
            return self.map_into_library(arguments);
        }
        // Shared and private anonymous memory are the same in a program that cannot fork.
        if flags & MAP_ANONYMOUS != 0 {
            return self.map_new(place, bytes, protection, Backing::Anonymous, 0);
        }
        if !offset.is_multiple_of(PAGE_BYTES) || bytes == 0 || offset.checked_add(bytes).is_none() {
            return Err(Errno::INVAL);
        }
        let is_written = is_shared && protection & protection::WRITE != 0;
        match self.files.mappable(fd)? {
            Mappable::Zeros => self.map_new(place, bytes, protection, Backing::Anonymous, 0),
            Mappable::InPlace(_) | Mappable::Copy | Mappable::Tmp { is_writable: false, .. } if is_written => {
                Err(Errno::ACCES)
            }
            Mappable::Tmp { file, .. } if is_shared => self.map_shared(place, bytes, protection, file, offset),
            Mappable::InPlace(data) => self.map_image(arguments, place, data),
            Mappable::Tmp { .. } | Mappable::Copy => {
                let answer = self.map_new(place, bytes, protection, Backing::Taken, 0)?;
                if let Action::Value(start) = answer {
                    let target = self.machine.write(start, bytes)?;
                    let copied = self.files.copy_file(fd, offset, target)?;
                    self.system.space.copied_bytes += copied as u64;
                }
                Ok(answer)
            }
        }
    }

    /// A file of an image, which never changes.
    fn map_image(&mut self, arguments: &[u64; 6], place: Place, file: Bytes) -> Answer {
        let [_, bytes, protection, flags, _, offset] = *arguments;
        let is_fixed = matches!(place, Place::Exactly { .. });
        let is_extent = flags & MAP_DENYWRITE != 0 && !is_fixed && offset == 0;
        if is_extent && let Some(start) = self.map_library(&file, bytes, protection) {
            return Ok(Action::Value(start));
        }
        let piece = file.piece(offset);
        let is_program = file.piece(0).starts_with(b"\x7fELF");
        let fits = !piece.is_empty() && bytes <= (piece.len() as u64).next_multiple_of(PAGE_BYTES);
        let is_only_read = protection & (protection::WRITE | protection::EXECUTE) == 0;
        let source = piece.as_ptr() as u64;
        if is_only_read && !is_fixed && !is_program && fits && is_in_images(source) && source.is_multiple_of(PAGE_BYTES)
        {
            return Ok(Action::Value(source));
        }
        let mut copied = file.len().saturating_sub(offset).min(bytes);
        if is_extent && is_program {
            // Only the first segment stays what is mapped here; copying the others twice would double the work.
            copied = copied.min(library::first_part_bytes(&file).unwrap_or(copied));
        }
        let answer = self.map_new(place, bytes, protection, library::backing(&file, offset, bytes), copied)?;
        if let Action::Value(start) = answer {
            self.copy_file(&file, offset, Span { start, end: start + copied });
            self.system.space.copied_bytes += copied;
        }
        Ok(answer)
    }

    /// Copies a file from `offset` on to memory of the program.
    pub(super) fn copy_file(&mut self, file: &Bytes, offset: u64, target: Span) {
        let mut at = target.start;
        while at < target.end {
            let piece = file.piece(offset + (at - target.start));
            let bytes = (piece.len() as u64).min(target.end - at);
            if bytes == 0 {
                return;
            }
            self.machine.copy(piece.as_ptr() as u64, at, bytes);
            at += bytes;
        }
    }

    /// New memory, zero but for the first `overwritten` bytes, which the caller fills.
    fn map_new(&mut self, place: Place, bytes: u64, protection: u64, backing: Backing, overwritten: u64) -> Answer {
        let replaced = self.files_within(place, bytes);
        let mut dirty = Vec::new();
        let mapped = self.system.space.map(place, bytes, protection, backing, &mut dirty);
        self.settle(&replaced);
        let start = mapped?;
        for span in dirty {
            self.machine.zero(Span { start: span.start.max(start + overwritten).min(span.end), end: span.end });
        }
        Ok(Action::Value(start))
    }

    /// A file of a writable tree whose bytes program and file share.
    fn map_shared(&mut self, place: Place, bytes: u64, protection: u64, file: u32, offset: u64) -> Answer {
        let (first, pages) = (offset / PAGE_BYTES, bytes.div_ceil(PAGE_BYTES));
        let bytes = pages * PAGE_BYTES;
        let wanted = match place {
            Place::Exactly { address, .. } => Some(address),
            _ => None,
        };
        if let Some(start) = self.files.shared_address(file, first, pages) {
            if wanted.is_some_and(|wanted| wanted != start) {
                return Err(Errno::NOMEM);
            }
            self.system.space.share(Span { start, end: start + bytes }, protection, file);
            self.files.set_mapped(file, true);
            return Ok(Action::Value(start));
        }
        let (moved_first, moved) = self.files.sharable(file, (first, pages), false).ok_or(Errno::NOMEM)?;
        if wanted.is_some() && (moved_first, moved) != (first, pages) {
            return Err(Errno::NOMEM);
        }
        let start = self.move_file(place, protection, file, (moved_first, moved))?;
        let inside = start + (first - moved_first) * PAGE_BYTES;
        // What had to move with it is not mapped.
        self.system.space.unmap(start, inside - start)?;
        self.system.space.unmap(inside + bytes, moved * PAGE_BYTES - (inside - start) - bytes)?;
        self.files.set_mapped(file, true);
        self.take_back();
        Ok(Action::Value(inside))
    }

    /// Moves pages of a file to new memory, mapped once.
    fn move_file(
        &mut self,
        place: Place,
        protection: u64,
        file: u32,
        (first, pages): (u64, u64),
    ) -> Result<u64, Errno> {
        let bytes = pages.checked_mul(PAGE_BYTES).ok_or(Errno::NOMEM)?;
        let backing = Backing::Shared { file, count: 1 };
        let Action::Value(start) = self.map_new(place, bytes, protection, backing, 0)? else {
            return Err(Errno::NOMEM);
        };
        if let Err(error) = self.files.share(file, first, pages, start) {
            self.system.space.unmap(start, bytes)?;
            self.system.space.release(Span { start, end: start + bytes });
            return Err(error);
        }
        Ok(start)
    }

    /// `munmap(address, bytes)`. Memory of an image that is mapped in place stays what it is.
    ///
    /// # Errors
    /// As on Linux.
    pub fn unmap(&mut self, arguments: &[u64; 6]) -> Answer {
        let [start, bytes, ..] = *arguments;
        if bytes == 0 {
            return Err(Errno::INVAL);
        }
        let gone = self.files_within(Place::Exactly { address: start, replace: true }, bytes);
        self.system.space.unmap(start, bytes)?;
        self.settle(&gone);
        Ok(Action::Value(0))
    }

    /// `mremap(old, old_bytes, new_bytes, flags, new)`.
    ///
    /// # Errors
    /// As on Linux.
    pub fn remap(&mut self, arguments: &[u64; 6]) -> Answer {
        let [old, old_bytes, new_bytes, flags, new, _] = *arguments;
        let up =
            |bytes: u64| bytes.checked_add(PAGE_BYTES - 1).map(|bytes| bytes & !(PAGE_BYTES - 1)).ok_or(Errno::INVAL);
        let (old_bytes, new_bytes) = (up(old_bytes)?, up(new_bytes)?);
        let is_fixed = flags & MREMAP_FIXED != 0;
        let is_allowed_to_move = flags & MREMAP_MAYMOVE != 0;
        if old % PAGE_BYTES != 0 || new_bytes == 0 || old_bytes == 0 || (is_fixed && !is_allowed_to_move) {
            return Err(Errno::INVAL);
        }
        if flags & MREMAP_DONTUNMAP != 0 {
            return Err(Errno::INVAL);
        }
        let is_in_place = is_in_images(old) && self.machine.read(old, old_bytes).is_ok();
        if !is_in_place && !self.system.space.is_mapped(old, old_bytes) {
            return Err(Errno::FAULT);
        }
        if !is_fixed && new_bytes <= old_bytes {
            if new_bytes < old_bytes {
                self.unmap(&[old + new_bytes, old_bytes - new_bytes, 0, 0, 0, 0])?;
            }
            return Ok(Action::Value(old));
        }
        let part = self.system.space.parts(old, old + old_bytes).next();
        if let Some(Backing::Shared { file, count }) = part.map(|part| part.backing) {
            let is_movable = is_allowed_to_move && !is_fixed && count == 1;
            return self.remap_shared(file, Span { start: old, end: old + old_bytes }, new_bytes, is_movable);
        }
        if !is_fixed && !is_in_place && self.extend(old, old_bytes, new_bytes) {
            self.show_more(part.map(|part| part.backing), old, old_bytes, new_bytes);
            return Ok(Action::Value(old));
        }
        if !is_allowed_to_move {
            return Err(Errno::NOMEM);
        }
        let place = if is_fixed {
            let is_apart = new.checked_add(new_bytes).is_some_and(|end| end <= old) || new >= old + old_bytes;
            if !is_apart {
                return Err(Errno::INVAL);
            }
            Place::Exactly { address: new, replace: true }
        } else {
            Place::Anywhere
        };
        let (protection, backing) =
            part.map_or((protection::READ | protection::WRITE, Backing::Taken), |part| (part.protection, part.backing));
        let Action::Value(start) = self.map_new(place, new_bytes, protection, backing, 0)? else {
            return Err(Errno::NOMEM);
        };
        self.machine.copy(old, start, old_bytes.min(new_bytes));
        self.show_more(Some(backing), start, old_bytes, new_bytes);
        self.system.space.unmap(old, old_bytes)?;
        Ok(Action::Value(start))
    }

    /// What a mapping of an image's file shows where it became longer.
    fn show_more(&mut self, backing: Option<Backing>, start: u64, old_bytes: u64, new_bytes: u64) {
        if let Some(Backing::Copy { source, source_end }) = backing {
            let from = source.saturating_add(old_bytes);
            let bytes = source_end.saturating_sub(from).min(new_bytes.saturating_sub(old_bytes));
            self.machine.copy(from, start + old_bytes, bytes);
        }
    }

    fn extend(&mut self, old: u64, old_bytes: u64, new_bytes: u64) -> bool {
        let mut dirty = Vec::new();
        let is_longer = self.system.space.extend(old, old_bytes, new_bytes, &mut dirty);
        dirty.into_iter().for_each(|span| self.machine.zero(span));
        is_longer
    }

    /// Makes a shared mapping of a file longer: by what the file has there already, in place, or elsewhere if nothing else shows the file.
    fn remap_shared(&mut self, file: u32, old: Span, new_bytes: u64, is_movable: bool) -> Answer {
        let (first, follow) = self.files.shared_page(file, old.start).ok_or(Errno::FAULT)?;
        let protection = self.system.space.parts(old.start, old.end).next().map_or(0, |part| part.protection);
        let pages = new_bytes / PAGE_BYTES;
        let room_end = old.start + follow * PAGE_BYTES;
        if pages > follow && room_end == old.end && self.extend(old.start, old.bytes(), new_bytes) {
            if self.files.extend_shared(file, old.start, pages).is_ok() {
                return Ok(Action::Value(old.start));
            }
            let added = Span { start: old.end, end: old.start + new_bytes };
            self.system.space.unmap(added.start, added.bytes())?;
            self.system.space.release(added);
            return Err(Errno::NOMEM);
        }
        if pages <= follow {
            self.system.space.share(Span { start: old.end, end: old.start + new_bytes }, protection, file);
            return Ok(Action::Value(old.start));
        }
        let shown = self
            .system
            .space
            .mappings()
            .filter(|mapping| matches!(mapping.backing, Backing::Shared { file: at, .. } if at == file));
        if !is_movable || shown.count() > 1 {
            return Err(Errno::NOMEM);
        }
        let (moved_first, moved) = self.files.sharable(file, (first, pages), true).ok_or(Errno::NOMEM)?;
        let start = self.move_file(Place::Anywhere, protection, file, (moved_first, moved))?;
        self.system.space.unmap(old.start, old.bytes())?;
        self.take_back();
        let inside = start + (first - moved_first) * PAGE_BYTES;
        self.system.space.unmap(start, inside - start)?;
        self.system.space.unmap(inside + new_bytes, moved * PAGE_BYTES - (inside - start) - new_bytes)?;
        Ok(Action::Value(inside))
    }

    /// Files that are mapped in a range which a mapping is going to replace.
    fn files_within(&self, place: Place, bytes: u64) -> Vec<u32> {
        let Place::Exactly { address, replace: true } = place else { return Vec::new() };
        let parts = self.system.space.parts(address, address.saturating_add(bytes));
        parts
            .filter_map(|part| match part.backing {
                Backing::Shared { file, .. } => Some(file),
                _ => None,
            })
            .collect()
    }

    /// After mappings of these files went away: those that nothing shows any more may end.
    fn settle(&mut self, files: &[u32]) {
        for &file in files {
            if !self.system.space.shows(file) {
                self.files.set_mapped(file, false);
            }
        }
        self.take_back();
    }

    fn take_back(&mut self) {
        for span in self.files.take_released() {
            self.system.space.release(span);
        }
    }
}

/// `MAP_SHARED_VALIDATE`.
const MAP_TYPE_VALIDATED: u64 = 0x03;

fn place(address: u64, flags: u64) -> Place {
    if flags & MAP_FIXED_NOREPLACE != 0 {
        Place::Exactly { address, replace: false }
    } else if flags & MAP_FIXED != 0 {
        Place::Exactly { address, replace: true }
    } else if address != 0 {
        Place::Near(address)
    } else {
        Place::Anywhere
    }
}
