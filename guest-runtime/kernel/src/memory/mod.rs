//! The program's memory: which addresses are taken, which are free, and which of the free ones were written before.
//!
//! There is no paging to manage. The host backs every address of the guest's memory with zeros until something is written
//! there, so a mapping is only a note that its addresses are taken; what `munmap` gives back is marked *used* and zeroed when it
//! is handed out again. Protection is noted and reported, not enforced: inside, kernel and program trust each other.
//!
//! Addresses are memory here, so they are what a program can run out of. Memory that it has only reserved (`PROT_NONE`) does not count
//! as used, and large reservations are refused before they leave no addresses for what is really needed: a C library asks for 64 or 128
//! MiB for each thread's arena, and goes on with the arena that it has.

mod area;
mod blocks;
mod change;
mod free;
#[cfg(test)]
mod tests;

use alloc::collections::{BTreeMap, BTreeSet};

use mayfly_abi::layout::{
    KERNEL_TEXT, LARGE_PAGE_BYTES, MAIN_STACK, MEMORY_MIN_BYTES, PAGE_BYTES, PROGRAM, is_in_images,
};

use crate::errno::Errno;
pub use free::{FreeList, Span};

/// Largest number of mappings of one program.
pub const MAPPINGS_MAX: usize = 65_536;
/// A reservation from this size on must leave [`RESERVATION_SHARE`] times as many free addresses.
const RESERVATION_LARGE_BYTES: u64 = 32 << 20;
const RESERVATION_SHARE: u64 = 8;

/// Protection bits as in `mmap`.
pub mod protection {
    /// Not accessible: a reservation.
    pub const NONE: u64 = 0;
    /// Readable.
    pub const READ: u64 = 1;
    /// Writable.
    pub const WRITE: u64 = 2;
    /// Executable.
    pub const EXECUTE: u64 = 4;
    /// All of them.
    pub const ALL: u64 = READ | WRITE | EXECUTE;
}

/// What a mapping's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// Zeros at first, then the program's own.
    Anonymous,
    /// A private copy of bytes that never change, those of an image's file.
    Copy {
        /// Address of the byte of the file that belongs to the mapping's first address.
        source: u64,
        /// Address of the file's end.
        source_end: u64,
    },
    /// A library where it is, in its image, of which nothing has been mapped by itself yet.
    Library {
        /// From this address on it is zero.
        zeros: u64,
    },
    /// A private copy of a file of a writable tree, whose bytes may have changed since.
    Taken,
    /// The memory in which a file of a writable tree keeps its bytes.
    Shared {
        /// The file.
        file: u32,
        /// How many mappings are laid over each other here: one file has one place, wherever it is mapped.
        count: u32,
    },
    /// The kernel's own heap.
    Kernel,
}

impl Backing {
    /// The backing of the part that starts `bytes` after the mapping does.
    #[must_use]
    pub fn after(self, bytes: u64) -> Backing {
        match self {
            Backing::Copy { source, source_end } => Backing::Copy { source: source.saturating_add(bytes), source_end },
            other => other,
        }
    }
}

/// A range of addresses that the program has mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// Protection asked for.
    pub protection: u64,
    /// What is there.
    pub backing: Backing,
}

impl Mapping {
    /// The part from `start` to `end`; nothing if that is empty.
    fn part(self, start: u64, end: u64) -> Option<Mapping> {
        let backing = self.backing.after(start.saturating_sub(self.start));
        (start < end).then_some(Mapping { start, end, backing, ..self })
    }

    /// What it counts for. A reservation counts for nothing, nor does what is only read in an image; the memory of a file does in any case.
    fn cost(&self) -> i64 {
        if is_in_images(self.start) && self.protection & protection::WRITE == 0 {
            return 0;
        }
        let is_file = matches!(self.backing, Backing::Shared { .. });
        let is_reservation = self.protection & protection::ALL == protection::NONE;
        if is_reservation && !is_file { 0 } else { (self.end - self.start) as i64 }
    }
}

