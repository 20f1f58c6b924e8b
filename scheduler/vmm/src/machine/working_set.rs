//! The pages that an invocation writes to: recorded once, prefetched at each later bind.
//!
//! A bound guest starts with no page in place, and each first write costs a fault and a copy, on hosts with shadow paging two faults. What the
//! first invocation of a snapshot wrote to, the others write to as well; those faults are taken in a few calls, before the guest runs.
//! With shadow paging that saves more: KVM brings in eight neighbours at a time of pages that the guest has copies of, others one by one.
//! A working set is a hint and nothing else: wrong or missing pages cost time only.

use std::ops::Range;

use mayfly_abi::layout::{IMAGES_MAX, PAGE_BYTES, image_base};

use super::Machine;
use super::lay::is_short;
use crate::error::Error;
use crate::snapshot::{Run, Snapshot};

/// Largest number of ranges that is kept.
const RANGES_MAX: usize = 4096;

/// Page ranges of guest memory that an invocation writes to, in order and apart from each other: (first page, number of pages).
///
/// Pages that are only read are not in it: they come from the page cache, and the host maps sixteen of them per fault by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkingSet {
    written: Vec<(u32, u32)>,
}

impl WorkingSet {
    /// The pages of a function snapshot that a bind without a working set copies.
    #[must_use]
    pub fn copied(snapshot: &Snapshot) -> WorkingSet {
        WorkingSet::all(snapshot, 0)
    }

    /// All pages of a function snapshot, but of its long runs only as many as fit into `bytes_max` with the short ones: for those who have the time to bring them in, and do
    /// not know which are needed.
    #[must_use]
    pub fn all(snapshot: &Snapshot, bytes_max: u64) -> WorkingSet {
        let short = snapshot.runs().iter().filter(|run| is_short(run)).map(Run::bytes).sum();
        let mut left = bytes_max.saturating_sub(short);
        let fits = |run: &&Run| {
            if is_short(run) {
                return true;
            }
            let rest = left.checked_sub(run.bytes());
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        let runs: Vec<Run> = snapshot.runs().iter().filter(fits).take(RANGES_MAX).copied().collect();
        WorkingSet::of_runs(&runs)
    }

    /// The pages of ranges of addresses, which are in order.
    pub(super) fn of(ranges: &[Range<u64>]) -> WorkingSet {
        let pages =
            |range: &Range<u64>| ((range.start / PAGE_BYTES) as u32, ((range.end - range.start) / PAGE_BYTES) as u32);
        WorkingSet { written: ranges.iter().map(pages).collect() }
    }

    /// The pages of runs, which are in order.
    pub(super) fn of_runs(runs: &[Run]) -> WorkingSet {
        WorkingSet { written: runs.iter().map(|run| (run.first_page as u32, run.pages as u32)).collect() }
    }

    /// The pages of a run.
    pub(super) fn of_run(run: &Run) -> WorkingSet {
        WorkingSet::of_runs(std::slice::from_ref(run))
    }

    /// Whether it says something of a run: one that is full has no room for what comes after its end.
    pub(super) fn knows(&self, run: &Run) -> bool {
        self.written.len() < RANGES_MAX
            || self.written.last().is_some_and(|&(first, _)| run.first_page < u64::from(first))
    }

    /// The pages that are in this one and not in the other.
    pub(super) fn without(&self, other: &WorkingSet) -> WorkingSet {
        let mut written = Vec::new();
        for &(first, pages) in &self.written {
            let (mut at, end) = (first, first + pages);
            let near = other.written.partition_point(|&(start, pages)| start + pages <= first);
            for &(start, pages) in other.written[near..].iter().take_while(|&&(start, _)| start < end) {
                if start > at {
                    written.push((at, start - at));
                }
                at = start + pages;
            }
            if at < end {
                written.push((at, end - at));
            }
        }
        WorkingSet { written }
    }

    /// The pages that are in either.
    pub(super) fn with(&self, other: &WorkingSet) -> WorkingSet {
        let mut written = self.without(other).written;
        written.extend(&other.written);
        written.sort_unstable();
        WorkingSet { written }
    }

    /// The pages that are in both.
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
        let are_in_memory = written.len() <= RANGES_MAX && written.iter().all(in_memory);
        let are_in_order = || written.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0);
        (are_in_memory && are_in_order()).then_some(WorkingSet { written })
    }

    /// Number of pages.
    #[must_use]
    pub fn pages(&self) -> u64 {
        self.written.iter().map(|&(_, pages)| u64::from(pages)).sum()
    }
}

impl Machine {
    /// What the guest has written to since it was bound, whether or not it has put it back (reference counts). Meant for after the first invocation.
    ///
    /// # Errors
    /// If there is no guest that was bound, and waits or has ended, or the host refuses.
    pub fn working_set(&mut self) -> Result<WorkingSet, Error> {
        if !self.is_at_rest() || self.base_identity == 0 {
            return Err(Error::State(
                "only a guest that was bound, and waits for its next event or has ended, has a working set",
            ));
        }
        Ok(WorkingSet { written: ranges(&self.written_pages()?) })
    }

    /// The pages that the guest has copies of, but those that it got from the bind and that are as they were: whether it needs them is not known.
    fn written_pages(&mut self) -> Result<Vec<u64>, Error> {
        let memory = self.memory.as_ref().ok_or(Error::State("there is no guest in this machine"))?;
        let private = self.dirty.find(memory.searched())?.to_vec();
        let mut written = Vec::new();
        for range in private {
            let pages = |range: &Range<u64>| range.start / PAGE_BYTES..range.end / PAGE_BYTES;
            let copied: Vec<u64> =
                self.copied_within(&range).flat_map(|run| run.first_page..run.first_page + run.pages).collect();
            for page in pages(&range) {
                if copied.binary_search(&page).is_err() || self.differs(memory, page)? {
                    written.push(page);
                }
            }
        }
        Ok(written)
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

/// Sorted pages as ranges. Small gaps are not filled: a page that nobody needs costs more than another call.
fn ranges(found: &[u64]) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &page in found {
        let page = page as u32;
        match ranges.last_mut() {
            Some((start, pages)) if *start + *pages == page => *pages += 1,
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
    fn neighbours_are_one_range() {
        assert_eq!(ranges(&[1, 2, 4, 5, 6, 9]), [(1, 2), (4, 3), (9, 1)]);
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

    #[test]
    fn what_one_has_alone_and_what_both_have() {
        let set = |written: &[(u32, u32)]| WorkingSet { written: written.to_vec() };
        for (one, two, alone, both) in [
            (&[(1, 10)][..], &[(3, 2), (7, 1)][..], &[(1, 2), (5, 2), (8, 3)][..], 10),
            (&[(5, 5), (20, 5)], &[(1, 6), (9, 12), (24, 9)], &[(7, 2), (21, 3)], 32),
            (&[(1, 2)], &[(1, 2)], &[], 2),
            (&[(1, 2)], &[], &[(1, 2)], 2),
            (&[], &[(1, 2)], &[], 2),
        ] {
            let (one, two) = (set(one), set(two));
            assert_eq!(one.without(&two), set(alone));
            assert_eq!(one.with(&two).pages(), both);
            assert!(one.with(&two).written.is_sorted());
        }
    }

    #[test]
    fn a_file_that_is_out_of_order_is_none() {
        for written in [vec![(9, 1), (1, 2)], vec![(1, 5), (3, 5)]] {
            assert_eq!(WorkingSet::from_bytes(&WorkingSet { written }.to_bytes()), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = WorkingSet::from_bytes(&bytes);
        }
    }
}
