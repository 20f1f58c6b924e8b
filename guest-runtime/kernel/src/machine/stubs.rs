//! The memory of [`mayfly_kernel::sites`].

use core::cell::UnsafeCell;

use mayfly_abi::layout::STUBS_BYTES;
use mayfly_kernel::sites::{PATCH_BYTES, SITE_BYTES, SITES_MAX, STUB_BYTES, is_site, jump, stub};
use mayfly_kernel::user::UserMemory;

use super::{Hardware, entry};

/// In the kernel's data, which can be executed like all memory of a guest. Not in its text: here the host may interrupt the program.
#[repr(C, align(4096))]
struct Stubs(UnsafeCell<[[u8; STUB_BYTES]; SITES_MAX]>);

// SAFETY: one vCPU, and the kernel is not entered while it runs.
unsafe impl Sync for Stubs {}

static STUBS: Stubs = Stubs(UnsafeCell::new([[0; STUB_BYTES]; SITES_MAX]));

/// Is the code before `rip` a site that makes this call?
pub(crate) fn is_at(hardware: &Hardware, rip: u64, number: u64) -> bool {
    let bytes = hardware.read(rip.wrapping_sub(SITE_BYTES as u64), SITE_BYTES as u64);
    bytes.is_ok_and(|bytes| is_site(bytes, number))
}

/// Can the site before `rip` be changed?
pub(crate) fn is_changeable(hardware: &mut Hardware, rip: u64) -> bool {
    hardware.write(rip.wrapping_sub(SITE_BYTES as u64), PATCH_BYTES as u64).is_ok()
}

/// Lets the site before `rip` use the stub with this index.
pub(crate) fn patch(hardware: &mut Hardware, rip: u64, number: u64, index: usize) {
    let site = rip - SITE_BYTES as u64;
    let address = match hardware.image_at(rip) {
        Some(image) => image.stubs().map(|room| image.address() + room),
        None => Some(STUBS.0.get() as u64),
    };
    let Some(address) = address.map(|room| room + (index * STUB_BYTES) as u64) else { return };
    let (Some(code), Some(jump)) = (stub(number, rip, entry::quick_entry as *const () as u64), jump(site, address))
    else {
        return;
    };
    if hardware.image_at(rip).is_some() {
        let Ok(room) = hardware.write(address, STUB_BYTES as u64) else { return };
        room.copy_from_slice(&code);
    } else {
        // SAFETY: see `Sync`; the index is below `SITES_MAX` by the count of `Sites`, and checked again here.
        let Some(slot) = (unsafe { (*STUBS.0.get()).get_mut(index) }) else { return };
        *slot = code;
    }
    if let Ok(target) = hardware.write(site, PATCH_BYTES as u64) {
        target.copy_from_slice(&jump);
    }
}

const _: () = assert!(SITES_MAX * STUB_BYTES == STUBS_BYTES as usize);
