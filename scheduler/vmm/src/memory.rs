//! A guest's memory on the host: its RAM and its images, parts of them laid over by snapshot files.
//!
//! All addresses are the guest's. What a guest may write to is mapped privately: it gets copies of its own, and a search of the page tables finds them.
//!
//! KVM is told only of the parts that the guest uses: with shadow paging it keeps 10 bytes for each page of a slot, which for all that a guest
//! could use is more than what an idle one has of its own. The rest comes when the guest's page tables lead there (`machine/parts.rs`).

use std::fs::File;
use std::io::IoSliceMut;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use mayfly_abi::layout::{IMAGE_STRIDE_BYTES, LARGE_PAGE_BYTES, MEMORY_MAX_BYTES, PAGE_BYTES};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use crate::dirty::Searched;
use crate::error::Error;
use crate::snapshot::Run;

/// Most parts of one read: Linux's `IOV_MAX`.
const IO_SLICES_MAX: usize = 1024;

/// So much of an image that is yet to come, KVM is told of ahead.
const EXPECTED_BYTES: u64 = 4 << 20;

/// Memory of one guest. Unmapped when dropped.
pub(crate) struct Memory {
    /// The RAM, which starts at address 0, then the images in their order. The last one may be empty: one that is expected.
    regions: Vec<Region>,
    /// What KVM is told of, in the order in which it came.
    slots: Vec<Slot>,
    /// Bounds-checked access to the RAM, for everything but mapping and copying whole pages.
    ram: GuestMemoryMmap,
}

/// Consecutive addresses, mapped as one.
struct Region {
    guest: u64,
    base: *mut u8,
    bytes: u64,
    /// Of those, and addresses that are kept free after them.
    reserved: u64,
    is_writable: bool,
}

impl Region {
    /// Addresses of which nothing is memory yet. They begin at a large page, as the guest's do.
    fn reserve(guest: u64, bytes: u64) -> Result<Region, Error> {
        let more = (bytes + LARGE_PAGE_BYTES) as usize;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        #[expect(unsafe_code, reason = "reserving addresses")]
        // SAFETY: the kernel chooses the address, so nothing that exists is replaced; nothing can be read or written there. What is
        // unmapped is a part of that.
        let base = unsafe {
            let base = rustix::mm::mmap_anonymous(std::ptr::null_mut(), more, ProtFlags::empty(), flags)
                .map_err(Error::errno("reserving addresses for the guest's memory"))?
                .cast::<u8>();
            let head = base.align_offset(LARGE_PAGE_BYTES as usize);
            let tail = LARGE_PAGE_BYTES as usize - head;
            for (at, bytes) in [(base, head), (base.add(head + bytes as usize), tail)] {
                if bytes > 0 {
                    rustix::mm::munmap(at.cast(), bytes).map_err(Error::errno("giving addresses back"))?;
                }
            }
            base.add(head)
        };
        Ok(Region { guest, base, bytes: 0, reserved: bytes, is_writable: false })
    }

    /// The RAM: zeros, backed by nothing until they are touched, and addresses for as much as it can grow to.
    fn ram(bytes: u64) -> Result<Region, Error> {
        let mut region = Region::reserve(0, MEMORY_MAX_BYTES)?;
        region.is_writable = true;
        region.grow(bytes)?;
        Ok(region)
    }

