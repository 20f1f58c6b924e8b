//! Memory that is not the program's.

use std::hint::black_box;

use crate::system::call;
use crate::word;

/// Reads the word at the address in the payload, and answers with it.
pub fn read(payload: &[u8]) -> Vec<u8> {
    let value = unsafe { std::ptr::read_volatile(word(payload) as *const u64) };
    value.to_le_bytes().to_vec()
}

/// Writes a word to the address in the payload.
pub fn write(payload: &[u8]) -> Vec<u8> {
    unsafe { std::ptr::write_volatile(word(payload) as *mut u64, 0x4141_4141_4141_4141) };
    b"written".to_vec()
}

/// Adds to the words from one address up to another, by steps (start, end, step, what to add; nothing is not written). Answers with the sum of
/// what they were.
pub fn touch(payload: &[u8]) -> Vec<u8> {
    let [start, end, step, added] = [0, 8, 16, 24].map(|at| word(&payload[at..]));
    let mut sum = 0_u64;
    for address in (start..end).step_by(step as usize) {
        let at = address as *mut u64;
        let value = unsafe { std::ptr::read_volatile(at) };
        sum = sum.wrapping_add(value);
        if added != 0 {
            unsafe { std::ptr::write_volatile(at, value + added) };
        }
    }
    sum.to_le_bytes().to_vec()
}

/// Calls the address in the payload.
pub fn jump(payload: &[u8]) -> Vec<u8> {
    let function: extern "C" fn() = unsafe { std::mem::transmute(word(payload)) };
    function();
    b"returned".to_vec()
}

pub fn use_up_the_stack(_: &[u8]) -> Vec<u8> {
    #[expect(unconditional_recursion, reason = "that is the attack")]
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 64]);
        deeper(depth + 1) + frame[7]
    }
    deeper(0).to_le_bytes().to_vec()
}

/// Fills memory (start, end, byte) without a system call or a function call in between, then makes a system call.
pub fn fill(payload: &[u8]) -> Vec<u8> {
    let (start, end, byte) = (word(payload), word(&payload[8..]), word(&payload[16..]));
    unsafe {
        std::arch::asm!("rep stosb", inout("rdi") start => _, inout("rcx") end - start => _, in("al") byte as u8);
    }
    call(libc::SYS_getpid, &[]).to_le_bytes().to_vec()
}