/// Hands out memory.
#[derive(Debug)]
pub struct AddressSpace {
    mappings: BTreeMap<u64, Mapping>,
    free: FreeList,
    /// Load areas that have been used: what is written there stays, so each is good for once.
    used_areas: BTreeSet<u64>,
    brk_start: u64,
    brk: u64,
    /// Highest address that brk ever reached: above it the heap has never been written.
    brk_peak: u64,
    memory_bytes: u64,
    mapped_bytes: u64,
    peak_bytes: u64,
    refused: bool,
    /// Bytes of files that were copied because they could not be mapped where they are.
    pub copied_bytes: u64,
}

/// Memory that must be zeroed before the program sees it.
pub type Dirty = alloc::vec::Vec<Span>;

impl AddressSpace {
    /// The address space of a guest with `memory_bytes`, whose program ends at `program_end`.
    #[must_use]
    pub fn new(program_end: u64, memory_bytes: u64) -> AddressSpace {
        let brk_start = round_up(program_end);
        let mut free = FreeList::default();
        free.insert(Span { start: brk_start, end: KERNEL_TEXT }, false);
        let mut space = AddressSpace {
            mappings: BTreeMap::new(),
            free,
            used_areas: BTreeSet::new(),
            brk_start,
            brk: brk_start,
            brk_peak: brk_start,
            memory_bytes: MEMORY_MIN_BYTES,
            mapped_bytes: program_end + MAIN_STACK.bytes / 8,
            peak_bytes: 0,
            refused: false,
            copied_bytes: 0,
        };
        space.grow_memory(memory_bytes);
        space
    }

    /// Takes note that the guest has more memory than before.
    pub fn grow_memory(&mut self, memory_bytes: u64) {
        if memory_bytes > self.memory_bytes {
            self.free.insert(Span { start: self.memory_bytes, end: memory_bytes & !(LARGE_PAGE_BYTES - 1) }, false);
            self.memory_bytes = memory_bytes;
        }
    }

    /// Moves the end of the heap; returns the new end, which is the old one if that is not possible.
    pub fn set_brk(&mut self, wanted: u64, dirty: &mut Dirty) -> u64 {
        if wanted < self.brk_start || wanted > self.memory_bytes {
            return self.brk;
        }
        let (old_end, new_end) = (round_up(self.brk), round_up(wanted));
        if new_end > old_end {
            if !self.free.take_exact(Span { start: old_end, end: new_end }, dirty) {
                self.refused = true;
                return self.brk;
            }
        } else if new_end < old_end {
            self.free.insert(Span { start: new_end, end: old_end }, true);
        }
        self.account(new_end as i64 - old_end as i64);
        self.brk_peak = self.brk_peak.max(new_end);
        self.brk = wanted;
        self.brk
    }

    /// Whether the program may touch all of a range: the guest's memory without null page, page tables, guards.
    #[must_use]
    pub fn is_accessible(&self, start: u64, bytes: u64) -> bool {
        let Some(end) = start.checked_add(bytes) else { return false };
        (start >= PROGRAM && end <= KERNEL_TEXT) || (start >= MAIN_STACK.base && end <= self.memory_bytes)
    }

    /// Whether all of a range belongs to the program: its segments, heap, stack and mappings.
    #[must_use]
    pub fn is_mapped(&self, start: u64, bytes: u64) -> bool {
        let Some(end) = start.checked_add(bytes) else { return false };
        let mut at = start;
        while at < end {
            at = match self.first_overlapping(Span { start: at, end: at + 1 }) {
                Some(mapping) => mapping.end,
                None if (PROGRAM..round_up(self.brk)).contains(&at) => round_up(self.brk),
                None if (MAIN_STACK.base..MAIN_STACK.top()).contains(&at) => MAIN_STACK.top(),
                None => return false,
            };
        }
        true
    }

