//! Memory for the kernel's own pages: blocks that are aligned to their size, taken and given back.

use super::{AddressSpace, Backing, Dirty, MAPPINGS_MAX, Mapping, PAGE_BYTES, Span, protection};

impl AddressSpace {
    /// Takes a block of `bytes`, a power of two of pages, as high as there is one. It is not zeroed.
    pub fn take_block(&mut self, bytes: u64) -> Option<u64> {
        debug_assert!(bytes.is_power_of_two() && bytes >= PAGE_BYTES);
        if self.mappings.len() >= MAPPINGS_MAX {
            return None;
        }
        let wanted = 2 * bytes - PAGE_BYTES;
        let found = self.free.take_highest(wanted, &mut Dirty::new())?;
        let start = found.next_multiple_of(bytes);
        let end = start + bytes;
        // What was not needed for the alignment. Whether it was used before is not known any more.
        for rest in [Span { start: found, end: start }, Span { start: end, end: found + wanted }] {
            if rest.start < rest.end {
                self.free.insert(rest, true);
            }
        }
        self.note(Mapping { start, end, protection: protection::READ | protection::WRITE, backing: Backing::Kernel });
        Some(start)
    }

    /// Gives such a block back.
    pub fn give_block(&mut self, start: u64) {
        let Some(block) = self.mappings.remove(&start) else { return };
        debug_assert!(block.backing == Backing::Kernel);
        self.free.insert(Span { start, end: block.end }, true);
        self.account(-block.cost());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mayfly_abi::layout::MEMORY_MIN_BYTES;

    #[test]
    fn blocks_are_aligned_and_come_back() {
        const BYTES: u64 = 256 << 10;
        let mut space = AddressSpace::new(0x200_0000, MEMORY_MIN_BYTES);
        let free = space.free.bytes();
        let mapped = space.mapped_bytes();
        let blocks: alloc::vec::Vec<u64> = core::iter::from_fn(|| space.take_block(BYTES)).collect();
        assert!(blocks.iter().all(|block| block.is_multiple_of(BYTES)));
        assert_eq!(free - space.free.bytes(), blocks.len() as u64 * BYTES);
        assert!(space.free.bytes() < free / 20, "nearly all of the memory can be had as blocks");
        assert!(space.unmap(blocks[0], BYTES).is_err(), "not the program's to unmap");
        for block in blocks {
            space.give_block(block);
        }
        assert_eq!((space.free.bytes(), space.mapped_bytes()), (free, mapped));
    }
}
