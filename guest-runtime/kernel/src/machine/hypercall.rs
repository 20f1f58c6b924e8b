//! The hypercalls, but for NEXT and PAGE_FAULT, which live with the other entry points.

use core::arch::asm;

use mayfly_abi::hypercall::{EXIT, LOG, PANIC, PORT, SLEEP};
use mayfly_abi::mailbox::LastWords;

use super::mailbox;

fn call(number: u8) {
    // SAFETY: `out` to the one port is what this guest may do; the host answers in the mailbox and changes no register.
    unsafe { asm!("out {port}, al", port = const PORT, in("al") number, options(nostack)) };
}

/// Waits until this time of the host's monotonic clock.
pub(crate) fn sleep_until(host_monotonic_ns: u64) {
    mailbox::guest().wake_ns = host_monotonic_ns;
    call(SLEEP);
}

/// Lets the host empty the log area.
pub(crate) fn flush_log() {
    call(LOG);
    mailbox::guest().log_bytes = 0;
}

/// The address that the last page fault was about; the host was asked when it happened.
pub(crate) fn fault_address() -> u64 {
    mailbox::host().fault_address
}

/// The end of the program.
pub(crate) fn exit(status: u64) -> ! {
    mailbox::guest().exit_status = status;
    loop {
        call(EXIT);
    }
}

/// The end of the guest.
pub(crate) fn die(words: LastWords) -> ! {
    mailbox::guest().last_words = words;
    loop {
        call(PANIC);
    }
}
