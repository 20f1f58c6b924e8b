//! `memcpy` and its relatives, which compiled code calls. String instructions for what is long: every CPU that can run this guest has
//! them fast (ERMS), and they need no vector register. They take some tens of cycles to start, so what is short, which is nearly
//! everything in a kernel, goes through two or four words that may overlap.

use core::arch::asm;

/// From here on a string instruction is the shorter way.
const LONG_BYTES: usize = 33;

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    if bytes < LONG_BYTES {
        // SAFETY: the caller's contract is that of C.
        unsafe { copy_short(to, from, bytes) };
        return to;
    }
    // SAFETY: the caller's contract is that of C.
    unsafe {
        asm!("rep movsb", inout("rcx") bytes => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags))
    };
    to
}

/// Copies fewer than [`LONG_BYTES`] bytes, which may overlap: all are read before the first is written.
#[inline(always)]
unsafe fn copy_short(to: *mut u8, from: *const u8, bytes: usize) {
    // SAFETY: the caller's contract is that of C; of `bytes` bytes the first and the last `n` are read, which are there if `bytes` is `n` or more.
    unsafe {
        match bytes {
            17.. => {
                let last = bytes - 16;
                let words = (load::<u128>(from), load::<u128>(from.add(last)));
                store(to, words.0);
                store(to.add(last), words.1);
            }
            8.. => {
                let last = bytes - 8;
                let words = (load::<u64>(from), load::<u64>(from.add(last)));
                store(to, words.0);
                store(to.add(last), words.1);
            }
            4.. => {
                let last = bytes - 4;
                let words = (load::<u32>(from), load::<u32>(from.add(last)));
                store(to, words.0);
                store(to.add(last), words.1);
            }
            1.. => {
                let (first, middle, last) =
                    (load::<u8>(from), load::<u8>(from.add(bytes / 2)), load::<u8>(from.add(bytes - 1)));
                store(to, first);
                store(to.add(bytes / 2), middle);
                store(to.add(bytes - 1), last);
            }
            0 => {}
        }
    }
}

/// A word that may lie anywhere.
#[inline(always)]
unsafe fn load<T: Copy>(from: *const u8) -> T {
    // SAFETY: the caller's: the bytes are there.
    unsafe { from.cast::<T>().read_unaligned() }
}

#[inline(always)]
unsafe fn store<T: Copy>(to: *mut u8, word: T) {
    // SAFETY: the caller's: the bytes are there.
    unsafe { to.cast::<T>().write_unaligned(word) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    if bytes < LONG_BYTES || to.addr().wrapping_sub(from.addr()) >= bytes {
        // SAFETY: copying upwards is right if the target does not start inside of the source; what is short may overlap.
        return unsafe { memcpy(to, from, bytes) };
    }
    // Downwards, in words: a string instruction that goes down is slow on every CPU.
    let mut left = bytes;
    while left >= 8 {
        left -= 8;
        // SAFETY: the caller's contract is that of C. What this overwrites was moved before, or is of this word.
        unsafe { store(to.add(left), load::<u64>(from.add(left))) };
    }
    // SAFETY: as above; the rest is short.
    unsafe { copy_short(to, from, left) };
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, bytes: usize) -> *mut u8 {
    // SAFETY: the caller's contract is that of C.
    unsafe {
        asm!("rep stosb", inout("rcx") bytes => _, inout("rdi") to => _, in("al") byte as u8, options(nostack, preserves_flags))
    };
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    let mut at = 0;
    while bytes - at >= 8 {
        // SAFETY: the caller's contract is that of C.
        let (a, b) = unsafe { (load::<u64>(left.add(at)).swap_bytes(), load::<u64>(right.add(at)).swap_bytes()) };
        if a != b {
            return if a < b { -1 } else { 1 };
        }
        at += 8;
    }
    while at < bytes {
        // SAFETY: the caller's contract is that of C; volatile so that this loop is not made into a call of itself.
        let (a, b) = unsafe { (left.add(at).read_volatile(), right.add(at).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
        at += 1;
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, bytes: usize) -> i32 {
    // SAFETY: same contract.
    unsafe { memcmp(left, right, bytes) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut bytes = 0;
    // SAFETY: the caller's contract is that of C.
    while unsafe { text.add(bytes).read_volatile() } != 0 {
        bytes += 1;
    }
    bytes
}

// `core` and `alloc` were compiled to unwind; this kernel aborts, so nothing ever calls these.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("unwinding")
}
