//! Memory of the program in which a file keeps its bytes, from the first shared mapping on: so file and mapping are the same.
//!
//! Addresses are memory in this guest: no page can be at two of them. A file that is mapped therefore moves to where it is mapped, and
//! whoever maps the same part again gets the same address. The bytes stay there after the last `munmap`, until the file is
//! removed or cut.

use crate::files::limits::PAGE_BYTES;
use crate::memory::Span;

/// Consecutive pages of a file, in consecutive memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) first_page: u64,
    pub(crate) pages: u64,
    pub(crate) address: u64,
}

impl Window {
    pub(crate) fn holds(&self, page: u64) -> bool {
        (self.first_page..self.first_page + self.pages).contains(&page)
    }

    pub(crate) fn overlaps(&self, first_page: u64, pages: u64) -> bool {
        self.first_page < first_page + pages && first_page < self.first_page + self.pages
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.pages * PAGE_BYTES as u64
    }

    pub(crate) fn span(&self) -> Span {
        Span { start: self.address, end: self.address + self.bytes() }
    }

    /// Where byte `offset` of page `page` is. The page is one of this window's.
    fn at(&self, page: u64, offset: usize) -> *mut u8 {
        debug_assert!(self.holds(page) && offset <= PAGE_BYTES);
        let address = self.address + (page - self.first_page) * PAGE_BYTES as u64 + offset as u64;
        core::ptr::with_exposed_provenance_mut(address as usize)
    }

    /// Copies from a page; `offset` and the length stay inside of it.
    pub(crate) fn read(&self, page: u64, offset: usize, into: &mut [u8]) {
        assert!(self.holds(page) && offset + into.len() <= PAGE_BYTES);
        #[expect(unsafe_code, reason = "the file's bytes are in the program's memory")]
        // SAFETY: the address space set this memory aside for the file until the window is dropped. The program, which may write there,
        // does not run meanwhile; a buffer of its that overlaps the page is copied as `memmove` does.
        unsafe {
            core::ptr::copy(self.at(page, offset), into.as_mut_ptr(), into.len());
        }
    }

    /// Copies to a page; `offset` and the length stay inside of it.
    pub(crate) fn write(&self, page: u64, offset: usize, from: &[u8]) {
        assert!(self.holds(page) && offset + from.len() <= PAGE_BYTES);
        #[expect(unsafe_code, reason = "the file's bytes are in the program's memory")]
        // SAFETY: as in `read`.
        unsafe {
            core::ptr::copy(from.as_ptr(), self.at(page, offset), from.len());
        }
    }

    /// Fills a part of a page with zeros.
    pub(crate) fn zero(&self, page: u64, from: usize, to: usize) {
        assert!(self.holds(page) && from <= to && to <= PAGE_BYTES);
        #[expect(unsafe_code, reason = "the file's bytes are in the program's memory")]
        // SAFETY: as in `read`.
        unsafe {
            core::ptr::write_bytes(self.at(page, from), 0, to - from);
        }
    }
}
