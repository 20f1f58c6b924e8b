//! The kernel's pages: what files in `/tmp` and pipes are made of.
//!
//! ```text
//! region, 256 KiB, aligned │ head │ page │ page │ …        one bit per page in the head says which are free
//! partial ⇄ region ⇄ …     some pages are free             first choice
//! empty   ⇄ region ⇄ …     all are: can go back            second choice
//! ```
//!
//! They are kept apart from the heap's other blocks because they are nearly all of what the kernel ever holds, and have to go back
//! to the program's memory when files are removed. A page knows its region by its address, and whether it has one by a bit map of the
//! guest's memory.

use core::ptr;

use mayfly_abi::layout::{MEMORY_MAX_BYTES, PAGE_BYTES};

/// A region. The bits of a word stand for its pages.
pub(super) const REGION_BYTES: u64 = 64 * PAGE_BYTES;
/// Pages of a region that can be handed out: all but the first.
const ALL_FREE: u64 = !1;
const PAGES: usize = 63;
/// Empty regions that stay: what comes and goes with every call should not go back and forth.
const SPARE_REGIONS: usize = 4;
const REGIONS_MAX: usize = (MEMORY_MAX_BYTES / REGION_BYTES) as usize;

/// First bytes of a region.
struct Head {
    free: u64,
    next: *mut Head,
    previous: *mut Head,
}

/// A list of regions.
#[derive(Clone, Copy)]
struct List(*mut Head);

pub(super) struct Pages {
    /// One bit per region that there could be.
    regions: [u64; REGIONS_MAX / 64],
    partial: List,
    empty: List,
    empty_regions: usize,
    free_pages: usize,
}

impl Pages {
    pub(super) const fn new() -> Pages {
        Pages {
            regions: [0; REGIONS_MAX / 64],
            partial: List(ptr::null_mut()),
            empty: List(ptr::null_mut()),
            empty_regions: 0,
            free_pages: 0,
        }
    }

    /// Are fewer than `pages` pages free?
    pub(super) fn is_short(&self, pages: usize) -> bool {
        self.free_pages < pages
    }

    /// Takes over a block of [`REGION_BYTES`] that nobody else uses.
    pub(super) fn add(&mut self, start: u64) {
        let head = start as *mut Head;
        // SAFETY: the block was free, is aligned and large enough, and belongs to the kernel from now on.
        unsafe { head.write(Head { free: ALL_FREE, next: ptr::null_mut(), previous: ptr::null_mut() }) };
        self.mark(start, true);
        self.empty.insert(head);
        self.empty_regions += 1;
        self.free_pages += PAGES;
    }

    /// Gives a region up, if there are enough others for `pages` pages and some to spare.
    pub(super) fn give_up(&mut self, pages: usize) -> Option<u64> {
        if self.empty_regions <= SPARE_REGIONS || self.free_pages < pages + PAGES {
            return None;
        }
        let head = self.empty.0;
        self.empty.remove(head);
        self.empty_regions -= 1;
        self.free_pages -= PAGES;
        self.mark(head.addr() as u64, false);
        Some(head.addr() as u64)
    }

    /// A page, if one is free.
    pub(super) fn take(&mut self) -> Option<*mut u8> {
        let head = if self.partial.0.is_null() { self.empty.0 } else { self.partial.0 };
        if head.is_null() {
            return None;
        }
        // SAFETY: a region in a list is memory that `add` took over, and its head is nobody else's.
        let region = unsafe { &mut *head };
        if region.free == ALL_FREE {
            self.empty.remove(head);
            self.empty_regions -= 1;
            self.partial.insert(head);
        }
        let index = region.free.trailing_zeros() as usize;
        region.free &= region.free - 1;
        if region.free == 0 {
            self.partial.remove(head);
        }
        self.free_pages -= 1;
        Some(head.cast::<u8>().wrapping_add(index * PAGE_BYTES as usize))
    }

    /// Takes a page back; `false` if it is not from here.
    pub(super) fn give(&mut self, page: *mut u8) -> bool {
        let start = page.addr() as u64 & !(REGION_BYTES - 1);
        if !self.is_region(start) {
            return false;
        }
        let index = (page.addr() as u64 - start) / PAGE_BYTES;
        let head = page.wrapping_sub((index * PAGE_BYTES) as usize).cast::<Head>();
        // SAFETY: the bit map says that this is a region.
        let region = unsafe { &mut *head };
        debug_assert!(region.free & 1 << index == 0 && index > 0);
        if region.free == 0 {
            self.partial.insert(head);
        }
        region.free |= 1 << index;
        self.free_pages += 1;
        if region.free == ALL_FREE {
            self.partial.remove(head);
            self.empty.insert(head);
            self.empty_regions += 1;
        }
        true
    }

    fn is_region(&self, start: u64) -> bool {
        let number = (start / REGION_BYTES) as usize;
        self.regions.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 != 0)
    }

    fn mark(&mut self, start: u64, is_region: bool) {
        let number = (start / REGION_BYTES) as usize;
        if let Some(word) = self.regions.get_mut(number / 64) {
            *word = *word & !(1 << (number % 64)) | u64::from(is_region) << (number % 64);
        }
    }
}

impl List {
    fn insert(&mut self, head: *mut Head) {
        // SAFETY: both are heads of regions, of which only this list has references.
        unsafe {
            (*head).previous = ptr::null_mut();
            (*head).next = self.0;
            if let Some(next) = self.0.as_mut() {
                next.previous = head;
            }
        }
        self.0 = head;
    }

    fn remove(&mut self, head: *mut Head) {
        // SAFETY: as above; `head` is in this list.
        unsafe {
            let (previous, next) = ((*head).previous, (*head).next);
            match previous.as_mut() {
                Some(previous) => previous.next = next,
                None => self.0 = next,
            }
            if let Some(next) = next.as_mut() {
                next.previous = previous;
            }
        }
    }
}
