//! Putting a guest into an empty machine: booted from an image, or bound to snapshots.

use std::fs::File;
use std::os::fd::AsFd;

use mayfly_abi::layout::{
    GDT, IMAGE_STRIDE_BYTES, IMAGES, IMAGES_MAX, LARGE_PAGE_BYTES, MEMORY_MAX_BYTES, MEMORY_MIN_BYTES, PAGE_BYTES,
    image_base,
};
use mayfly_abi::mailbox::HostWords;
use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::{GuestImage, ImageFile, Machine, Phase, WorkingSet};
use crate::error::Error;
use crate::memory::Memory;
use crate::snapshot::{Contents, Header, Run, Snapshot, save};
use crate::{kernel, tables, vcpu};

/// Runs of equal origin: where the snapshot's bytes of a range of guest pages are. RAM that no segment covers is zero.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) first_page: u64,
    pub(super) pages: u64,
    /// Address, in this process, of the first page's bytes.
    pub(super) source: *const u8,
}

/// A snapshot or an image mapped for reading.
pub(super) struct Source {
    base: *mut libc::c_void,
    bytes: usize,
}

/// Between two runs of a runtime snapshot, this many pages that did not change are saved too: a mapping more costs each bind more than they cost
/// the one file that all functions share. Data of one library lies so far from that of the next.
const RUNTIME_GAP_PAGES: u64 = 128;
/// Of a function snapshot, of which there are many, so many.
const FUNCTION_GAP_PAGES: u64 = 2;

impl Machine {
    /// Loads the kernel for a fresh guest; the mailbox says which program it starts.
    ///
    /// # Errors
    /// If the machine is not empty or the host refuses.
    pub fn boot(&mut self, images: &[&ImageFile], memory_bytes: u64, tmp_bytes: u64) -> Result<(), Error> {
        self.take_memory(memory_bytes, tmp_bytes)?;
        self.add_images(images)?;
        self.give_first()?;
        self.give_memory()?;
        let memory = self.memory_of_guest()?;
        let header = kernel::load(memory)?;
        memory.write(GDT, &tables::descriptors(&header))?;
        self.write_tables()?;
        self.kernel = Some(header);
        self.start_at(header.entry)
    }

    /// Binds to a runtime snapshot, or to a function snapshot on top of one. The machine may be bound to that runtime snapshot already, and have run:
    /// then it must have been reset, and what its guest needed of the host is there.
    ///
    /// With a function snapshot, images and sizes must be those with which it was saved; those of the runtime snapshot come first.
    ///
    /// # Errors
    /// If there is another guest in the machine, the parts do not belong together, or the host refuses.
    pub fn bind(
        &mut self,
        base: &Snapshot,
        top: Option<&Snapshot>,
        images: &[&ImageFile],
        memory_bytes: u64,
        tmp_bytes: u64,
        prefetch: Option<&WorkingSet>,
    ) -> Result<(), Error> {
        let is_on_base = self.is_reset
            && self.images.len() <= images.len()
            && self.top.is_none()
            && self.base_identity == base.header().identity;
        if is_on_base {
            self.add_memory(memory_bytes, tmp_bytes)?;
        } else {
            self.take_memory(memory_bytes, tmp_bytes)?;
        }
        self.add_images(images)?;
        self.check_belongs(base, top)?;
        if !is_on_base {
            let memory = self.memory_of_guest()?;
            for run in base.runs() {
                memory.overlay(run.address(), run.bytes(), base.file.as_fd(), run.file_offset)?;
            }
            self.add_segments(base)?;
            self.base_identity = base.header().identity;
        }
        // What a primed guest has copies of. An empty machine has none.
        let mut there = WorkingSet::of(if is_on_base { &self.private } else { &[] });
        if let Some(top) = top {
            there = self.lay(top, &there, prefetch)?;
        }
        self.give_present()?;
        match top {
            Some(_) => self.keep_present()?,
            None => {
                self.write_tables()?;
                self.expect_image(base)?;
            }
        }
        self.give_memory()?;
        if let Some(set) = prefetch {
            self.prefetch(&set.without(&there))?;
        }
        self.restored = true;
        if is_on_base {
            self.faults_seen = None;
            self.phase = Phase::Waiting;
            return self.new_generation();
        }
        let header = kernel::addresses(self.memory_of_guest()?)?;
        self.kernel = Some(header);
        self.start_at(header.resume)
    }

