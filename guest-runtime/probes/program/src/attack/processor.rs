//! Instructions and register contents.

use std::arch::asm;

use crate::system::{bytes, call, map};
use crate::word;

/// Executes the machine code in the payload: RDI points to 4096 bytes of 0xff, RSI to as many zeros, both aligned to a page.
/// The code may use all registers but RSP. Answers with RAX.
pub fn execute(payload: &[u8]) -> Vec<u8> {
    let (code, ones, zeros) = (map(4096), map(4096), map(4096));
    bytes(code, payload.len()).copy_from_slice(payload);
    bytes(code, 4096)[payload.len()] = 0xc3; // ret
    bytes(ones, 4096).fill(0xff);
    let result: u64;
    unsafe {
        asm!(
            "push rbx", "push rbp",
            "call rax",
            "pop rbp", "pop rbx",
            inout("rax") code => result, inout("rdi") ones => _, inout("rsi") zeros => _,
            out("r12") _, out("r13") _, out("r14") _, out("r15") _,
            clobber_abi("C"),
        );
    }
    result.to_le_bytes().to_vec()
}

/// A system call whose stack pointer is the payload.
pub fn wild_stack_pointer(payload: &[u8]) -> Vec<u8> {
    let result: i64;
    unsafe {
        asm!(
            "mov r12, rsp", "mov rsp, rdi",
            "syscall",
            "mov rsp, r12",
            inout("rax") libc::SYS_getpid => result, in("rdi") word(payload),
            out("r12") _, out("rcx") _, out("r11") _,
        );
    }
    result.to_le_bytes().to_vec()
}

/// A system call with the payload as bases of FS and GS.
pub fn wild_bases(payload: &[u8]) -> Vec<u8> {
    let (result, fs_base, gs_base): (i64, u64, u64);
    unsafe {
        asm!(
            "rdfsbase r12", "wrfsbase rdi", "wrgsbase rdi",
            "syscall",
            "rdfsbase r13", "rdgsbase r14", "wrfsbase r12",
            inout("rax") libc::SYS_getpid => result, in("rdi") word(payload),
            out("r12") _, out("r13") fs_base, out("r14") gs_base, out("rcx") _, out("r11") _,
        );
    }
    assert_eq!((fs_base, gs_base), (word(payload), word(payload)), "bases over a system call");
    result.to_le_bytes().to_vec()
}

/// Loads the payload as selector into DS, ES, FS and GS, makes a system call, and puts back what the thread needs.
pub fn selectors(payload: &[u8]) -> Vec<u8> {
    let result: i64;
    unsafe {
        asm!(
            "rdfsbase r12",
            "mov ds, edi", "mov es, edi", "mov fs, edi", "mov gs, edi",
            "syscall",
            "mov ds, r13d", "mov es, r13d", "wrfsbase r12",
            inout("rax") libc::SYS_getpid => result, in("rdi") word(payload),
            out("r12") _, inout("r13") u64::from(mayfly_abi::layout::selector::USER_DATA) => _,
            out("rcx") _, out("r11") _,
        );
    }
    result.to_le_bytes().to_vec()
}

/// Sets the payload's bits in RFLAGS, makes a system call, and answers with the flags before the call and after it.
pub fn flags(payload: &[u8]) -> Vec<u8> {
    let (before, after): (u64, u64);
    unsafe {
        asm!(
            "pushfq", "or [rsp], rdi", "popfq",
            "pushfq", "pop r12",
            "syscall",
            "pushfq", "pop r13",
            "push 0x202", "popfq",
            inout("rax") libc::SYS_getpid => _, in("rdi") word(payload),
            out("r12") before, out("r13") after, out("rcx") _, out("r11") _,
        );
    }
    [before.to_le_bytes(), after.to_le_bytes()].concat()
}

/// The trap flag takes effect after the instruction that follows `popfq`: here that is `syscall`.
pub fn trap_in_a_system_call(_: &[u8]) -> Vec<u8> {
    let result: i64;
    unsafe {
        asm!(
            "pushfq", "or qword ptr [rsp], 0x100", "popfq",
            "syscall",
            "push 0x202", "popfq",
            inout("rax") libc::SYS_getpid => result, out("rcx") _, out("r11") _,
        );
    }
    result.to_le_bytes().to_vec()
}

/// `iretq` to this function's own code with selectors from the payload: CS, SS. Answers with CS as it is then.
pub fn return_to(payload: &[u8]) -> Vec<u8> {
    let now: u64;
    unsafe {
        asm!(
            "mov r12, rsp",
            "push rsi", "push r12", "pushfq", "push rdi",
            "lea rax, [rip + 2f]", "push rax",
            "iretq",
            "2:", "mov rax, cs",
            "mov rsp, r12",
            in("rdi") word(payload), in("rsi") word(&payload[8..]), out("rax") now, out("r12") _,
        );
    }
    assert_eq!(call(libc::SYS_getpid, &[]), 1);
    now.to_le_bytes().to_vec()
}
