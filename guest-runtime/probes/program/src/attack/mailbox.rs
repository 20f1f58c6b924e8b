//! The pages shared with the host, and hypercalls that the kernel did not make.

use std::arch::asm;
use std::mem::offset_of;

use mayfly_abi::hypercall::{NEXT, PAGE_FAULT, PORT};
use mayfly_abi::layout::{KERNEL_TEXT, KernelHeader, MAILBOX};
use mayfly_abi::mailbox::{ANSWER, BYTES, Control, GuestWords, HostWords};

use crate::word;

fn guest() -> *mut GuestWords {
    (MAILBOX + offset_of!(Control, guest) as u64) as *mut GuestWords
}

fn host() -> *mut HostWords {
    MAILBOX as *mut HostWords
}

fn generation() -> u64 {
    unsafe { (&raw const (*host()).generation).read_volatile() }
}

/// Jumps to the kernel's `out` of NEXT with garbage in all registers, after it wrote the words of the payload: length of the answer, length of
/// the log, added to the generation, first two words of the answer record.
pub fn forged_next(payload: &[u8]) -> Vec<u8> {
    forge(payload);
    leave(0, NEXT)
}

/// The same from the code segment in the payload's sixth word, and with the hypercall in its last; where there is no such segment, it faults.
pub fn call_from_segment(payload: &[u8]) -> Vec<u8> {
    forge(payload);
    let next_out = unsafe { (&raw const (*(KERNEL_TEXT as *const KernelHeader)).next_out).read_volatile() };
    unsafe {
        asm!(
            "push rcx", "push rdx", "retfq",
            in("rcx") word(&payload[40..]), in("rdx") next_out, in("al") word(&payload[48..]) as u8,
            options(noreturn),
        )
    }
}

/// The same with flags from the payload's sixth word, and with the hypercall in its last.
pub fn next_with_flags(payload: &[u8]) -> Vec<u8> {
    forge(payload);
    leave(word(&payload[40..]), word(&payload[48..]) as u8)
}

fn forge(payload: &[u8]) {
    unsafe {
        (&raw mut (*guest()).answer_bytes).write_volatile(word(payload));
        (&raw mut (*guest()).log_bytes).write_volatile(word(&payload[8..]));
        (&raw mut (*guest()).seeded_generation).write_volatile(generation().wrapping_add(word(&payload[16..])));
        ((MAILBOX + ANSWER) as *mut u64).write_volatile(word(&payload[24..]));
        ((MAILBOX + ANSWER + 8) as *mut u64).write_volatile(word(&payload[32..]));
    }
}

/// By that hypercall, from where the kernel makes NEXT. With `iretq`, so that a trap flag does not strike before the kernel's `out` was executed.
fn leave(flags: u64, call: u8) -> ! {
    unsafe {
        let next_out = (&raw const (*(KERNEL_TEXT as *const KernelHeader)).next_out).read_volatile();
        asm!(
            "wrfsbase rbp", "wrgsbase rbp",
            "push {data}", "push rsp", "pushfq", "or [rsp], rcx", "push {code}", "push r15",
            "mov rcx, -1", "mov r8, -1", "mov r9, -1", "mov r10, -1", "mov r11, -1", "mov r12, -1", "mov r13, -1", "mov r14, -1",
            "pcmpeqb xmm0, xmm0", "pcmpeqb xmm15, xmm15", "fldpi", "fldpi",
            "iretq",
            data = const mayfly_abi::layout::selector::USER_DATA, code = const mayfly_abi::layout::selector::USER_CODE,
            in("rcx") flags, in("r15") next_out, in("al") call, in("rdi") u64::MAX, in("rsi") u64::MAX, in("rdx") u64::MAX,
            options(noreturn),
        )
    }
}

/// Fills all of the guest's words with the payload's word, then answers as if nothing had been.
pub fn words(payload: &[u8]) -> Vec<u8> {
    for at in 0..size_of::<GuestWords>() / 8 {
        unsafe { guest().cast::<u64>().add(at).write_volatile(word(payload)) };
    }
    b"answered".to_vec()
}

/// Fills all of the guest's words with the payload's second word, then makes the hypercall that the first one names; answers if it returns.
pub fn hypercall_with(payload: &[u8]) -> Vec<u8> {
    words(&payload[8..]);
    unsafe { asm!("out {port}, al", port = const PORT, in("al") payload[0]) };
    unsafe { (&raw mut (*guest()).log_bytes).write_volatile(0) };
    b"returned".to_vec()
}

/// Reads the address in the payload's word; if that is 0, asks the host which address was the last that could not be read.
pub fn fault_address(payload: &[u8]) -> Vec<u8> {
    let address = word(payload);
    if address != 0 {
        return vec![unsafe { (address as *const u8).read_volatile() }];
    }
    unsafe { asm!("out {port}, al", port = const PORT, in("al") PAGE_FAULT) };
    unsafe { (&raw const (*host()).fault_address).read_volatile() }.to_le_bytes().to_vec()
}

/// Fills all of the host's words with the payload's word, and claims to have taken the seed of that generation.
pub fn host_words(payload: &[u8]) -> Vec<u8> {
    for at in 0..size_of::<HostWords>() / 8 {
        unsafe { host().cast::<u64>().add(at).write_volatile(word(payload)) };
    }
    b"answered".to_vec()
}

/// Writes the payload's byte all over the mailbox, then answers as if nothing had been.
pub fn scribble(payload: &[u8]) -> Vec<u8> {
    unsafe { std::ptr::write_bytes(MAILBOX as *mut u8, payload[0], BYTES as usize) };
    b"answered".to_vec()
}
