//! The pages that an invocation changes: recorded once, prefetched at each later bind.
//!
//! A bound guest starts with no page in place, and each first write costs a fault and a copy, on hosts with shadow paging two faults. What the
//! first invocation of a snapshot changed, the others change too; those faults are taken in a few calls, before the guest runs.
//! A working set is a hint and nothing else: wrong or missing pages cost time only.

use mayfly_abi::layout::{IMAGES_MAX, PAGE_BYTES, image_base};

use super::bind::is_copied;
use super::{Machine, Phase};
use crate::error::Error;
use crate::snapshot::Snapshot;

/// Largest number of ranges that is kept.
const RANGES_MAX: usize = 4096;
/// Ranges with a smaller gap between them are prefetched as one.
const MERGE_GAP_PAGES: u32 = 2;

/// Page ranges of guest memory that an invocation changes: (first page, number of pages).
///
/// Pages that are only read are not in it: they come from the page cache, and the host maps sixteen of them per fault by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkingSet {
    written: Vec<(u32, u32)>,
}

impl WorkingSet {
    /// The pages of a function snapshot that a bind copies.
    #[must_use]
    pub fn copied(snapshot: &Snapshot) -> WorkingSet {
        let short = snapshot.runs().iter().filter(|run| is_copied(run));
        WorkingSet { written: short.map(|run| (run.first_page as u32, run.pages as u32)).take(RANGES_MAX).collect() }
    }

    /// The pages that are in both. Both must be in order, as all are that are recorded.
    #[must_use]
    pub fn common(&self, other: &WorkingSet) -> WorkingSet {
        let (mut one, mut two) = (self.written.iter().peekable(), other.written.iter().peekable());
        let mut written = Vec::new();
        while let (Some(&&(a, a_pages)), Some(&&(b, b_pages))) = (one.peek(), two.peek()) {
            let (start, end) = (a.max(b), (a + a_pages).min(b + b_pages));
            if start < end {
                written.push((start, end - start));
            }
            if a + a_pages <= b + b_pages {
                one.next()
            } else {
                two.next()
            };
        }
        WorkingSet { written }
    }

    /// As bytes, for a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.written.iter().flat_map(|&(first, pages)| [first, pages]).flat_map(u32::to_le_bytes).collect()
    }

    /// The working set in `bytes`; `None` if they are no working set.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<WorkingSet> {
        let (words, []) = bytes.as_chunks::<4>() else { return None };
        let (ranges, []) = words.as_chunks::<2>() else { return None };
        let written: Vec<(u32, u32)> =
            ranges.iter().map(|&[first, pages]| (u32::from_le_bytes(first), u32::from_le_bytes(pages))).collect();
        // Of memory and of images.
        let pages_max = (image_base(IMAGES_MAX) / PAGE_BYTES) as u32;
        let in_memory = |&(first, pages): &(u32, u32)| first.checked_add(pages).is_some_and(|end| end <= pages_max);
        (written.len() <= RANGES_MAX && written.iter().all(in_memory)).then_some(WorkingSet { written })
    }

    /// Number of pages.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.written.iter().map(|&(_, pages)| u64::from(pages)).sum()
    }
}

impl Machine {
    /// What the guest has changed since it was bound. Pages that it wrote and put back (reference counts) are left out: taking their
    /// faults early costs as much as taking them late. Meant for after the first invocation.
    ///
    /// # Errors
    /// If there is no waiting guest, or the host refuses.
    pub fn working_set(&mut self) -> Result<WorkingSet, Error> {
        if self.phase != Phase::Waiting {
            return Err(Error::State("only a guest that waits for its next event has a working set"));
        }
        Ok(WorkingSet { written: ranges(&self.changed_pages()?) })
    }

    /// Makes these pages private now.
    pub(super) fn prefetch(&self, set: &WorkingSet) -> Result<(), Error> {
        let memory = self.memory_of_guest()?;
        for &(first, pages) in &set.written {
            memory.populate(u64::from(first) * PAGE_BYTES, u64::from(pages) * PAGE_BYTES);
        }
        Ok(())
    }
}

/// Sorted pages as ranges, with small gaps filled.
fn ranges(found: &[u64]) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &page in found {
        let page = page as u32;
        match ranges.last_mut() {
            Some((start, pages)) if page - (*start + *pages) <= MERGE_GAP_PAGES => *pages = page + 1 - *start,
            _ => ranges.push((page, 1)),
        }
    }
    ranges.truncate(RANGES_MAX);
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let set = WorkingSet { written: vec![(1, 2), (9, 1)] };
        assert_eq!(WorkingSet::from_bytes(&set.to_bytes()), Some(set));
    }

    #[test]
    fn close_ranges_are_one() {
        assert_eq!(ranges(&[1, 4, 9]), [(1, 4), (9, 1)]);
    }

    #[test]
    fn what_two_have_in_common() {
        let set = |written: &[(u32, u32)]| WorkingSet { written: written.to_vec() };
        for (one, two, common) in [
            (&[(1, 4), (9, 1)][..], &[(2, 1), (4, 3), (9, 1)][..], &[(2, 1), (4, 1), (9, 1)][..]),
            (&[(1, 100)], &[(5, 5), (90, 20)], &[(5, 5), (90, 11)]),
            (&[(1, 2)], &[(3, 2)], &[]),
            (&[(1, 2)], &[], &[]),
        ] {
            assert_eq!(set(one).common(&set(two)), set(common));
            assert_eq!(set(two).common(&set(one)), set(common));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = WorkingSet::from_bytes(&bytes);
        }
    }
}
