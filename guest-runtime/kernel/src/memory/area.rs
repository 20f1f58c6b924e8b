//! Libraries where they are, in their images.
//!
//! Their addresses are in the list of mappings like others, but never free: a load area is used once, as its file has it, and what was written to
//! it stays. Whoever maps a library a second time gets a copy in the program's own memory.

use super::{AddressSpace, Backing, MAPPINGS_MAX, Mapping, Span};

impl AddressSpace {
    /// Maps a load area, which is zero from the address `zeros` on. `false` if that was done before.
    pub fn take_area(&mut self, area: Span, protection: u64, zeros: u64) -> bool {
        if self.mappings.len() >= MAPPINGS_MAX || !self.used_areas.insert(area.start) {
            return false;
        }
        self.note(Mapping { start: area.start, end: area.end, protection, backing: Backing::Library { zeros } });
        true
    }

    /// Whether all of a range is in a load area of which no part there has been mapped by itself; from which address on it is zero.
    #[must_use]
    pub fn untouched(&self, span: Span) -> Option<u64> {
        let mapping = self.first_overlapping(span)?;
        match mapping.backing {
            Backing::Library { zeros } if mapping.start <= span.start && span.end <= mapping.end => Some(zeros),
            _ => None,
        }
    }

    /// Notes that a part of a load area is mapped as something of its own.
    pub fn settle_area(&mut self, span: Span, protection: u64, backing: Backing) {
        // The range is mapped, aligned and not the kernel's: nothing to refuse.
        let _ = self.unmap(span.start, span.bytes());
        self.note(Mapping { start: span.start, end: span.end, protection, backing });
    }
}
