//! The bytes of a file in `/tmp`: pages that exist only where something was written.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::files::limits::{FILE_BYTES_MAX, PAGE_BYTES};

type Page = [u8; PAGE_BYTES];

/// What the files of a tree may still take. Pages are paid for before they exist.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) used_bytes: u64,
    pub(crate) limit_bytes: u64,
}

impl Budget {
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let fits = self.limit_bytes.saturating_sub(self.used_bytes) >= bytes;
        self.used_bytes += if fits { bytes } else { 0 };
        fits
    }

    pub(crate) fn give_back(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.used_bytes);
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
    }
}

/// The content of one file.
///
/// Pages are in an ordered map and not in a vector, so that a file with a byte at 8 TiB costs no more than one with a byte
/// at 0. Next to the page itself the map's overhead is nothing.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pages: BTreeMap<u64, Box<Page>>,
    bytes: u64,
}

impl Content {
    pub(crate) fn len(&self) -> u64 {
        self.bytes
    }

    /// Memory that the pages take.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.pages.len() as u64 * PAGE_BYTES as u64
    }

    /// Copies bytes from offset `at`; fewer than asked for only at the end of the file.
    pub(crate) fn read(&self, at: u64, into: &mut [u8]) -> usize {
        let count = self.bytes.saturating_sub(at).min(into.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let (index, offset) = split(at + done as u64);
            let length = (PAGE_BYTES - offset).min(count - done);
            let slot = &mut into[done..done + length];
            match self.pages.get(&index) {
                Some(page) => slot.copy_from_slice(&page[offset..offset + length]),
                None => slot.fill(0),
            }
            done += length;
        }
        count
    }

    /// Writes as much of `from` at offset `at` as the budget allows and says how much that was. The caller has checked
    /// that `at` is not beyond [`FILE_BYTES_MAX`].
    pub(crate) fn write(&mut self, at: u64, from: &[u8], budget: &mut Budget) -> usize {
        let count = FILE_BYTES_MAX.saturating_sub(at).min(from.len() as u64) as usize;
        let mut done = 0;
        while done < count {
            let (index, offset) = split(at + done as u64);
            let length = (PAGE_BYTES - offset).min(count - done);
            let bytes = &from[done..done + length];
            if let Some(page) = self.pages.get_mut(&index) {
                page[offset..offset + length].copy_from_slice(bytes);
            } else if let Some(page) = new_page(offset, bytes, budget) {
                self.pages.insert(index, page);
            } else {
                break;
            }
            done += length;
        }
        if done > 0 {
            self.bytes = self.bytes.max(at + done as u64);
        }
        done
    }

    /// Makes the file `bytes` long. What is added reads as zero.
    pub(crate) fn resize(&mut self, bytes: u64, budget: &mut Budget) {
        if bytes < self.bytes {
            let (last, used) = split(bytes);
            let kept = last + u64::from(used > 0);
            let dropped = self.pages.split_off(&kept);
            budget.give_back(dropped.len() as u64 * PAGE_BYTES as u64);
            if let Some(page) = self.pages.get_mut(&last) {
                page[used..].fill(0);
            }
        }
        self.bytes = bytes;
    }

    /// Makes the bytes from `start` to `end` zero, without their memory where whole pages are meant.
    pub(crate) fn punch(&mut self, start: u64, end: u64, budget: &mut Budget) {
        // What is beyond the end of the file counts as zero already: a last page that is only partly used goes as a whole.
        let end = if end >= self.bytes { self.bytes.next_multiple_of(PAGE_BYTES as u64) } else { end };
        if start >= end {
            return;
        }
        let (first, from) = split(start);
        let (last, to) = split(end);
        let mut next = first + u64::from(from > 0);
        while next < last
            && let Some((&index, _)) = self.pages.range(next..last).next()
        {
            self.pages.remove(&index);
            budget.give_back(PAGE_BYTES as u64);
            next = index + 1;
        }
        if let Some(page) = self.pages.get_mut(&first) {
            page[from..if first == last { to } else { PAGE_BYTES }].fill(0);
        }
        if first != last
            && let Some(page) = self.pages.get_mut(&last)
        {
            page[..to].fill(0);
        }
    }

    /// First offset from `at` on that is in a page (`data`) or in a hole; `None` beyond the end.
    pub(crate) fn seek(&self, at: u64, data: bool) -> Option<u64> {
        if at >= self.bytes {
            return None;
        }
        let (first, _) = split(at);
        if data {
            let (index, _) = self.pages.range(first..).next()?;
            let found = at.max(index * PAGE_BYTES as u64);
            return (found < self.bytes).then_some(found);
        }
        let mut hole = first;
        for (index, _) in self.pages.range(first..) {
            if *index != hole {
                break;
            }
            hole += 1;
        }
        Some(at.max(hole * PAGE_BYTES as u64).min(self.bytes))
    }
}

fn split(at: u64) -> (u64, usize) {
    (at / PAGE_BYTES as u64, (at % PAGE_BYTES as u64) as usize)
}

/// A page with `bytes` at `offset`, zero elsewhere. Running out of memory is an answer here, not the end of the kernel.
fn new_page(offset: usize, bytes: &[u8], budget: &mut Budget) -> Option<Box<Page>> {
    let mut page: Vec<u8> = Vec::new();
    page.try_reserve_exact(PAGE_BYTES).ok()?;
    if !budget.take(PAGE_BYTES as u64) {
        return None;
    }
    page.resize(offset, 0);
    page.extend_from_slice(bytes);
    page.resize(PAGE_BYTES, 0);
    page.into_boxed_slice().try_into().ok()
}
