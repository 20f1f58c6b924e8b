//! Mapping, unmapping, protecting.

use mayfly_abi::layout::{PAGE_BYTES, is_in_images};

use super::{
    AddressSpace, Backing, Dirty, MAPPINGS_MAX, Mapping, Place, RESERVATION_LARGE_BYTES, RESERVATION_SHARE, Span,
    protection, range_end,
};
use crate::errno::Errno;

impl AddressSpace {
    /// Maps `bytes` somewhere, or at `at`. What must be zeroed is added to `dirty`.
    ///
    /// # Errors
    /// [`Errno::NOMEM`] if there is no room, [`Errno::INVAL`] for sizes and addresses that no mapping can have.
    pub fn map(
        &mut self,
        at: Place,
        bytes: u64,
        protection: u64,
        backing: Backing,
        dirty: &mut Dirty,
    ) -> Result<u64, Errno> {
        if bytes == 0 {
            return Err(Errno::INVAL);
        }
        let bytes = bytes.checked_add(PAGE_BYTES - 1).ok_or(Errno::NOMEM)? & !(PAGE_BYTES - 1);
        if self.mappings.len() >= MAPPINGS_MAX {
            return Err(Errno::NOMEM);
        }
        let is_reservation = protection & protection::ALL == protection::NONE;
        let start = match at {
            Place::Exactly { address, replace } => {
                let new = Mapping { start: address, end: 0, protection, backing };
                return self.map_exactly(new, bytes, replace, dirty);
            }
            _ if is_reservation && self.is_too_much(bytes) => None,
            Place::Near(hint) => self.take_near(hint & !(PAGE_BYTES - 1), bytes, dirty),
            Place::Anywhere => self.free.take_highest(bytes, dirty),
        };
        let Some(start) = start else {
            // A reservation (the C library tries some as large as the memory) is refused without harm.
            self.refused |= !is_reservation;
            return Err(Errno::NOMEM);
        };
        self.note(Mapping { start, end: start + bytes, protection, backing });
        Ok(start)
    }

    /// Would a reservation of that size leave too few addresses?
    fn is_too_much(&self, bytes: u64) -> bool {
        bytes >= RESERVATION_LARGE_BYTES && bytes.saturating_mul(RESERVATION_SHARE) > self.free.bytes()
    }

    fn take_near(&mut self, hint: u64, bytes: u64, dirty: &mut Dirty) -> Option<u64> {
        let span = Span { start: hint, end: hint.saturating_add(bytes) };
        if hint != 0 && self.free.take_exact(span, dirty) {
            return Some(hint);
        }
        self.free.take_highest(bytes, dirty)
    }

    fn map_exactly(&mut self, new: Mapping, bytes: u64, replace: bool, dirty: &mut Dirty) -> Result<u64, Errno> {
        let start = new.start;
        let end = start.checked_add(bytes).ok_or(Errno::NOMEM)?;
        if !start.is_multiple_of(PAGE_BYTES) {
            return Err(Errno::INVAL);
        }
        let span = Span { start, end };
        if replace {
            self.unmap(start, bytes)?;
        } else if self.first_overlapping(span).is_some() {
            return Err(Errno::EXIST);
        }
        if !self.free.take_exact(span, dirty) {
            // Outside of what mmap hands out: the program's own segments, the brk heap, the main stack.
            if !self.is_part_of_program(span) || matches!(new.backing, Backing::Shared { .. }) {
                return Err(Errno::NOMEM);
            }
            dirty.push(span);
            return Ok(start);
        }
        self.note(Mapping { end, ..new });
        Ok(start)
    }

    /// Maps what is there already once more: memory in which a file keeps its bytes. Parts that were mapped are mapped twice then.
    pub fn share(&mut self, span: Span, protection: u64, file: u32) {
        let mut at = span.start;
        while at < span.end {
            let next = self.first_overlapping(Span { start: at, end: span.end });
            let gap_end = next.map_or(span.end, |mapping| mapping.start).max(at);
            if at < gap_end {
                self.mappings.insert(
                    at,
                    Mapping { start: at, end: gap_end, protection, backing: Backing::Shared { file, count: 1 } },
                );
            }
            let Some(mapping) = next else { break };
            let end = mapping.end.min(span.end);
            self.replace_part(mapping, mapping.start.max(at), end, |part| {
                part.protection |= protection;
                if let Backing::Shared { count, .. } = &mut part.backing {
                    *count = count.saturating_add(1);
                }
            });
            at = end;
        }
    }

