//! The program's memory: which addresses are taken, which are free, and which of the free ones were written before.
//!
//! There is no paging to manage. The host backs every address of the guest's memory with zeros until something is written
//! there, so a mapping is only a note that its addresses are taken; what `munmap` gives back is marked *used* and zeroed when it
//! is handed out again. Protection is noted and reported, not enforced: inside, kernel and program trust each other.

mod free;

use alloc::collections::BTreeMap;

use mayfly_abi::layout::{KERNEL_TEXT, LARGE_PAGE_BYTES, MAIN_STACK, MEMORY_MIN_BYTES, PAGE_BYTES, PROGRAM};

use crate::errno::Errno;
pub use free::{FreeList, Span};

/// Largest number of mappings of one program.
pub const MAPPINGS_MAX: usize = 65_536;

/// Protection bits as in `mmap`.
pub mod protection {
    /// Readable.
    pub const READ: u64 = 1;
    /// Writable.
    pub const WRITE: u64 = 2;
    /// Executable.
    pub const EXECUTE: u64 = 4;
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
}

/// Hands out memory.
#[derive(Debug)]
pub struct AddressSpace {
    mappings: BTreeMap<u64, Mapping>,
    free: FreeList,
    brk_start: u64,
    brk: u64,
    /// Highest address that brk ever reached: above it the heap has never been written.
    brk_peak: u64,
    memory_bytes: u64,
    mapped_bytes: u64,
    peak_bytes: u64,
    refused: bool,
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
            brk_start,
            brk: brk_start,
            brk_peak: brk_start,
            memory_bytes: MEMORY_MIN_BYTES,
            mapped_bytes: program_end + MAIN_STACK.bytes / 8,
            peak_bytes: 0,
            refused: false,
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

    /// Maps `bytes` somewhere, or at `at`. What must be zeroed is added to `dirty`.
    ///
    /// # Errors
    /// [`Errno::NOMEM`] if there is no room, [`Errno::INVAL`] for sizes and addresses that no mapping can have.
    pub fn map(&mut self, at: Place, bytes: u64, protection: u64, dirty: &mut Dirty) -> Result<u64, Errno> {
        if bytes == 0 {
            return Err(Errno::INVAL);
        }
        let bytes = bytes.checked_add(PAGE_BYTES - 1).ok_or(Errno::NOMEM)? & !(PAGE_BYTES - 1);
        if self.mappings.len() >= MAPPINGS_MAX {
            return Err(Errno::NOMEM);
        }
        let start = match at {
            Place::Anywhere => self.free.take_highest(bytes, dirty),
            Place::Near(hint) => {
                let span =
                    Span { start: hint & !(PAGE_BYTES - 1), end: (hint & !(PAGE_BYTES - 1)).saturating_add(bytes) };
                if hint != 0 && self.free.take_exact(span, dirty) {
                    Some(span.start)
                } else {
                    self.free.take_highest(bytes, dirty)
                }
            }
            Place::Exactly { address, replace } => return self.map_exactly(address, bytes, protection, replace, dirty),
        };
        let Some(start) = start else {
            // A reservation (no protection yet: the C library tries some as large as the memory) is refused without harm.
            self.refused |= protection != 0;
            return Err(Errno::NOMEM);
        };
        self.note(Mapping { start, end: start + bytes, protection });
        Ok(start)
    }

    fn map_exactly(
        &mut self,
        start: u64,
        bytes: u64,
        protection: u64,
        replace: bool,
        dirty: &mut Dirty,
    ) -> Result<u64, Errno> {
        let end = start.checked_add(bytes).ok_or(Errno::NOMEM)?;
        if !start.is_multiple_of(PAGE_BYTES) {
            return Err(Errno::INVAL);
        }
        let span = Span { start, end };
        if replace {
            self.unmap(start, bytes)?;
        } else if self.overlaps(span) {
            return Err(Errno::EXIST);
        }
        if !self.free.take_exact(span, dirty) {
            // Outside of what mmap hands out: the program's own segments, the brk heap, the main stack.
            if !self.is_accessible(start, bytes) {
                return Err(Errno::NOMEM);
            }
            dirty.push(span);
            return Ok(start);
        }
        self.note(Mapping { start, end, protection });
        Ok(start)
    }

