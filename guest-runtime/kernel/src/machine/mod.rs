//! Everything that only a guest's CPU can do. The one part of the kernel with `unsafe`.

pub(crate) mod device;
pub(crate) mod entry;
pub(crate) mod heap;
pub(crate) mod hypercall;
pub(crate) mod mailbox;
mod memory_functions;
mod pages;
pub(crate) mod stubs;

use core::arch::asm;
use core::arch::x86_64::_rdtsc;

use mayfly_abi::image::Image;
use mayfly_abi::layout::{self, IMAGES, MAIN_STACK};
use mayfly_kernel::errno::Errno;
use mayfly_kernel::memory::Span;
use mayfly_kernel::system::Machine;
use mayfly_kernel::threads::VectorState;
use mayfly_kernel::user::UserMemory;

/// The CPU and the memory below it.
pub(crate) struct Hardware {
    /// End of the guest's memory.
    pub(crate) memory_bytes: u64,
    /// The images; those whose ranges are writable for this guest know that.
    pub(crate) images: [Option<Image<'static>>; layout::IMAGES_MAX],
    /// XCR0.
    pub(crate) vector_sets: u64,
    /// Bytes that all vector registers take.
    pub(crate) vector_bytes: usize,
}

impl Hardware {
    fn readable(&self, address: u64, bytes: u64) -> bool {
        let Some(end) = address.checked_add(bytes) else { return false };
        // Constants of the kernel: a system call may be given one by our own tests.
        self.is_memory(address, end)
            || self.image_at(address).is_some_and(|image| end <= image.address() + image.bytes() as u64)
            || (address >= layout::KERNEL_TEXT && end <= layout::KERNEL_DATA)
    }

    fn writable(&self, address: u64, bytes: u64) -> bool {
        let Some(end) = address.checked_add(bytes) else { return false };
        let in_image = |image: &Image<'_>| image.is_writable(address - image.address(), bytes);
        self.is_memory(address, end) || self.image_at(address).is_some_and(in_image)
    }

    fn is_memory(&self, start: u64, end: u64) -> bool {
        let low = start >= layout::PROGRAM && end <= layout::KERNEL_TEXT;
        low || (start >= MAIN_STACK.base && end <= self.memory_bytes)
    }

    /// The image in whose place the address is.
    pub(crate) fn image_at(&self, address: u64) -> Option<&Image<'static>> {
        let index = address.checked_sub(IMAGES)? / layout::IMAGE_STRIDE_BYTES;
        self.images.get(index as usize)?.as_ref()
    }
}

impl UserMemory for Hardware {
    fn read(&self, address: u64, bytes: u64) -> Result<&[u8], Errno> {
        if bytes == 0 {
            return Ok(&[]);
        }
        if !self.readable(address, bytes) {
            return Err(Errno::FAULT);
        }
        // SAFETY: the range is mapped for the guest. The program does not run while the kernel does.
        Ok(unsafe { core::slice::from_raw_parts(address as *const u8, bytes as usize) })
    }

    fn write(&mut self, address: u64, bytes: u64) -> Result<&mut [u8], Errno> {
        if bytes == 0 {
            return Ok(&mut []);
        }
        if !self.writable(address, bytes) {
            return Err(Errno::FAULT);
        }
        // SAFETY: the range is mapped writable for the guest, holds no object of the kernel's, and the program does not run.
        Ok(unsafe { core::slice::from_raw_parts_mut(address as *mut u8, bytes as usize) })
    }

    fn string(&self, address: u64, max: u64) -> Result<&[u8], Errno> {
        // Page by page: what is after the string's own page need not be there.
        let mut bytes = 0;
        while bytes < max {
            let at = address.checked_add(bytes).ok_or(Errno::FAULT)?;
            let in_page = (layout::PAGE_BYTES - at % layout::PAGE_BYTES).min(max - bytes);
            if let Some(end) = find_zero(self.read(at, in_page)?) {
                return self.read(address, bytes + end as u64);
            }
            bytes += in_page;
        }
        Err(Errno::NAMETOOLONG)
    }
}

/// Index of the first zero; eight bytes at a time, since every path of every call comes through here.
fn find_zero(bytes: &[u8]) -> Option<usize> {
    const LOW_BITS: u64 = 0x0101_0101_0101_0101;
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest of these bits is that of the first byte that is zero (Hacker's Delight, 6-1).
        let zeros = word.wrapping_sub(LOW_BITS) & !word & (LOW_BITS << 7);
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    Some(words.len() * 8 + rest.iter().position(|byte| *byte == 0)?)
}

impl Machine for Hardware {
    fn tsc(&self) -> u64 {
        // SAFETY: `rdtsc` has no precondition.
        unsafe { _rdtsc() }
    }

    fn zero(&mut self, span: Span) {
        if let Ok(bytes) = self.write(span.start, span.bytes()) {
            bytes.fill(0);
        }
    }

    fn copy(&mut self, from: u64, to: u64, bytes: u64) {
        if self.readable(from, bytes) && self.writable(to, bytes) {
            // SAFETY: both ranges were checked; they may overlap.
            unsafe { core::ptr::copy(from as *const u8, to as *mut u8, bytes as usize) };
        }
    }

    fn fs_base(&self) -> u64 {
        let base: u64;
        // SAFETY: CR4.FSGSBASE is set by the host.
        unsafe { asm!("rdfsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
        base
    }

    fn set_fs_base(&mut self, base: u64) {
        // SAFETY: CR4.FSGSBASE is set; the kernel itself does not use FS. The caller has checked that the address is canonical.
        unsafe { asm!("wrfsbase {}", in(reg) base, options(nomem, nostack, preserves_flags)) };
    }

    fn gs_base(&self) -> u64 {
        let base: u64;
        // SAFETY: as for FS.
        unsafe { asm!("rdgsbase {}", out(reg) base, options(nomem, nostack, preserves_flags)) };
        base
    }

    fn set_gs_base(&mut self, base: u64) {
        // SAFETY: as for FS.
        unsafe { asm!("wrgsbase {}", in(reg) base, options(nomem, nostack, preserves_flags)) };
    }

    fn save_vectors(&self, into: &mut VectorState) {
        let mask = self.vector_sets;
        into.set_kind(mask, self.vector_bytes);
        // SAFETY: the area is aligned to 64 bytes and large enough for all sets in XCR0 (the host masks larger ones).
        unsafe {
            asm!("xsave64 [{}]", in(reg) into.area_mut(), in("eax") mask as u32, in("edx") (mask >> 32) as u32, options(nostack));
        }
    }

    fn clean_vectors(&self) -> VectorState {
        VectorState::clean(self.vector_sets, self.vector_bytes)
    }

    fn set_vectors(&mut self, state: &VectorState) {
        let mask = self.vector_sets;
        // SAFETY: the area was written by `xsave64`, or made such that the CPU accepts it.
        unsafe {
            asm!(
                "xrstor64 [{}]", in(reg) state.area(), in("eax") mask as u32, in("edx") (mask >> 32) as u32,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack)
            );
        }
    }
}