    /// Gives mapped memory back; addresses that are not mapped are passed over. Memory of a file stays the file's.
    ///
    /// # Errors
    /// [`Errno::INVAL`] for addresses that are not page-aligned, wrap around, or are the kernel's.
    pub fn unmap(&mut self, start: u64, bytes: u64) -> Result<(), Errno> {
        let end = range_end(start, bytes)?;
        if self.parts(start, end).any(|part| part.backing == Backing::Kernel) {
            return Err(Errno::INVAL);
        }
        let mut at = start;
        while let Some(mapping) = self.first_overlapping(Span { start: at, end }) {
            let cut = Span { start: mapping.start.max(at), end: mapping.end.min(end) };
            at = cut.end;
            if let Backing::Shared { count: 2.., .. } = mapping.backing {
                self.replace_part(mapping, cut.start, cut.end, |part| {
                    if let Backing::Shared { count, .. } = &mut part.backing {
                        *count -= 1;
                    }
                });
                continue;
            }
            self.mappings.remove(&mapping.start);
            for rest in
                [mapping.part(mapping.start, cut.start), mapping.part(cut.end, mapping.end)].into_iter().flatten()
            {
                self.mappings.insert(rest.start, rest);
            }
            if !matches!(mapping.backing, Backing::Shared { .. }) {
                // Addresses of an image are no memory to hand out.
                if !is_in_images(cut.start) {
                    self.free.insert(cut, true);
                }
                self.account(mapping.part(cut.start, cut.end).map_or(0, |part| -part.cost()));
            }
        }
        Ok(())
    }

    /// Takes back the memory in which a file kept its bytes, once nothing shows it any more.
    pub fn release(&mut self, span: Span) {
        debug_assert!(self.first_overlapping(span).is_none(), "memory of a file that is mapped");
        self.free.insert(span, true);
        self.account(-(span.bytes() as i64));
    }

    /// Notes a new protection for mapped memory.
    ///
    /// # Errors
    /// [`Errno::INVAL`] for a bad range, [`Errno::NOMEM`] if a part of it is not mapped.
    pub fn protect(&mut self, start: u64, bytes: u64, protection: u64) -> Result<(), Errno> {
        let end = range_end(start, bytes)?;
        if !self.is_mapped(start, end - start) {
            return Err(Errno::NOMEM);
        }
        let mut at = start;
        while let Some(mapping) = self.first_overlapping(Span { start: at, end }) {
            let cut = Span { start: mapping.start.max(at), end: mapping.end.min(end) };
            let before = mapping.part(cut.start, cut.end).map_or(0, |part| part.cost());
            self.replace_part(mapping, cut.start, cut.end, |part| part.protection = protection);
            let after = Mapping { protection, ..mapping }.part(cut.start, cut.end).map_or(0, |part| part.cost());
            self.account(after - before);
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
        self.account(Mapping { start: old_end, end: new_end, ..mapping }.cost());
        true
    }

    /// Splits a mapping so that `change` touches only its part from `start` to `end`.
    fn replace_part(&mut self, mapping: Mapping, start: u64, end: u64, change: impl Fn(&mut Mapping)) {
        self.mappings.remove(&mapping.start);
        let middle = mapping.part(start, end).map(|mut part| {
            change(&mut part);
            part
        });
        for part in [mapping.part(mapping.start, start), middle, mapping.part(end, mapping.end)].into_iter().flatten() {
            self.mappings.insert(part.start, part);
        }
    }

    /// Adds a mapping, joined with its neighbours where they have the same protection: a growing heap stays one entry.
    pub(super) fn note(&mut self, mut mapping: Mapping) {
        self.account(mapping.cost());
        let alike = |other: &Mapping, mapping: &Mapping| {
            mapping.backing == Backing::Anonymous
                && other.backing == Backing::Anonymous
                && other.protection == mapping.protection
        };
        if let Some((_, &before)) = self.mappings.range(..mapping.start).next_back()
            && before.end == mapping.start
            && alike(&before, &mapping)
        {
            self.mappings.remove(&before.start);
            mapping.start = before.start;
        }
        if let Some(&after) = self.mappings.get(&mapping.end)
            && alike(&after, &mapping)
        {
            self.mappings.remove(&after.start);
            mapping.end = after.end;
        }
        self.mappings.insert(mapping.start, mapping);
    }
}
