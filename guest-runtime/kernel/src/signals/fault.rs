//! Exceptions as signals.

use super::{Info, code, number};

const DIVIDE: u64 = 0;
const DEBUG: u64 = 1;
const BREAKPOINT: u64 = 3;
const UNDEFINED: u64 = 6;
const PAGE_FAULT: u64 = 14;
const MATH: u64 = 16;
const ALIGNMENT: u64 = 17;
const VECTOR_MATH: u64 = 19;
/// Bit of a page fault's error code: the page was there, but not for this.
const PROTECTION: u64 = 1;

/// Does the address matter that only the host can read?
#[must_use]
pub fn needs_address(vector: u64) -> bool {
    vector == PAGE_FAULT
}

/// The signal that an exception of the program is, as Linux tells it.
#[must_use]
pub fn info(vector: u64, error_code: u64, rip: u64, address: u64) -> Info {
    let (signal, code, address) = match vector {
        DIVIDE => (number::ARITHMETIC, 1, rip),
        // What it was exactly is in the status words, which nobody reads.
        MATH | VECTOR_MATH => (number::ARITHMETIC, 7, rip),
        DEBUG => (number::TRAP, 2, rip),
        BREAKPOINT => (number::TRAP, code::KERNEL, 0),
        UNDEFINED => (number::ILLEGAL, 2, rip),
        ALIGNMENT => (number::BUS, 1, 0),
        PAGE_FAULT => (number::SEGMENT, if error_code & PROTECTION != 0 { 2 } else { 1 }, address),
        _ => (number::SEGMENT, code::KERNEL, 0),
    };
    Info { signal, code, fields: [address, 0, 0] }
}