    /// Makes more of the reserved addresses memory.
    fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        let more = bytes.checked_sub(self.bytes).filter(|_| bytes <= self.reserved);
        let more = more.ok_or(Error::State("impossible memory size"))? as usize;
        let at = self.base.wrapping_add(self.bytes as usize).cast();
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        #[expect(unsafe_code, reason = "mapping memory over reserved addresses of ours, and advice on it")]
        // SAFETY: the range is reserved by this region and not in use.
        unsafe {
            rustix::mm::mmap_anonymous(at, more, ProtFlags::READ | ProtFlags::WRITE, flags)
                .map_err(Error::errno("mapping the guest's memory"))?;
            // A huge page would make one touched byte cost 2 MiB. A kernel built without them says EINVAL, and has none to avoid.
            let _ = rustix::mm::madvise(at, more, Advice::LinuxNoHugepage);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Maps an image at the reserved addresses.
    fn map(&mut self, file: &File, bytes: u64, is_writable: bool) -> Result<(), Error> {
        if self.bytes > 0 || bytes > self.reserved {
            return Err(Error::State("no room for an image"));
        }
        let (protection, flags) = match is_writable {
            true => (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE),
            false => (ProtFlags::READ, MapFlags::SHARED),
        };
        #[expect(unsafe_code, reason = "mapping a file over reserved addresses of ours, and advice on it")]
        // SAFETY: the range is reserved by this region and not in use. The mapping is the guest's, and read through `slice` only where it is
        // private; an image that shrinks ends the process with its guest.
        unsafe {
            let at = self.base.cast();
            rustix::mm::mmap(at, bytes as usize, protection, flags | MapFlags::FIXED, file.as_fd(), 0)
                .map_err(Error::errno("mapping an image"))?;
            // Where the file is not in memory yet it comes in large pages, of which a guest needs few.
            let _ = rustix::mm::madvise(at, bytes as usize, Advice::LinuxHugepage);
        }
        (self.bytes, self.is_writable) = (bytes, is_writable);
        Ok(())
    }

    /// What of it the guest can be given: whole large pages. Of an image that is yet to come, addresses.
    fn part(&self, of: &Range<u64>) -> Range<u64> {
        let bytes = if self.bytes == 0 { self.reserved } else { self.bytes };
        of.start.max(self.guest)..of.end.min(self.guest + bytes)
    }

    fn holds(&self, at: u64, bytes: u64) -> bool {
        at.checked_sub(self.guest).and_then(|offset| offset.checked_add(bytes)).is_some_and(|end| end <= self.bytes)
    }
}

/// A part of a region as KVM is told of it: whole large pages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) guest: u64,
    pub(crate) bytes: u64,
    pub(crate) host: u64,
    pub(crate) is_writable: bool,
}

impl Memory {
    /// RAM: zeros.
    pub(crate) fn new(bytes: u64) -> Result<Memory, Error> {
        let region = Region::ram(bytes)?;
        let ram = accessor(&region)?;
        Ok(Memory { regions: vec![region], slots: Vec::new(), ram })
    }

