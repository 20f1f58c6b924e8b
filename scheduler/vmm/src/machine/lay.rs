//! Laying a function snapshot over the runtime's: what of it is copied, and what is mapped.

use std::fs::File;
use std::os::fd::AsFd;

use super::{Machine, WorkingSet};
use crate::error::Error;
use crate::snapshot::{Run, Snapshot};

/// A function snapshot that a guest was bound to.
pub(super) struct Top {
    pub(super) file: File,
    /// What is in it.
    pub(super) runs: Vec<Run>,
    /// Those of them that were copied: they have other pages, or none, mapped below them.
    pub(super) copied: Vec<Run>,
}

/// Where no working set is known, runs of a function snapshot that are longer are mapped, not copied: short runs are what is used most, and KVM brings in
/// what is mapped page by page, and copies eight at a time.
const COPIED_PAGES_MAX: u64 = 64;
/// Where one is known, those with more pages than this that it does not have, and that there is no room for yet: to map a run takes 3 µs, to copy
/// a page where there is one already 0.25, and where there is none 1.2.
const COPIED_FOR_NOTHING_MAX: u64 = 4;
/// No more short runs than this are mapped, however little of them is wanted: a process may have some 65,000 mappings.
const MAPPED_SHORT_MAX: usize = 1024;

impl Machine {
    /// Puts the pages of a function snapshot over those of its runtime snapshot. The guest has copies of the pages in `there`, and shall have
    /// copies of those in `wanted`. Returns the pages that it has copies of now.
    pub(super) fn lay(
        &mut self,
        top: &Snapshot,
        there: &WorkingSet,
        wanted: Option<&WorkingSet>,
    ) -> Result<WorkingSet, Error> {
        self.add_segments(top)?;
        let memory = self.memory_of_guest()?;
        let is_wanted = |run: &Run| match wanted.filter(|wanted| wanted.knows(run)) {
            Some(wanted) => copied_for_nothing(run, there, wanted) <= COPIED_FOR_NOTHING_MAX,
            None => is_short(run),
        };
        let mut mapped_short = 0;
        let (copied, mapped): (Vec<Run>, Vec<Run>) = top.runs().iter().partition(|run| {
            let is_copied = is_wanted(run) || is_short(run) && mapped_short == MAPPED_SHORT_MAX;
            mapped_short += usize::from(is_short(run) && !is_copied);
            is_copied
        });
        for run in &mapped {
            memory.overlay(run.address(), run.bytes(), top.file.as_fd(), run.file_offset)?;
        }
        // Those that follow one another in the file, in one call.
        for runs in copied.chunk_by(|one, next| one.file_offset + one.bytes() == next.file_offset) {
            memory.read_in(runs, top.file.as_fd())?;
        }
        let there = there.without(&WorkingSet::of_runs(&mapped)).with(&WorkingSet::of_runs(&copied));
        let file = top.file.try_clone().map_err(Error::host("keeping a snapshot open"))?;
        self.has_new_copies = true;
        self.top = Some(Top { file, runs: top.runs().to_vec(), copied });
        Ok(there)
    }
}

/// Pages of a run that are neither there nor wanted; at most that many.
fn copied_for_nothing(run: &Run, there: &WorkingSet, wanted: &WorkingSet) -> u64 {
    if run.pages <= COPIED_FOR_NOTHING_MAX {
        return run.pages;
    }
    WorkingSet::of_run(run).without(there).without(wanted).pages()
}

/// Whether a bind that knows nothing copies that run of a function snapshot instead of mapping it.
pub(super) fn is_short(run: &Run) -> bool {
    run.pages <= COPIED_PAGES_MAX
}