    /// Writes a snapshot of the waiting guest: all that is not zero, or, of a guest bound to snapshots, what differs from the runtime
    /// snapshot.
    ///
    /// # Errors
    /// If the guest is not waiting, or the file cannot be written.
    pub fn save(&mut self, file: &File) -> Result<Header, Error> {
        if self.phase != Phase::Waiting {
            return Err(Error::State("only a guest that waits for its next event can be saved"));
        }
        let mut changed = self.changed_pages()?;
        // The new snapshot replaces the upper one of the stack, so it needs that one's pages too.
        let upper = self.top.iter().flat_map(|top| &top.runs);
        changed.extend(upper.flat_map(|run| run.first_page..run.first_page + run.pages));
        changed.sort_unstable();
        changed.dedup();
        let contents = Contents {
            build: self.build,
            base: self.base_identity,
            tmp_bytes: self.tmp_bytes,
            image_bytes: self.image_bytes(),
            images: self.images.len() as u32,
            pages: merge(&changed, if self.base_identity == 0 { RUNTIME_GAP_PAGES } else { FUNCTION_GAP_PAGES }),
        };
        save(file, self.memory_of_guest()?, &contents)
    }

    /// The pages that differ from what this machine was bound to, in order.
    pub(super) fn changed_pages(&mut self) -> Result<Vec<u64>, Error> {
        let memory = self.memory.as_ref().ok_or(Error::State("there is no guest in this machine"))?;
        let private = self.dirty.find(memory.searched())?.to_vec();
        let mut changed = Vec::new();
        for page in private.iter().flat_map(|range| range.start / PAGE_BYTES..range.end / PAGE_BYTES) {
            if self.differs(memory, page)? {
                changed.push(page);
            }
        }
        Ok(changed)
    }

    /// Whether a page differs from what this machine was bound to.
    pub(super) fn differs(&self, memory: &Memory, page: u64) -> Result<bool, Error> {
        let now = memory.slice(page * PAGE_BYTES, PAGE_BYTES)?;
        let index = self.segments.partition_point(|segment| segment.first_page + segment.pages <= page);
        match self.segments.get(index) {
            Some(segment) if segment.first_page <= page => {
                let offset = ((page - segment.first_page) * PAGE_BYTES) as usize;
                #[expect(unsafe_code, reason = "reading a mapped snapshot")]
                // SAFETY: the segment's pages are inside of a mapping in `sources`, and `page` is one of them.
                let then = unsafe { std::slice::from_raw_parts(segment.source.add(offset), PAGE_BYTES as usize) };
                Ok(now != then)
            }
            _ => Ok(now.iter().any(|&byte| byte != 0)),
        }
    }

    fn take_memory(&mut self, memory_bytes: u64, tmp_bytes: u64) -> Result<(), Error> {
        if self.phase != Phase::Empty {
            return Err(Error::State("there is a guest in this machine already"));
        }
        // Whatever fails from here on, the machine is not empty any more.
        self.phase = Phase::Dead;
        self.memory = Some(Memory::new(whole_memory(memory_bytes)?)?);
        self.tmp_bytes = tmp_bytes;
        Ok(())
    }

    /// More memory for a guest that has some.
    fn add_memory(&mut self, memory_bytes: u64, tmp_bytes: u64) -> Result<(), Error> {
        self.phase = Phase::Dead;
        self.is_reset = false;
        let memory = self.memory.as_mut().ok_or(Error::State("there is no guest in this machine"))?;
        memory.grow(whole_memory(memory_bytes)?)?;
        self.tmp_bytes = tmp_bytes;
        Ok(())
    }

    /// Maps the images that are not there yet. Those that the guest can write to are its own copies from now on, and what they were is mapped
    /// besides.
    fn add_images(&mut self, images: &[&ImageFile]) -> Result<(), Error> {
        let granted = GuestImage::grant(images)?;
        for (index, (image, file)) in granted.iter().zip(images).enumerate().skip(self.images.len()) {
            let memory = self.memory.as_mut().ok_or(Error::State("there is no guest in this machine"))?;
            let is_writable = !image.ranges.is_empty();
            memory.add_image(image_base(index), file.file(), image.bytes, is_writable)?;
            if is_writable {
                let source = self.map_source(file.file(), image.bytes)?;
                let (first_page, pages) = (image_base(index) / PAGE_BYTES, image.bytes / PAGE_BYTES);
                self.segments.push(Segment { first_page, pages, source });
            }
        }
        self.images = granted;
        Ok(())
    }

