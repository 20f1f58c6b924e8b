//! The hypercalls: one `out imm8, al` to [`PORT`], the call's number in AL.
//!
//! Arguments are in the control page of the [`mailbox`](crate::mailbox::Control). A number that is not in this list, another port,
//! another width or direction ends the guest.

/// The only port.
pub const PORT: u16 = 0x6d;

/// *Done, next please.* What the program answered is in the mailbox; the kernel waits for the next event. Every register
/// is in memory, so the host may save, reset or resume the guest here.
pub const NEXT: u8 = 1;
/// Nothing can run before `wake_ns` of the control page (guest monotonic time, `u64::MAX`: never).
pub const SLEEP: u8 = 2;
/// The log area is full: take it and set its length to 0.
pub const LOG: u8 = 3;
/// The program ended by itself: `exit_status` holds the status, or [`EXIT_KILLED`] and the signal.
pub const EXIT: u8 = 4;
/// An exception that nobody handles, or a kernel panic: the last words are in the control page.
pub const PANIC: u8 = 5;
/// There was a page fault. If it was about memory that is the guest's and not there yet, the host gives it and puts [`MEMORY_GIVEN`] into
/// `fault_address` of the control page: the instruction can be tried again. Else it puts there what the fault was about, which CPL 3 cannot read.
pub const PAGE_FAULT: u8 = 7;
/// Test programs only: return at once. The host counts it like any other exit.
pub const NOP: u8 = 6;

/// No page fault is about this address: it is not canonical in any paging mode that a guest has.
pub const MEMORY_GIVEN: u64 = 1 << 63;

/// Added to the number of the signal that ended a program.
pub const EXIT_KILLED: u64 = 0x100;
