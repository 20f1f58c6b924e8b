//! The kernel's own memory: blocks of powers of two, cut from an arena in its data and, when that is used up, from the guest's memory.
//!
//! Lists of free blocks by size: both directions take a few instructions and touch one line. Nothing is merged; the kernel's
//! objects come in few sizes, which are used again. Pages, of which there are most, have regions of their own and do go back ([`Pages`]).

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

use alloc::vec::Vec;
use mayfly_abi::layout::PAGE_BYTES;
use mayfly_kernel::memory::{AddressSpace, Backing, Place};

use super::pages::{Pages, REGION_BYTES};

/// What is kept ready besides pages: more than any call needs. The largest is a datagram.
const RESERVE_BYTES: usize = 512 << 10;
/// Pages that are kept ready for whatever does not say how much it needs.
const RESERVE_PAGES: usize = 16;
const PAGE: usize = PAGE_BYTES as usize;
/// What is taken from the program's memory at a time.
const STEP_BYTES: u64 = 2 << 20;

const SMALLEST_SHIFT: u32 = 5;
const CLASSES: usize = 26;
const ARENA_BYTES: usize = 768 << 10;

#[repr(C, align(4096))]
struct Arena(UnsafeCell<[u8; ARENA_BYTES]>);

// SAFETY: one vCPU, and the kernel is not entered while it runs.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; ARENA_BYTES]));

struct State {
    free: [*mut u8; CLASSES],
    next: usize,
    end: usize,
    left_bytes: usize,
    pages: Pages,
}

pub(crate) struct Heap(UnsafeCell<State>);

// SAFETY: as for the arena.
unsafe impl Sync for Heap {}

#[global_allocator]
pub(crate) static HEAP: Heap = Heap(UnsafeCell::new(State {
    free: [ptr::null_mut(); CLASSES],
    next: 0,
    end: 0,
    left_bytes: ARENA_BYTES,
    pages: Pages::new(),
}));

/// Makes sure that there is room for `room` bytes more in pages; `false` if the program's memory is used up. Never called while an allocation is
/// under way.
pub(crate) fn reserve(space: &mut AddressSpace, room: usize) -> bool {
    if HEAP.left_bytes() < RESERVE_BYTES {
        let mut dirty = Vec::new();
        let Ok(start) = space.map(Place::Anywhere, STEP_BYTES, 3, Backing::Kernel, &mut dirty) else { return false };
        HEAP.add(start, STEP_BYTES);
    }
    let pages = RESERVE_PAGES + room.div_ceil(PAGE);
    // One step at a time: the address space allocates too.
    while HEAP.with_pages(|all| all.is_short(pages)) {
        let Some(block) = space.take_block(REGION_BYTES) else { return false };
        HEAP.with_pages(|all| all.add(block));
    }
    while let Some(block) = HEAP.with_pages(|all| all.give_up(pages)) {
        space.give_block(block);
    }
    true
}

impl Heap {
    /// Bytes that are sure to be there for blocks of up to a page.
    fn left_bytes(&self) -> usize {
        // SAFETY: see `Sync`.
        unsafe { (*self.0.get()).left_bytes }
    }

    fn with_pages<T>(&self, work: impl FnOnce(&mut Pages) -> T) -> T {
        // SAFETY: see `Sync`; no work on pages allocates.
        work(unsafe { &mut (*self.0.get()).pages })
    }

    /// Takes over memory of the guest that nobody else uses.
    fn add(&self, start: u64, bytes: u64) {
        // SAFETY: see `Sync`.
        let state = unsafe { &mut *self.0.get() };
        // What is left of the old region is smaller than what was asked for; it is not worth keeping.
        state.next = start as usize;
        state.end = (start + bytes) as usize;
        state.left_bytes = bytes as usize;
    }

    fn class(layout: Layout) -> Option<usize> {
        let bytes = layout.size().max(layout.align()).max(1 << SMALLEST_SHIFT).checked_next_power_of_two()?;
        let class = (bytes.trailing_zeros() - SMALLEST_SHIFT) as usize;
        (class < CLASSES).then_some(class)
    }
}

// SAFETY: blocks are disjoint: each is cut once from a region and is then either in one list or with one owner. A block of class
// `n` is `2^(n+5)` bytes long and aligned to its size up to a page.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = Heap::class(layout) else { return ptr::null_mut() };
        // SAFETY: see `Sync`.
        let state = unsafe { &mut *self.0.get() };
        if layout.size() == PAGE
            && let Some(page) = state.pages.take()
        {
            return page;
        }
        let block = state.free[class];
        if !block.is_null() {
            // SAFETY: a free block's first word is the next one of its list.
            state.free[class] = unsafe { block.cast::<*mut u8>().read() };
            return block;
        }
        if state.end == 0 {
            state.next = ARENA.0.get() as usize;
            state.end = state.next + ARENA_BYTES;
        }
        let bytes = 1 << (class as u32 + SMALLEST_SHIFT);
        let start = state.next.next_multiple_of(bytes.min(4096));
        if start + bytes > state.end {
            return ptr::null_mut();
        }
        state.next = start + bytes;
        state.left_bytes = state.end - state.next;
        start as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let Some(class) = Heap::class(layout) else { return };
        // SAFETY: see `Sync`; the block is at least a word long and nobody uses it any more.
        unsafe {
            let state = &mut *self.0.get();
            if layout.size() == PAGE && state.pages.give(block) {
                return;
            }
            block.cast::<*mut u8>().write(state.free[class]);
            state.free[class] = block;
        }
    }
}
