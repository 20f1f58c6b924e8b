//! The embedded guest kernel.

use std::io::Cursor;

use kvm_bindings::CpuId;
use linux_loader::loader::{Elf, KernelLoader};
use mayfly_abi::layout::{KERNEL_MAGIC, KERNEL_TEXT, KernelHeader, VECTORS};
use vm_memory::{Bytes, GuestAddress};
use xxhash_rust::xxh3::Xxh3;

use crate::error::Error;
use crate::memory::Memory;

/// The kernel, an ELF file made by the build script.
static KERNEL: &[u8] = include_bytes!(env!("MAYFLY_KERNEL"));

/// Loads the kernel into the guest's memory; returns the addresses that it tells.
pub(crate) fn load(memory: &Memory) -> Result<KernelHeader, Error> {
    Elf::load(memory.ram(), None, &mut Cursor::new(KERNEL), None).map_err(|error| Error::Kernel(error.to_string()))?;
    addresses(memory)
}

/// The addresses that the kernel in the guest's memory tells. Its text cannot be written by a guest.
pub(crate) fn addresses(memory: &Memory) -> Result<KernelHeader, Error> {
    let mut words = [0; 7 + VECTORS];
    for (index, word) in words.iter_mut().enumerate() {
        let at = GuestAddress(KERNEL_TEXT + index as u64 * 8);
        *word = memory.ram().read_obj::<u64>(at).map_err(|error| Error::Kernel(error.to_string()))?;
    }
    let [magic, abi_version, entry, next_out, resume, syscall_entry, tick, ..] = words;
    let mut vectors = [0; VECTORS];
    vectors.copy_from_slice(&words[7..]);
    let header = KernelHeader { magic, abi_version, entry, next_out, resume, syscall_entry, tick, vectors };
    if header.magic != KERNEL_MAGIC || header.abi_version != u64::from(mayfly_abi::VERSION) {
        return Err(Error::Kernel("built for another version of the contract".into()));
    }
    Ok(header)
}

/// Identity of what a snapshot depends on besides its own bytes: the kernel, and the CPU that it saw.
pub(crate) fn identity(cpuid: &CpuId, xcr0: u64) -> [u8; 16] {
    let mut hasher = Xxh3::new();
    hasher.update(KERNEL);
    hasher.update(&mayfly_abi::VERSION.to_le_bytes());
    hasher.update(&xcr0.to_le_bytes());
    for entry in cpuid.as_slice() {
        // Leaf 0xd, sub-leaf 0 and 1 report the present size of the save area, which changes with CR4 and XCR0; others are stable.
        let volatile = entry.function == 0xd && entry.index < 2;
        let words =
            [entry.function, entry.index, entry.eax, if volatile { 0 } else { entry.ebx }, entry.ecx, entry.edx];
        for word in words {
            hasher.update(&word.to_le_bytes());
        }
    }
    hasher.digest128().to_le_bytes()
}
