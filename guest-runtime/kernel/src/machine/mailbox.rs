//! The mailbox in this address space.

use core::sync::atomic::{Ordering, compiler_fence};

use mayfly_abi::layout::MAILBOX;
use mayfly_abi::mailbox::{ANSWER, Control, EVENT, GuestWords, HostWords, LOG, LOG_BYTES, RECORD_MAX_BYTES};

/// The host's words. They change only while the guest is stopped in a hypercall.
pub(crate) fn host() -> &'static HostWords {
    compiler_fence(Ordering::SeqCst);
    // SAFETY: the mailbox is always mapped there, and the host writes it only between our runs.
    unsafe { &(*(MAILBOX as *const Control)).host }
}

/// Our words. The host copies them while the guest is stopped.
pub(crate) fn guest() -> &'static mut GuestWords {
    compiler_fence(Ordering::SeqCst);
    // SAFETY: the mailbox is always mapped there; there is one vCPU, and no caller keeps the reference across another call.
    unsafe { &mut (*(MAILBOX as *mut Control)).guest }
}

/// The event record.
pub(crate) fn event() -> &'static [u8] {
    let bytes = (host().event_bytes as usize).min(RECORD_MAX_BYTES);
    // SAFETY: the area is mapped, and constant while the guest runs.
    unsafe { core::slice::from_raw_parts((MAILBOX + EVENT) as *const u8, bytes) }
}

/// The answer area.
pub(crate) fn answer() -> &'static mut [u8] {
    // SAFETY: the area is mapped; there is one vCPU, and no caller keeps the slice across another call.
    unsafe { core::slice::from_raw_parts_mut((MAILBOX + ANSWER) as *mut u8, RECORD_MAX_BYTES) }
}

/// The log area.
pub(crate) fn log() -> &'static mut [u8] {
    // SAFETY: as above.
    unsafe { core::slice::from_raw_parts_mut((MAILBOX + LOG) as *mut u8, LOG_BYTES as usize) }
}