    /// Whether a range is all segments and heap, or all stack.
    fn is_part_of_program(&self, span: Span) -> bool {
        (span.start >= PROGRAM && span.end <= round_up(self.brk))
            || (span.start >= MAIN_STACK.base && span.end <= MAIN_STACK.top())
    }

    /// Whether code that ends at an address came from an image, and nobody has changed it: a segment of the program, or a part of a library that
    /// it cannot write.
    #[must_use]
    pub fn is_unchanging_code(&self, end: u64) -> bool {
        let is_program = (PROGRAM..self.brk_start).contains(&end);
        let part = self.first_overlapping(Span { start: end - 1, end });
        let is_library = |mapping: Mapping| {
            matches!(mapping.backing, Backing::Copy { .. } | Backing::Library { .. })
                && mapping.protection & protection::WRITE == 0
        };
        part.map_or(is_program, is_library)
    }

    /// Whether a mapping shows the file.
    #[must_use]
    pub fn shows(&self, wanted: u32) -> bool {
        self.mappings().any(|mapping| matches!(mapping.backing, Backing::Shared { file, .. } if file == wanted))
    }

    /// Mapped ranges in order of address.
    pub fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.values()
    }

    /// The parts of mappings inside of a range, in order of address.
    pub fn parts(&self, start: u64, end: u64) -> impl Iterator<Item = Mapping> {
        let first = self.first_overlapping(Span { start, end }).map_or(end, |mapping| mapping.start);
        let found = self.mappings.range(first..end.max(first)).map(|(_, mapping)| *mapping);
        found.filter_map(move |mapping| mapping.part(mapping.start.max(start), mapping.end.min(end)))
    }

    /// The brk heap.
    #[must_use]
    pub fn heap(&self) -> Span {
        Span { start: self.brk_start, end: self.brk }
    }

    /// Size of the guest's memory.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Memory in use: program, kernel, heap and mappings.
    #[must_use]
    pub fn mapped_bytes(&self) -> u64 {
        self.mapped_bytes
    }

    /// Largest value of [`AddressSpace::mapped_bytes`] since the last [`AddressSpace::forget_peak`].
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.max(self.mapped_bytes)
    }

    /// Whether memory was refused since the last [`AddressSpace::forget_peak`].
    #[must_use]
    pub fn refused(&self) -> bool {
        self.refused
    }

    /// Starts the peak and the refusals anew, at the beginning of an invocation.
    pub fn forget_peak(&mut self) {
        self.peak_bytes = self.mapped_bytes;
        self.refused = false;
    }

    fn first_overlapping(&self, span: Span) -> Option<Mapping> {
        let before = self.mappings.range(..=span.start).next_back().map(|(_, mapping)| *mapping);
        if let Some(mapping) = before.filter(|mapping| mapping.end > span.start && span.start < span.end) {
            return Some(mapping);
        }
        self.mappings.range(span.start..span.end.max(span.start)).next().map(|(_, mapping)| *mapping)
    }

    fn account(&mut self, change: i64) {
        self.mapped_bytes = self.mapped_bytes.saturating_add_signed(change);
        self.peak_bytes = self.peak_bytes.max(self.mapped_bytes);
    }
}

/// Where a new mapping shall be.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// Where there is room.
    Anywhere,
    /// At this address if it is free, else where there is room.
    Near(u64),
    /// At this address (`MAP_FIXED`; without `replace` `MAP_FIXED_NOREPLACE`).
    Exactly {
        /// The address.
        address: u64,
        /// Whether mappings that are there go away.
        replace: bool,
    },
}

fn round_up(address: u64) -> u64 {
    (address + PAGE_BYTES - 1) & !(PAGE_BYTES - 1)
}

fn range_end(start: u64, bytes: u64) -> Result<u64, Errno> {
    if !start.is_multiple_of(PAGE_BYTES) {
        return Err(Errno::INVAL);
    }
    let end = start.checked_add(bytes).and_then(|end| end.checked_add(PAGE_BYTES - 1)).ok_or(Errno::INVAL)?;
    Ok(end & !(PAGE_BYTES - 1))
}
