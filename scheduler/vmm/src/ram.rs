//! The guest's memory on the host: one private mapping per guest, parts of it laid over snapshot files.

use std::os::fd::BorrowedFd;

use mayfly_abi::layout::PAGE_BYTES;
use rustix::mm::{Advice, MapFlags, ProtFlags};
use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use crate::error::Error;

/// Memory of one guest, from guest address 0. Unmapped when dropped.
pub(crate) struct Ram {
    base: *mut u8,
    bytes: u64,
    /// Bounds-checked access for everything but mapping and copying whole pages.
    memory: GuestMemoryMmap,
}

impl Ram {
    /// Zeros, backed by nothing until they are touched.
    pub(crate) fn new(bytes: u64) -> Result<Ram, Error> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        #[expect(unsafe_code, reason = "mapping memory")]
        // SAFETY: the kernel chooses the address, so nothing that exists is replaced.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                bytes as usize,
                protection,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }
        .map_err(Error::errno("reserving the guest's memory"))?
        .cast::<u8>();
        #[expect(unsafe_code, reason = "advice on memory of ours")]
        // SAFETY: the range is the mapping just made. A huge page would make one touched byte cost 2 MiB.
        let advised = unsafe { rustix::mm::madvise(base.cast(), bytes as usize, Advice::LinuxNoHugepage) };
        // A kernel built without huge pages says EINVAL, and has none to avoid.
        let _ = advised;
        #[expect(unsafe_code, reason = "vm-memory wraps a mapping that it did not make")]
        // SAFETY: the mapping is `bytes` long and lives as long as `Ram`, which owns both.
        let region = unsafe { MmapRegionBuilder::new(bytes as usize).with_raw_mmap_pointer(base) }
            .build()
            .map_err(|_| Error::State("the memory region is not valid"))?;
        let region = GuestRegionMmap::new(region, GuestAddress(0)).ok_or(Error::State("guest memory wraps around"))?;
        let memory = GuestMemoryMmap::from_regions(vec![region]).map_err(|_| Error::State("guest memory is empty"))?;
        Ok(Ram { base, bytes, memory })
    }

    /// Size.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Address on the host, for the memory slot.
    pub(crate) fn host_address(&self) -> u64 {
        self.base as u64
    }

    /// The memory for loaders.
    pub(crate) fn memory(&self) -> &GuestMemoryMmap {
        &self.memory
    }

    /// Lays `bytes` of a file, from `offset`, privately over the guest's memory at `at`.
    pub(crate) fn overlay(&self, at: u64, bytes: u64, file: BorrowedFd<'_>, offset: u64) -> Result<(), Error> {
        self.check(at, bytes)?;
        #[expect(unsafe_code, reason = "mapping a file over a part of our own mapping")]
        // SAFETY: `check` holds the range inside this mapping, which `Ram` owns; no Rust reference into it exists.
        unsafe {
            rustix::mm::mmap(
                self.base.add(at as usize).cast(),
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

    /// Drops the private copies of these pages: they are the file's, or zero, again.
    pub(crate) fn drop_pages(&self, at: u64, bytes: u64) -> Result<(), Error> {
        self.check(at, bytes)?;
        #[expect(unsafe_code, reason = "MADV_DONTNEED changes memory")]
        // SAFETY: `check` holds the range inside this mapping; no Rust reference into it exists.
        unsafe { rustix::mm::madvise(self.base.add(at as usize).cast(), bytes as usize, Advice::LinuxDontNeed) }
            .map_err(Error::errno("dropping guest pages"))
    }

    /// Takes the faults of writing to these pages now, in one call. Only a help: a host that cannot is no error.
    pub(crate) fn populate(&self, at: u64, bytes: u64) {
        if self.check(at, bytes).is_ok() {
            #[expect(unsafe_code, reason = "advice on memory of ours")]
            // SAFETY: `check` holds the range inside this mapping; the call changes no contents.
            let done = unsafe {
                rustix::mm::madvise(self.base.add(at as usize).cast(), bytes as usize, Advice::LinuxPopulateWrite)
            };
            let _ = done;
        }
    }

    /// Copies whole pages from `source` into the guest.
    ///
    /// # Safety
    /// `source` must be readable for `bytes` bytes and lie outside of this memory.
    #[expect(unsafe_code, reason = "copying between mappings")]
    pub(crate) unsafe fn copy_in(&self, at: u64, source: *const u8, bytes: u64) -> Result<(), Error> {
        self.check(at, bytes)?;
        // SAFETY: `check` holds the target inside this mapping, the caller the source; they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(source, self.base.add(at as usize), bytes as usize) };
        Ok(())
    }

    /// Fills pages with zeros.
    pub(crate) fn zero(&self, at: u64, bytes: u64) -> Result<(), Error> {
        self.check(at, bytes)?;
        #[expect(unsafe_code, reason = "writing to a raw mapping")]
        // SAFETY: `check` holds the range inside this mapping; no Rust reference into it exists.
        unsafe {
            std::ptr::write_bytes(self.base.add(at as usize), 0, bytes as usize)
        };
        Ok(())
    }

    /// The guest's bytes from `at`, while the guest is not running.
    pub(crate) fn slice(&self, at: u64, bytes: u64) -> Result<&[u8], Error> {
        self.check(at, bytes)?;
        #[expect(unsafe_code, reason = "reading a raw mapping")]
        // SAFETY: `check` holds the range inside this mapping. Only the vCPU, which runs in `&mut self` methods of the machine that
        // owns this memory, and methods that take `&self` here but are called between runs, write to it.
        Ok(unsafe { std::slice::from_raw_parts(self.base.add(at as usize), bytes as usize) })
    }

    /// Writes bytes.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Error> {
        self.memory.write_slice(bytes, GuestAddress(at)).map_err(|_| Error::State("outside of the guest's memory"))
    }

    fn check(&self, at: u64, bytes: u64) -> Result<(), Error> {
        let aligned = at.is_multiple_of(PAGE_BYTES) && bytes.is_multiple_of(PAGE_BYTES);
        match at.checked_add(bytes) {
            Some(end) if aligned && end <= self.bytes => Ok(()),
            _ => Err(Error::State("page range outside of the guest's memory")),
        }
    }
}

impl Drop for Ram {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "unmapping what `new` mapped")]
        // SAFETY: the mapping is ours, and whoever uses it (the VM, `memory`) is dropped by the same owner.
        let unmapped = unsafe { rustix::mm::munmap(self.base.cast(), self.bytes as usize) };
        debug_assert!(unmapped.is_ok());
    }
}