    /// A guest that has no more than its runtime's images may be bound to a function, which brings another.
    fn expect_image(&mut self, base: &Snapshot) -> Result<(), Error> {
        let images = self.images.len();
        let memory = self.memory.as_mut().ok_or(Error::State("there is no guest in this machine"))?;
        if images == base.header().images as usize && images < IMAGES_MAX {
            memory.expect_image(image_base(images))?;
        }
        Ok(())
    }

    fn write_tables(&self) -> Result<(), Error> {
        let memory = self.memory_of_guest()?;
        for (at, bytes) in tables::page_tables(memory.bytes(), &self.images, |page| memory.is_given(page)) {
            memory.write(at, &bytes)?;
        }
        Ok(())
    }

    fn start_at(&mut self, rip: u64) -> Result<(), Error> {
        let header = self.kernel()?;
        vcpu::set_up(&self.vcpu, &header, &self.cpuid, self.xcr0)?;
        vcpu::set_start(&self.vcpu, rip)?;
        self.tsc_offset = vcpu::tsc_offset(&self.vcpu)?;
        self.phase = Phase::Loaded;
        self.new_generation()
    }

    /// Constant words of the mailbox, and a seed that no other guest has.
    pub(super) fn new_generation(&mut self) -> Result<(), Error> {
        let mut seed = [0; 32];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty()).map_err(Error::errno("getrandom"))?;
        self.generations += 1;
        // A generation number must not come twice for one snapshot, also not in another process.
        let mut unique = [0; 8];
        unique.copy_from_slice(&seed[..8]);
        self.generation = u64::from_le_bytes(unique).wrapping_add(self.generations) | 1;
        let words = HostWords {
            abi_version: mayfly_abi::VERSION,
            images: self.images.len() as u32,
            memory_bytes: self.memory_of_guest()?.bytes(),
            tmp_bytes: self.tmp_bytes,
            generation: self.generation,
            seed,
            ns_per_tick_q32: self.ns_per_tick_q32,
            xcr0: self.xcr0,
            image_bytes: self.image_bytes(),
            images_in_place: self.images_in_place(),
            event_bytes: 0,
            ..self.mailbox.host_words()
        };
        self.mailbox.set_host_words(&words);
        Ok(())
    }

    fn check_belongs(&self, base: &Snapshot, top: Option<&Snapshot>) -> Result<(), Error> {
        let of_this_build = base.header().build == self.build && base.header().base == 0;
        let fits = base.header().memory_bytes <= self.memory_of_guest()?.bytes();
        if !of_this_build || !fits {
            return Err(Error::State("the runtime snapshot is of another build or larger than the guest"));
        }
        let Some(top) = top.map(Snapshot::header) else { return Ok(()) };
        let same_guest = top.memory_bytes == self.memory_of_guest()?.bytes()
            && top.tmp_bytes == self.tmp_bytes
            && top.images as usize == self.images.len()
            && top.image_bytes == self.image_bytes();
        if top.build != self.build || top.base != base.header().identity || !same_guest {
            return Err(Error::State(
                "the function snapshot does not belong to this runtime snapshot, size and images",
            ));
        }
        Ok(())
    }

    /// Maps a snapshot for reading: its pages are where memory comes from.
    pub(super) fn add_segments(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        let end = snapshot.runs().last().map_or(0, |run| run.file_offset + run.bytes());
        let file_bytes = snapshot.file.metadata().map_err(Error::host("looking at a snapshot"))?.len();
        if end > file_bytes {
            return Err(Error::State("the snapshot file is shorter than its run table says"));
        }
        let source = self.map_source(&snapshot.file, end.max(PAGE_BYTES))?;
        let segment = |run: &Run| Segment {
            first_page: run.first_page,
            pages: run.pages,
            source: source.wrapping_add(run.file_offset as usize),
        };
        self.segments = lay_over(&self.segments, snapshot.runs().iter().map(segment).collect());
        Ok(())
    }

    fn map_source(&mut self, file: &File, bytes: u64) -> Result<*const u8, Error> {
        let bytes = bytes as usize;
        #[expect(unsafe_code, reason = "mapping a file")]
        // SAFETY: the kernel chooses the address. Snapshots and images are written once, under another name, and never changed.
        let base = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), bytes, ProtFlags::READ, MapFlags::SHARED, file.as_fd(), 0)
        }
        .map_err(Error::errno("mapping what memory was"))?;
        self.sources.push(Source { base, bytes });
        Ok(base.cast_const().cast())
    }
}

