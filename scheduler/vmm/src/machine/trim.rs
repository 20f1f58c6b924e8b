//! Trim: an instance that nobody calls gives back the copies of pages that it has for nothing.
//!
//! A bind copies pages, and a guest gets copies of all that it writes to: most of them are the snapshot's again afterwards (reference counts).
//! They make the next invocation fast, and cost memory until it comes.

use std::ops::Range;
use std::os::fd::AsFd;

use mayfly_abi::layout::PAGE_BYTES;

use super::bind::Source;
use super::{Machine, Phase};
use crate::error::Error;

/// Where a bind has copied more runs than this, they stay: to map each of them again could be more mappings than a process may have, some 65,000.
const COPIED_RUNS_MAX: usize = 16_384;

impl Machine {
    /// Gives back what a guest that nobody calls does not need: copies of pages that are the snapshot's, and the page tables of what they were compared
    /// with. Returns the number of those pages. Nothing changes for the guest but that it takes a fault where it writes to one.
    ///
    /// # Errors
    /// If the guest is not waiting, or the host refuses; then the machine is dead.
    pub fn trim(&mut self) -> Result<u64, Error> {
        let pages = self.give_equal_back(1)?;
        self.sources.iter().for_each(Source::forget);
        Ok(pages)
    }

    /// Gives ranges of at least so many pages back that are the snapshot's.
    pub(super) fn give_equal_back(&mut self, least: u64) -> Result<u64, Error> {
        // One that has not run yet has copies too.
        if !(self.phase == Phase::Loaded || self.is_at_rest()) || self.base_identity == 0 {
            return Err(Error::State("only a guest that was bound and waits for its next event can be trimmed"));
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Dead);
        let mut equal = self.equal_pages()?;
        equal.retain(|range| (range.end - range.start) / PAGE_BYTES >= least);
        if self.top.as_ref().is_some_and(|top| top.copied.len() > COPIED_RUNS_MAX) {
            equal.retain(|range| self.copied_within(range).next().is_none());
        }
        for range in &equal {
            self.give_back(range)?;
        }
        self.has_new_copies = false;
        self.private.clear();
        self.faults_seen = None;
        self.phase = phase;
        Ok(equal.iter().map(|range| (range.end - range.start) / PAGE_BYTES).sum())
    }

    /// Private pages that are equal to the snapshot's.
    fn equal_pages(&mut self) -> Result<Vec<Range<u64>>, Error> {
        let memory = self.memory.as_ref().ok_or(Error::State("there is no guest in this machine"))?;
        let private = self.dirty.find(memory.searched())?.to_vec();
        let mut equal: Vec<Range<u64>> = Vec::new();
        for address in private.into_iter().flat_map(|range| range.step_by(PAGE_BYTES as usize)) {
            if self.differs(memory, address / PAGE_BYTES)? {
                continue;
            }
            match equal.last_mut() {
                Some(last) if last.end == address => last.end += PAGE_BYTES,
                _ => equal.push(address..address + PAGE_BYTES),
            }
        }
        Ok(equal)
    }

    fn give_back(&self, range: &Range<u64>) -> Result<(), Error> {
        let memory = self.memory_of_guest()?;
        memory.drop_pages(range.start, range.end - range.start)?;
        let Some(top) = &self.top else { return Ok(()) };
        for run in self.copied_within(range) {
            memory.overlay(run.address(), run.bytes(), top.file.as_fd(), run.file_offset)?;
        }
        Ok(())
    }
}
