//! The table of file descriptors: small numbers, each naming an open description.

use alloc::vec::Vec;

use super::limits::DESCRIPTORS_MAX;
use crate::errno::Errno;

const WORDS: usize = DESCRIPTORS_MAX / 64;

/// What a descriptor names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// Index of the open description.
    pub(crate) description: u32,
    /// `FD_CLOEXEC`. Kept for `fcntl`; there is no `execve`.
    pub(crate) closes_on_exec: bool,
}

/// The table.
#[derive(Debug)]
pub(crate) struct Descriptors {
    slots: Vec<Option<Descriptor>>,
    /// One bit per number in use, so that the lowest free one is found without looking at the slots.
    used: [u64; WORDS],
}

impl Descriptors {
    pub(crate) const fn new() -> Descriptors {
        Descriptors { slots: Vec::new(), used: [0; WORDS] }
    }

    pub(crate) fn get(&self, number: u32) -> Result<Descriptor, Errno> {
        self.slots.get(number as usize).copied().flatten().ok_or(Errno::BADF)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Result<&mut Descriptor, Errno> {
        self.slots.get_mut(number as usize).and_then(Option::as_mut).ok_or(Errno::BADF)
    }

    /// The lowest free number from `from` on.
    pub(crate) fn lowest_free(&self, from: u32) -> Result<u32, Errno> {
        let mut word = from as usize / 64;
        let mut skipped = (1u64 << (from % 64)) - 1;
        while let Some(used) = self.used.get(word) {
            let free = !(used | skipped);
            if free != 0 {
                return Ok(word as u32 * 64 + free.trailing_zeros());
            }
            (word, skipped) = (word + 1, 0);
        }
        Err(Errno::MFILE)
    }

    /// Is there room for `count` more?
    pub(crate) fn has_room(&self, count: u32) -> bool {
        let used: u32 = self.used.iter().map(|word| word.count_ones()).sum();
        DESCRIPTORS_MAX as u32 - used >= count
    }

    /// Puts `descriptor` at `number` and returns what was there.
    pub(crate) fn set(&mut self, number: u32, descriptor: Descriptor) -> Result<Option<Descriptor>, Errno> {
        let index = number as usize;
        if index >= DESCRIPTORS_MAX {
            return Err(Errno::BADF);
        }
        if self.slots.len() <= index {
            self.slots.resize(index + 1, None);
        }
        self.used[index / 64] |= 1 << (index % 64);
        Ok(self.slots[index].replace(descriptor))
    }

    pub(crate) fn remove(&mut self, number: u32) -> Result<Descriptor, Errno> {
        let slot = self.slots.get_mut(number as usize).ok_or(Errno::BADF)?;
        let descriptor = slot.take().ok_or(Errno::BADF)?;
        self.used[number as usize / 64] &= !(1 << (number % 64));
        Ok(descriptor)
    }

    /// Numbers in use, from `from` on.
    pub(crate) fn numbers(&self, from: u32) -> impl Iterator<Item = u32> {
        let used = self.slots.iter().enumerate().skip(from as usize);
        used.filter(|(_, slot)| slot.is_some()).map(|(index, _)| index as u32)
    }
}
