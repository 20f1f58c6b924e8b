//! The kernel's own memory: blocks of powers of two, cut from an arena in its data and, when that is used up, from the guest's memory.
//!
//! Lists of free blocks by size: both directions take a few instructions and touch one line. Nothing is merged; the kernel's
//! objects come in few sizes (pages of `/tmp` files, threads, nodes), which are used again.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

use alloc::vec::Vec;
use mayfly_kernel::memory::{AddressSpace, Backing, Place};

/// What is kept ready: more than any call needs that does not write to `/tmp`.
const RESERVE_BYTES: usize = 256 << 10;
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
}

pub(crate) struct Heap(UnsafeCell<State>);

// SAFETY: as for the arena.
unsafe impl Sync for Heap {}

#[global_allocator]
pub(crate) static HEAP: Heap =
    Heap(UnsafeCell::new(State { free: [ptr::null_mut(); CLASSES], next: 0, end: 0, left_bytes: ARENA_BYTES }));

/// Makes sure that there is room for `room` bytes more; `false` if the program's memory is used up. Never called while an allocation is
/// under way.
pub(crate) fn reserve(space: &mut AddressSpace, room: usize) -> bool {
    let wanted = RESERVE_BYTES + room + room / 8;
    if HEAP.left_bytes() >= wanted {
        return true;
    }
    let bytes = (wanted as u64).next_multiple_of(STEP_BYTES);
    let mut dirty = Vec::new();
    space.map(Place::Anywhere, bytes, 3, Backing::Kernel, &mut dirty).map(|start| HEAP.add(start, bytes)).is_ok()
}

impl Heap {
    /// Bytes that are sure to be there for blocks of up to a page.
    fn left_bytes(&self) -> usize {
        // SAFETY: see `Sync`.
        unsafe { (*self.0.get()).left_bytes }
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
            block.cast::<*mut u8>().write(state.free[class]);
            state.free[class] = block;
        }
    }
}
