//! Last words of a guest, in words.

use std::fmt::Write;

use mayfly_abi::layout::{MAIN_STACK, MAIN_STACK_GUARD_BYTES, PAGE_TABLES};
use mayfly_abi::mailbox::{KERNEL_PANIC, LastWords};

const DIVIDE: u64 = 0;
const UNDEFINED: u64 = 6;
const DOUBLE_FAULT: u64 = 8;
const PROTECTION: u64 = 13;
const PAGE_FAULT: u64 = 14;

/// The signal by which Linux would have ended the program.
#[must_use]
pub fn signal(vector: u64) -> u8 {
    let signal = match vector {
        DIVIDE | 16 | 19 => libc::SIGFPE,
        1 | 3 => libc::SIGTRAP,
        UNDEFINED => libc::SIGILL,
        17 => libc::SIGBUS,
        KERNEL_PANIC => libc::SIGABRT,
        _ => libc::SIGSEGV,
    };
    signal as u8
}

/// A few lines for the platform's log: what, where, registers. All of it came from the guest, so only numbers and printable
/// characters are let through.
#[must_use]
pub fn describe(words: &LastWords, fault_address: u64) -> String {
    let mut text = String::new();
    let who = if words.in_kernel != 0 { "guest kernel" } else { "program" };
    let _ = match words.vector {
        KERNEL_PANIC => write!(text, "guest kernel panic: {}", message(words)),
        PAGE_FAULT => write!(text, "page fault of the {who} at {fault_address:#x} ({})", place(fault_address)),
        vector => write!(text, "{} (vector {vector}) of the {who}", name(vector)),
    };
    let _ = write!(
        text,
        ", error code {:#x}, rip {:#x}, rsp {:#x}, rflags {:#x}",
        words.error_code, words.rip, words.rsp, words.rflags
    );
    let names = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
    for (name, value) in names.iter().zip(words.registers) {
        let _ = write!(text, ", {name} {value:#x}");
    }
    text
}

fn message(words: &LastWords) -> String {
    let bytes = &words.message[..(words.message_bytes as usize).min(words.message.len())];
    String::from_utf8_lossy(bytes).chars().filter(|character| !character.is_control()).collect()
}

fn place(address: u64) -> &'static str {
    let guard = MAIN_STACK.base - MAIN_STACK_GUARD_BYTES..MAIN_STACK.base;
    match address {
        0..PAGE_TABLES => "null page",
        address if guard.contains(&address) => "the stack is used up",
        _ => "no memory there, or not writable",
    }
}

fn name(vector: u64) -> &'static str {
    match vector {
        DIVIDE => "division by zero",
        1 | 3 => "debug trap",
        4 => "overflow trap",
        UNDEFINED => "undefined instruction",
        DOUBLE_FAULT => "double fault",
        PROTECTION => "general protection fault",
        16 | 19 => "floating point exception",
        17 => "misaligned access",
        _ => "exception",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(vector: u64) -> LastWords {
        let mut message = [0; 128];
        message[..4].copy_from_slice(b"a\x1bb\n");
        LastWords {
            vector,
            error_code: 6,
            in_kernel: 0,
            rip: 0x40_1000,
            rsp: 0x7f_0000,
            rflags: 2,
            registers: [0; 15],
            message_bytes: u64::MAX,
            message,
        }
    }

    #[test]
    fn faults_are_named_by_place() {
        assert!(
            describe(&words(14), 8)
                .starts_with("page fault of the program at 0x8 (null page), error code 0x6, rip 0x401000")
        );
        assert!(describe(&words(14), MAIN_STACK.base - 8).contains("the stack is used up"));
        assert!(describe(&words(6), 0).starts_with("undefined instruction (vector 6)"));
    }

    #[test]
    fn a_guest_cannot_put_control_characters_or_lengths_into_our_log() {
        let text = describe(&words(KERNEL_PANIC), 0);
        assert!(text.starts_with("guest kernel panic: ab") && !text.contains('\x1b') && !text.contains('\n'));
    }
}
