//! Reset: memory becomes the snapshot's again, and with it all registers.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::time::Instant;

use mayfly_abi::layout::PAGE_BYTES;

use super::{Machine, Phase};
use crate::error::Error;
use crate::snapshot::Run;
use crate::vcpu;

/// So many pages are put back as fast as one takes notice. Where there are more, some of them may be left from an invocation that no other was like: so
/// ranges that the last invocation left as they were are given back, at the first reset after that, and then …
const MANY_PAGES: u64 = 1024;
/// … after so many.
const LOOK_EVERY: u32 = 32;
/// Shorter ranges stay. What is written and is the same again afterwards (reference counts) is scattered.
const RANGE_PAGES: u64 = 64;

/// What a reset did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResetStats {
    /// Pages copied back from a snapshot.
    pub copied_pages: u64,
    /// Pages filled with zeros.
    pub zeroed_pages: u64,
    /// Time of it all.
    pub duration_ns: u64,
}

impl Machine {
    /// Makes memory and registers of the guest the snapshot's again: it waits for its next event then, also where its program had ended.
    ///
    /// # Errors
    /// If the guest neither waits nor has ended, or the host refuses; then the machine is dead.
    pub fn reset(&mut self) -> Result<ResetStats, Error> {
        if !self.is_at_rest() || self.base_identity == 0 {
            return Err(Error::State(
                "only a guest that was bound and waits for its next event, or has ended, can be reset",
            ));
        }
        let start = Instant::now();
        let has_ended = self.phase == Phase::Ended;
        // Of the pages that the bind has copied, a guest writes to a part. The others would be put back at each reset, for nothing.
        if self.has_new_copies {
            self.give_equal_back(1)?;
        } else if self.resets_of_many.is_some_and(|resets| resets % LOOK_EVERY == 0) {
            self.give_equal_back(RANGE_PAGES)?;
        }
        self.phase = Phase::Dead;
        let mut stats = ResetStats::default();
        let ranges = self.private_pages()?;
        let mut segment = 0;
        // However many they are: a page that is given back costs more than one that is copied, and the next invocation a fault besides.
        for range in &ranges {
            segment = self.put_back(range, segment, &mut stats)?;
        }
        self.private = ranges;
        let are_many = stats.copied_pages + stats.zeroed_pages > MANY_PAGES;
        self.resets_of_many = are_many.then(|| self.resets_of_many.map_or(0, |resets| resets.wrapping_add(1)));
        self.keep_present()?;
        self.faults_seen = Some(faults()?);
        self.mailbox.clear()?;
        self.restored = true;
        self.is_reset = true;
        self.new_generation()?;
        if has_ended {
            vcpu::go_on_at(&self.vcpu, self.kernel()?.resume)?;
        }
        if std::mem::take(&mut self.has_faulted) || has_ended {
            vcpu::forget_fault(&self.vcpu)?;
        }
        self.phase = Phase::Waiting;
        stats.duration_ns = start.elapsed().as_nanos() as u64;
        Ok(stats)
    }

    /// Whether it waits for its next event, or its program has ended: then what it was bound to and what it wrote are known.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::Ended)
    }

    /// What the bind has copied into a range, run by run.
    pub(super) fn copied_within(&self, range: &Range<u64>) -> impl Iterator<Item = Run> {
        let runs = self.top.as_ref().map_or(&[][..], |top| &top.copied);
        let end = |run: &Run| run.address() + run.bytes();
        let first = runs.partition_point(|run| end(run) <= range.start);
        let within = runs[first..].iter().take_while(|run| run.address() < range.end);
        within.map(move |run| {
            let (start, end) = (run.address().max(range.start), end(run).min(range.end));
            let file_offset = run.file_offset + (start - run.address());
            Run { first_page: start / PAGE_BYTES, pages: (end - start) / PAGE_BYTES, file_offset }
        })
    }

    /// The pages that are private now.
    ///
    /// A page becomes private by a fault of this thread: whether the vCPU takes it in KVM or we do, Linux counts it (`mm_account_fault`;
    /// there is no interrupt controller in the kernel, so KVM never hands a fault to another thread). If there was none since the
    /// last reset, the private pages are those of then, and the page tables need not be searched, which would cost more than
    /// copying the pages does.
    fn private_pages(&mut self) -> Result<Vec<Range<u64>>, Error> {
        let known = std::mem::take(&mut self.private);
        if self.faults_seen == Some(faults()?) {
            return Ok(known);
        }
        let memory = self.memory.as_ref().ok_or(Error::State("there is no guest in this machine"))?;
        Ok(self.dirty.find(memory.searched())?.to_vec())
    }

    /// Copies or zeroes the pages of one range; `segment` is where the search for their origin starts.
    fn put_back(&self, range: &Range<u64>, mut segment: usize, stats: &mut ResetStats) -> Result<usize, Error> {
        let memory = self.memory_of_guest()?;
        let (mut page, end) = (range.start / PAGE_BYTES, range.end / PAGE_BYTES);
        while page < end {
            while self.segments.get(segment).is_some_and(|origin| origin.first_page + origin.pages <= page) {
                segment += 1;
            }
            match self.segments.get(segment) {
                Some(origin) if origin.first_page <= page => {
                    let until = end.min(origin.first_page + origin.pages);
                    let source = origin.source.wrapping_add(((page - origin.first_page) * PAGE_BYTES) as usize);
                    #[expect(unsafe_code, reason = "copying from a mapped snapshot")]
                    // SAFETY: the segment's pages are inside of a mapping in `sources`, and these are among them.
                    unsafe { memory.copy_in(page * PAGE_BYTES, source, (until - page) * PAGE_BYTES) }?;
                    stats.copied_pages += until - page;
                    page = until;
                }
                next => {
                    let until = end.min(next.map_or(end, |origin| origin.first_page));
                    memory.zero(page * PAGE_BYTES, (until - page) * PAGE_BYTES)?;
                    stats.zeroed_pages += until - page;
                    page = until;
                }
            }
        }
        Ok(segment)
    }
}

/// Page faults that this thread has taken, in user space and in the kernel.
pub(crate) fn faults() -> Result<u64, Error> {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    #[expect(unsafe_code, reason = "getrusage of a thread has no safe wrapper")]
    // SAFETY: the structure is ours and large enough; zeroed it is valid also if the call fails.
    let (got, usage) = unsafe { (libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()), usage.assume_init()) };
    if got != 0 {
        return Err(Error::host("counting page faults")(std::io::Error::last_os_error()));
    }
    Ok((usage.ru_minflt + usage.ru_majflt) as u64)
}