    /// Gives mapped memory back; addresses that are not mapped are passed over.
    ///
    /// # Errors
    /// [`Errno::INVAL`] for addresses that are not page-aligned or wrap around.
    pub fn unmap(&mut self, start: u64, bytes: u64) -> Result<(), Errno> {
        let end = range_end(start, bytes)?;
        while let Some(mapping) = self.first_overlapping(Span { start, end }) {
            self.mappings.remove(&mapping.start);
            let cut = Span { start: mapping.start.max(start), end: mapping.end.min(end) };
            for rest in [Mapping { end: cut.start, ..mapping }, Mapping { start: cut.end, ..mapping }] {
                if rest.start < rest.end {
                    self.mappings.insert(rest.start, rest);
                }
            }
            self.free.insert(cut, true);
            self.account(cut.start as i64 - cut.end as i64);
        }
        Ok(())
    }

    /// Notes a new protection for mapped memory.
    ///
    /// # Errors
    /// [`Errno::INVAL`] for a bad range, [`Errno::NOMEM`] if a part of it is not accessible.
    pub fn protect(&mut self, start: u64, bytes: u64, protection: u64) -> Result<(), Errno> {
        let end = range_end(start, bytes)?;
        if !self.is_accessible(start, end - start) {
            return Err(Errno::NOMEM);
        }
        let mut at = start;
        while let Some(mapping) = self.first_overlapping(Span { start: at, end }) {
            self.mappings.remove(&mapping.start);
            let cut = Span { start: mapping.start.max(at), end: mapping.end.min(end) };
            let parts = [
                Mapping { end: cut.start, ..mapping },
                Mapping { start: cut.start, end: cut.end, protection },
                Mapping { start: cut.end, ..mapping },
            ];
            for part in parts {
                if part.start < part.end {
                    self.mappings.insert(part.start, part);
                }
            }
            at = cut.end;
        }
        Ok(())
    }

    /// Makes a mapping larger in place, if what follows it is free.
    pub fn extend(&mut self, start: u64, old_bytes: u64, new_bytes: u64, dirty: &mut Dirty) -> bool {
        let (Ok(old_end), Ok(new_end)) = (range_end(start, old_bytes), range_end(start, new_bytes)) else {
            return false;
        };
        let Some(mapping) = self.first_overlapping(Span { start, end: old_end }) else { return false };
        if mapping.end != old_end || !self.free.take_exact(Span { start: old_end, end: new_end }, dirty) {
            return false;
        }
        self.mappings.insert(mapping.start, Mapping { end: new_end, ..mapping });
        self.account((new_end - old_end) as i64);
        true
    }

    /// Whether the program may touch all of a range: the guest's memory without null page, page tables, guards.
    #[must_use]
    pub fn is_accessible(&self, start: u64, bytes: u64) -> bool {
        let Some(end) = start.checked_add(bytes) else { return false };
        (start >= PROGRAM && end <= KERNEL_TEXT) || (start >= MAIN_STACK.base && end <= self.memory_bytes)
    }