/// The size of a guest's memory, in whole large pages.
fn whole_memory(bytes: u64) -> Result<u64, Error> {
    let bytes = bytes.next_multiple_of(LARGE_PAGE_BYTES);
    let is_possible = (MEMORY_MIN_BYTES..=MEMORY_MAX_BYTES).contains(&bytes);
    is_possible.then_some(bytes).ok_or(Error::State("impossible memory size"))
}

impl Source {
    /// Gives back the page tables in which its pages are. Looking at one again is a fault of the page cache.
    pub(super) fn forget(&self) {
        #[expect(unsafe_code, reason = "advice on memory of ours")]
        // SAFETY: the mapping is ours and shared with its file: no contents are lost.
        let done = unsafe { rustix::mm::madvise(self.base, self.bytes, Advice::LinuxDontNeed) };
        debug_assert!(done.is_ok());
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "unmapping what `map_source` mapped")]
        // SAFETY: the mapping is ours; the segments that point into it go away with the same machine.
        let unmapped = unsafe { rustix::mm::munmap(self.base, self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

/// One list out of two, both in order: where both have a page, the upper one's counts.
fn lay_over(lower: &[Segment], upper: Vec<Segment>) -> Vec<Segment> {
    let end_of = |segment: &Segment| segment.first_page + segment.pages;
    let part = |of: &Segment, first_page: u64, end: u64| {
        let source = of.source.wrapping_add(((first_page - of.first_page) * PAGE_BYTES) as usize);
        Segment { first_page, pages: end - first_page, source }
    };
    let mut merged = Vec::with_capacity(lower.len() + 2 * upper.len());
    for below in lower {
        let mut at = below.first_page;
        for over in &upper[upper.partition_point(|over| end_of(over) <= at)..] {
            if over.first_page >= end_of(below) {
                break;
            }
            if over.first_page > at {
                merged.push(part(below, at, over.first_page));
            }
            at = at.max(end_of(over));
        }
        if at < end_of(below) {
            merged.push(part(below, at, end_of(below)));
        }
    }
    merged.extend(upper);
    merged.sort_unstable_by_key(|segment| segment.first_page);
    merged
}

/// Sorted pages as ranges, with gaps of up to `gap_pages` filled; none are between memory and images, or two images.
fn merge(pages: &[u64], gap_pages: u64) -> Vec<(u64, u64)> {
    let place = |page: u64| (page * PAGE_BYTES).checked_sub(IMAGES).map(|offset| offset / IMAGE_STRIDE_BYTES);
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for &page in pages {
        match ranges.last_mut() {
            Some((first, count)) if page - (*first + *count) <= gap_pages && place(page) == place(*first) => {
                *count = page - *first + 1;
            }
            _ => ranges.push((page, 1)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pages of a snapshot that is mapped at `base`. Sources are only added to, never read, so any address will do.
    fn segment(first_page: u64, pages: u64, base: usize, file_page: usize) -> Segment {
        let source = std::ptr::without_provenance(base + file_page * PAGE_BYTES as usize);
        Segment { first_page, pages, source }
    }

    #[test]
    fn upper_pages_hide_lower_ones() {
        let (low, high) = (0x1000_0000, 0x2000_0000);
        let base = [segment(10, 10, low, 1), segment(30, 5, low, 11)];
        let top = [(5, 2, 1), (12, 3, 3), (18, 14, 6), (50, 1, 20)];
        let top = top.map(|(first, pages, at)| segment(first, pages, high, at)).to_vec();
        let found: Vec<_> = lay_over(&base, top)
            .iter()
            .map(|segment| (segment.first_page, segment.pages, segment.source.addr()))
            .collect();
        let at = |base: usize, page: usize| base + page * PAGE_BYTES as usize;
        let expected = [
            (5, 2, at(high, 1)),
            (10, 2, at(low, 1)),
            (12, 3, at(high, 3)),
            (15, 3, at(low, 6)),
            (18, 14, at(high, 6)),
            (32, 3, at(low, 13)),
            (50, 1, at(high, 20)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn small_gaps_are_filled() {
        assert_eq!(merge(&[1, 2, 4, 20, 25], 4), [(1, 4), (20, 6)]);
        assert_eq!(merge(&[1, 7], 4), [(1, 1), (7, 1)]);
        assert_eq!(merge(&[], 4), []);
        let image = |index| image_base(index) / PAGE_BYTES;
        let pages = [image(0), image(1) - 1, image(1), image(1) + 2];
        assert_eq!(merge(&pages, 4), [(image(0), 1), (image(1) - 1, 1), (image(1), 3)]);
    }
}