    /// Gives the RAM `bytes` in all.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        let ram = self.regions.first_mut().ok_or(Error::State("there is no memory"))?;
        if bytes == ram.bytes {
            return Ok(());
        }
        ram.grow(bytes)?;
        self.ram = accessor(ram)?;
        Ok(())
    }

    /// Adds an image at the guest's address `guest`, which comes after all that is there already.
    pub(crate) fn add_image(&mut self, guest: u64, file: &File, bytes: u64, is_writable: bool) -> Result<(), Error> {
        let expected = self.regions.pop_if(|last| last.guest == guest);
        let mut region = expected.map_or_else(|| Region::reserve(guest, IMAGE_STRIDE_BYTES), Ok)?;
        region.map(file, bytes, is_writable)?;
        self.regions.push(region);
        Ok(())
    }

    /// An image will come at the guest's address `guest`: KVM may be told of its beginning already, for that takes longer than all else that adding
    /// an image takes. What is not mapped there by then, the guest's page tables do not lead to.
    pub(crate) fn expect_image(&mut self, guest: u64) -> Result<(), Error> {
        let mut region = Region::reserve(guest, IMAGE_STRIDE_BYTES)?;
        // The image may be writable: of one that is not, the mapping is not.
        region.is_writable = true;
        self.regions.push(region);
        self.give(guest..guest + EXPECTED_BYTES);
        Ok(())
    }

    /// Makes slots of what there is of a range and has none yet. KVM has to be told of them.
    pub(crate) fn give(&mut self, range: Range<u64>) {
        for region in &self.regions {
            let part = region.part(&range);
            let missing = part.step_by(LARGE_PAGE_BYTES as usize).filter(|at| !is_given(&self.slots, *at));
            let mut new: Vec<Slot> = Vec::new();
            for guest in missing {
                match new.last_mut() {
                    Some(last) if last.guest + last.bytes == guest => last.bytes += LARGE_PAGE_BYTES,
                    _ => {
                        let host = region.base as u64 + (guest - region.guest);
                        new.push(Slot { guest, bytes: LARGE_PAGE_BYTES, host, is_writable: region.is_writable });
                    }
                }
            }
            self.slots.extend(new);
        }
    }

    /// Whether the large page at `at` is in a slot.
    pub(crate) fn is_given(&self, at: u64) -> bool {
        is_given(&self.slots, at)
    }

    /// Size of the RAM.
    pub(crate) fn bytes(&self) -> u64 {
        self.regions.first().map_or(0, |ram| ram.bytes)
    }

    /// What KVM has to be told, in the order in which it came.
    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Where private pages can be.
    pub(crate) fn searched(&self) -> impl Iterator<Item = Searched> {
        let regions = self.regions.iter().filter(|region| region.is_writable);
        regions.map(|region| Searched { guest: region.guest, host: region.base as u64, bytes: region.bytes })
    }

    /// The RAM for loaders.
    pub(crate) fn ram(&self) -> &GuestMemoryMmap {
        &self.ram
    }

    /// Lays `bytes` of a file, from `offset`, privately over the guest's memory at `at`.
    pub(crate) fn overlay(&self, at: u64, bytes: u64, file: BorrowedFd<'_>, offset: u64) -> Result<(), Error> {
        let target = self.writable(at, bytes)?;
        #[expect(unsafe_code, reason = "mapping a file over a part of our own mapping")]
        // SAFETY: the range is inside of a mapping that `Memory` owns; no Rust reference into it exists.
        unsafe {
            rustix::mm::mmap(
                target.cast(),
                bytes as usize,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE,
                file,
                offset,
            )
        }
        .map_err(Error::errno("mapping a snapshot"))?;
        Ok(())
    }

    /// Copies runs of a snapshot, which follow one another in its file, into the guest's memory, with the fewest calls.
    pub(crate) fn read_in(&self, runs: &[Run], file: BorrowedFd<'_>) -> Result<(), Error> {
        for runs in runs.chunks(IO_SLICES_MAX) {
            let target = |run: &Run| {
                let target = self.writable(run.address(), run.bytes())?;
                #[expect(unsafe_code, reason = "reading a file into a raw mapping")]
                // SAFETY: the range is inside of a mapping of ours, and no other reference into it exists: runs are apart from each other, and
                // the guest is not running.
                Ok(IoSliceMut::new(unsafe { std::slice::from_raw_parts_mut(target, run.bytes() as usize) }))
            };
            let mut targets = runs.iter().map(target).collect::<Result<Vec<_>, Error>>()?;
            let (offset, bytes) = (runs[0].file_offset, runs.iter().map(Run::bytes).sum::<u64>());
            let read = rustix::io::preadv(file, &mut targets, offset).map_err(Error::errno("reading a snapshot"))?;
            if read as u64 != bytes {
                return Err(Error::State("a snapshot is shorter than its run table says"));
            }
        }
        Ok(())
    }

    /// Drops the private copies of these pages: they are the file's, or zero, again.
    pub(crate) fn drop_pages(&self, at: u64, bytes: u64) -> Result<(), Error> {
        let target = self.writable(at, bytes)?;
        #[expect(unsafe_code, reason = "MADV_DONTNEED changes memory")]
        // SAFETY: the range is inside of a mapping of ours; no Rust reference into it exists.
        unsafe { rustix::mm::madvise(target.cast(), bytes as usize, Advice::LinuxDontNeed) }
            .map_err(Error::errno("dropping guest pages"))
    }

    /// Takes the faults of writing to these pages now, in one call. Only a help: a host that cannot is no error.
    pub(crate) fn populate(&self, at: u64, bytes: u64) {
        if let Ok(target) = self.writable(at, bytes) {
            #[expect(unsafe_code, reason = "advice on memory of ours")]
            // SAFETY: the range is inside of a mapping of ours; the call changes no contents.
            let done = unsafe { rustix::mm::madvise(target.cast(), bytes as usize, Advice::LinuxPopulateWrite) };
            let _ = done;
        }
    }

    /// Copies whole pages from `source` into the guest.
    ///
    /// # Safety
    /// `source` must be readable for `bytes` bytes and lie outside of this memory.
    #[expect(unsafe_code, reason = "copying between mappings")]
    pub(crate) unsafe fn copy_in(&self, at: u64, source: *const u8, bytes: u64) -> Result<(), Error> {
        let target = self.writable(at, bytes)?;
        // SAFETY: the target is inside of a mapping of ours, the caller sees to the source; they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(source, target, bytes as usize) };
        Ok(())
    }

    /// Fills pages with zeros.
    pub(crate) fn zero(&self, at: u64, bytes: u64) -> Result<(), Error> {
        let target = self.writable(at, bytes)?;
        #[expect(unsafe_code, reason = "writing to a raw mapping")]
        // SAFETY: the range is inside of a mapping of ours; no Rust reference into it exists.
        unsafe {
            std::ptr::write_bytes(target, 0, bytes as usize)
        };
        Ok(())
    }

    /// The guest's bytes from `at`, while the guest is not running.
    pub(crate) fn slice(&self, at: u64, bytes: u64) -> Result<&[u8], Error> {
        let target = self.writable(at, bytes)?;
        #[expect(unsafe_code, reason = "reading a raw mapping")]
        // SAFETY: the range is inside of a mapping of ours. Only the vCPU, which runs in `&mut self` methods of the machine that
        // owns this memory, and methods that take `&self` here but are called between runs, write to it.
        Ok(unsafe { std::slice::from_raw_parts(target, bytes as usize) })
    }

    /// A word of the RAM.
    pub(crate) fn word(&self, at: u64) -> Result<u64, Error> {
        self.ram.read_obj(GuestAddress(at)).map_err(|_| Error::State("outside of the guest's memory"))
    }

    /// Writes bytes to the RAM.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        self.ram.write_slice(bytes, GuestAddress(at)).map_err(|_| Error::State("outside of the guest's memory"))
    }

    /// Where a range of pages is that a guest may have copies of.
    fn writable(&self, at: u64, bytes: u64) -> Result<*mut u8, Error> {
        let found = self.regions.iter().find(|region| region.holds(at, bytes) && region.is_writable);
        let aligned = at.is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES);
        let region = found.filter(|_| aligned).ok_or(Error::State("page range outside of the guest's memory"))?;
        Ok(region.base.wrapping_add((at - region.guest) as usize))
    }
}

fn is_given(slots: &[Slot], at: u64) -> bool {
    slots.iter().any(|slot| (slot.guest..slot.guest + slot.bytes).contains(&at))
}

fn accessor(ram: &Region) -> Result<GuestMemoryMmap, Error> {
    #[expect(unsafe_code, reason = "vm-memory wraps a mapping that it did not make")]
    // SAFETY: the mapping is `bytes` long and lives as long as `Memory`, which owns both.
    let region = unsafe { MmapRegionBuilder::new(ram.bytes as usize).with_raw_mmap_pointer(ram.base) }
        .build()
        .map_err(|_| Error::State("the memory region is not valid"))?;
    let region = GuestRegionMmap::new(region, GuestAddress(0)).ok_or(Error::State("guest memory wraps around"))?;
    GuestMemoryMmap::from_regions(vec![region]).map_err(|_| Error::State("guest memory is empty"))
}

impl Drop for Region {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "unmapping what a region mapped")]
        // SAFETY: the mapping is ours, and whoever uses it (the VM, `ram`) is dropped by the same owner.
        let unmapped = unsafe { rustix::mm::munmap(self.base.cast(), self.reserved as usize) };
        debug_assert!(unmapped.is_ok());
    }
}