    /// Mapped ranges in order of address.
    pub fn mappings(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.values()
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

    fn overlaps(&self, span: Span) -> bool {
        self.first_overlapping(span).is_some()
    }

    fn first_overlapping(&self, span: Span) -> Option<Mapping> {
        let before = self.mappings.range(..=span.start).next_back().map(|(_, mapping)| *mapping);
        if let Some(mapping) = before.filter(|mapping| mapping.end > span.start && span.start < span.end) {
            return Some(mapping);
        }
        self.mappings.range(span.start..span.end.max(span.start)).next().map(|(_, mapping)| *mapping)
    }

    /// Adds a mapping, joined with its neighbours where they have the same protection: a growing heap stays one entry.
    fn note(&mut self, mut mapping: Mapping) {
        self.account((mapping.end - mapping.start) as i64);
        if let Some((_, &before)) = self.mappings.range(..mapping.start).next_back()
            && before.end == mapping.start
            && before.protection == mapping.protection
        {
            self.mappings.remove(&before.start);
            mapping.start = before.start;
        }
        if let Some(&after) = self.mappings.get(&mapping.end)
            && after.protection == mapping.protection
        {
            self.mappings.remove(&after.start);
            mapping.end = after.end;
        }
        self.mappings.insert(mapping.start, mapping);
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

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM_END: u64 = 0x200_0000;

    fn space() -> (AddressSpace, Dirty) {
        (AddressSpace::new(PROGRAM_END, MEMORY_MIN_BYTES), Dirty::new())
    }

    #[test]
    fn memory_is_zeroed_only_when_it_was_used_before() {
        let (mut space, mut dirty) = space();
        let first = space.map(Place::Anywhere, 8192, 3, &mut dirty).unwrap();
        assert!(dirty.is_empty());
        space.unmap(first, 4096).unwrap();
        let again = space.map(Place::Exactly { address: first, replace: false }, 4096, 3, &mut dirty).unwrap();
        assert_eq!(again, first);
        assert_eq!(dirty, [Span { start: first, end: first + 4096 }]);
    }

    #[test]
    fn brk_and_mmap_meet_but_never_overlap() {
        let (mut space, mut dirty) = space();
        let low = space.map(Place::Anywhere, 16 << 20, 3, &mut dirty).unwrap();
        assert_eq!(space.set_brk(low, &mut dirty), low);
        assert_eq!(space.set_brk(low + 4096, &mut dirty), low);
        assert!(space.refused());
        assert_eq!(space.map(Place::Anywhere, 4096, 3, &mut dirty), Err(Errno::NOMEM));
    }

    #[test]
    fn more_memory_can_be_mapped_after_the_guest_grew() {
        let (mut space, mut dirty) = space();
        assert_eq!(space.map(Place::Anywhere, 200 << 20, 3, &mut dirty), Err(Errno::NOMEM));
        space.grow_memory(512 << 20);
        let at = space.map(Place::Anywhere, 200 << 20, 3, &mut dirty).unwrap();
        assert!(at >= MEMORY_MIN_BYTES && space.is_accessible(at, 200 << 20));
    }

    #[test]
    fn unmapping_the_middle_leaves_both_ends() {
        let (mut space, mut dirty) = space();
        let at = space.map(Place::Anywhere, 3 * 4096, 3, &mut dirty).unwrap();
        space.unmap(at + 4096, 4096).unwrap();
        let left: alloc::vec::Vec<_> = space.mappings().map(|mapping| (mapping.start, mapping.end)).collect();
        assert_eq!(left, [(at, at + 4096), (at + 8192, at + 3 * 4096)]);
    }

    #[test]
    fn guards_and_null_are_not_accessible() {
        let (space, _) = space();
        for (start, bytes) in
            [(0, 1), (MAIN_STACK.base - 1, 2), (MEMORY_MIN_BYTES - 1, 2), (u64::MAX, 2), (0x10_0000, 8)]
        {
            assert!(!space.is_accessible(start, bytes), "{start:#x}");
        }
        assert!(space.is_accessible(MAIN_STACK.base, MAIN_STACK.bytes));
    }

    #[test]
    fn bad_ranges_are_refused() {
        let (mut space, mut dirty) = space();
        assert_eq!(space.unmap(1, 4096), Err(Errno::INVAL));
        assert_eq!(space.unmap(4096, u64::MAX), Err(Errno::INVAL));
        assert_eq!(space.map(Place::Anywhere, 0, 3, &mut dirty), Err(Errno::INVAL));
        assert_eq!(space.map(Place::Anywhere, u64::MAX, 3, &mut dirty), Err(Errno::NOMEM));
        let wrapping = Place::Exactly { address: !4095, replace: true };
        assert!(space.map(wrapping, 8192, 3, &mut dirty).is_err());
        assert_eq!(space.protect(0, 4096, 3), Err(Errno::NOMEM));
    }
}
