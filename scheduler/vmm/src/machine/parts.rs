//! Parts: a guest is given memory and images where it uses them, when it first does.
//!
//! ```text
//! not given ── page fault ──► given: a slot of KVM's, then an entry in the guest's page tables
//! ```
//!
//! What is given stays: the guest may be reset or bound over, its slots and entries remain. What a snapshot's guest had been given is in
//! the page tables that were saved with it, and is given at a bind. So a guest that does what the saved one did asks for nothing.
//! No address without a slot can be reached: the page tables lead to none, and the guest cannot change them.

use std::ops::Range;

use kvm_bindings::KVM_MEM_READONLY;
use mayfly_abi::layout::{
    KERNEL_END, KERNEL_TEXT, LARGE_PAGE_BYTES, MAIN_STACK, MEMORY_MAX_BYTES, MEMORY_MIN_BYTES, PROGRAM, image_base,
};

use super::{Machine, SLOT_MEMORY};
use crate::error::Error;
use crate::memory::Memory;
use crate::tables;

/// Given at a time, aligned. A fault, an exit and a slot take 0.1 to 0.5 ms, nearly all of which is KVM waiting for other processors, however much
/// it is; the faults on 4 MiB of pages take 5 ms. KVM's memory for it is 10 KiB, and 20 KiB for the slot: six arrays, of a page at least.
const STEP_BYTES: u64 = 4 << 20;
/// The same of memory that a function has beyond what the smallest have: those are not the ones of which a host has thousands.
const LARGE_STEP_BYTES: u64 = 128 << 20;
/// What a snapshot's guest had been given becomes one slot where there is no more than that between: it costs as much as another slot.
const GAP_BYTES: u64 = 8 << 20;
/// So much from address 0 on every guest has: its program or the heap begins there, and most grow a little.
const FIRST_BYTES: u64 = 12 << 20;

const LARGE_PAGE: usize = LARGE_PAGE_BYTES as usize;

impl Machine {
    /// What a fresh guest begins with.
    pub(super) fn give_first(&mut self) -> Result<(), Error> {
        let stack = MAIN_STACK.top() - STEP_BYTES..MAIN_STACK.top();
        self.give_ranges(self.always().chain([stack]).collect())
    }

    /// What the guest had whose page tables are in the memory.
    pub(super) fn give_present(&mut self) -> Result<(), Error> {
        let memory = self.memory_of_guest()?;
        let mut ranges: Vec<_> = self.always().collect();
        let images = self.images.iter().enumerate();
        let images = images.map(|(index, image)| image_base(index)..image_base(index) + image.bytes);
        for whole in std::iter::once(PROGRAM..memory.bytes()).chain(images) {
            for page in whole.step_by(LARGE_PAGE) {
                if tables::is_present(memory.word(tables::place_of_entry(page))?) {
                    ranges.push(page..page + LARGE_PAGE_BYTES);
                }
            }
        }
        self.give_ranges(ranges)
    }

    /// Gives these ranges, and what is between those that are close to each other.
    fn give_ranges(&mut self, mut ranges: Vec<Range<u64>>) -> Result<(), Error> {
        ranges.sort_unstable_by_key(|range| range.start);
        let memory = self.memory.as_mut().ok_or(Error::State("there is no guest in this machine"))?;
        for part in ranges.chunk_by(|one, next| next.start.saturating_sub(one.end) <= GAP_BYTES) {
            let end = part.iter().map(|range| range.end).max().unwrap_or_default();
            memory.give(part[0].start..end);
        }
        Ok(())
    }

    /// Tells KVM of what is new, once all mappings are in place: Linux tells KVM of each change to a mapping that is a guest's.
    pub(super) fn give_memory(&mut self) -> Result<(), Error> {
        let slots = self.memory_of_guest()?.slots();
        for (index, slot) in slots.iter().enumerate().skip(self.slots_given) {
            let flags = if slot.is_writable { 0 } else { KVM_MEM_READONLY };
            self.slot(SLOT_MEMORY + index as u32, slot.guest, slot.bytes, slot.host, flags)?;
        }
        self.slots_given = slots.len();
        Ok(())
    }

    /// Gives the memory around an address that was not there, if there is any: then the access can be tried again.
    pub(super) fn give_around(&mut self, address: u64) -> Result<bool, Error> {
        let is_beyond = (MEMORY_MIN_BYTES..MEMORY_MAX_BYTES).contains(&address);
        let bytes = if is_beyond { LARGE_STEP_BYTES } else { STEP_BYTES };
        let step = address & !(bytes - 1);
        let memory = self.memory_of_guest()?;
        let pages = (step..step.saturating_add(bytes)).step_by(LARGE_PAGE);
        let missing: Vec<u64> = pages.filter(|page| self.is_missing(memory, *page)).collect();
        if !missing.contains(&(address & !(LARGE_PAGE_BYTES - 1))) {
            return Ok(false);
        }
        let memory = self.memory.as_mut().ok_or(Error::State("there is no guest in this machine"))?;
        memory.give(missing[0]..missing[missing.len() - 1] + LARGE_PAGE_BYTES);
        self.give_memory()?;
        self.given_late.extend(missing);
        self.keep_present()?;
        Ok(true)
    }

    /// Memory of the guest's to which its page tables do not lead yet?
    fn is_missing(&self, memory: &Memory, page: u64) -> bool {
        tables::entry(page, memory.bytes(), &self.images).is_some()
            && memory.word(tables::place_of_entry(page)).is_ok_and(|entry| !tables::is_present(entry))
    }

    /// Lets the page tables lead to what was given since they were written, also where a snapshot's were put over them.
    pub(super) fn keep_present(&self) -> Result<(), Error> {
        let memory = self.memory_of_guest()?;
        for &page in &self.given_late {
            if !tables::is_present(memory.word(tables::place_of_entry(page))?)
                && let Some(entry) = tables::entry(page, memory.bytes(), &self.images)
            {
                memory.write(tables::place_of_entry(page), &entry.to_le_bytes())?;
            }
        }
        Ok(())
    }

    /// What every guest has: page tables, descriptors, the kernel, room for a program, and the beginning of each image, its list of files.
    fn always(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let images = (0..self.images.len()).map(image_base).map(|base| base..base + STEP_BYTES);
        [0..FIRST_BYTES, KERNEL_TEXT..KERNEL_END].into_iter().chain(images)
    }
}
