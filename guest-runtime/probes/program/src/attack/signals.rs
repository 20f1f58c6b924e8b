//! Signals and ticks, misused.

use std::arch::asm;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::signals::{handle, kill};
use crate::system::call;
use crate::word;

/// A handler for faults that faults.
pub fn faulting_handler(payload: &[u8]) -> Vec<u8> {
    extern "C" fn fault(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        unsafe { asm!("mov rax, [0x10]", out("rax") _) };
    }
    // With SA_NODEFER it comes again and again, until the stack is used up.
    handle(libc::SIGSEGV, fault, word(payload) as i32);
    unsafe { asm!("mov rax, [0x18]", out("rax") _) };
    b"returned".to_vec()
}

/// A handler that sends itself its own signal, for ever.
pub fn storm(payload: &[u8]) -> Vec<u8> {
    extern "C" fn again(signal: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        kill(signal);
    }
    handle(libc::SIGUSR1, again, word(payload) as i32);
    kill(libc::SIGUSR1);
    b"returned".to_vec()
}

/// Returns from a handler that never ran: the payload's word everywhere in the frame, or the stack pointer that its second word is.
pub fn forged_return(payload: &[u8]) -> Vec<u8> {
    let frame = [word(payload); 1024];
    let at = match word(&payload[8..]) {
        0 => (&raw const frame) as u64,
        other => other,
    };
    unsafe {
        asm!("mov rsp, {}", "syscall", "ud2", in(reg) at, in("rax") libc::SYS_rt_sigreturn, options(noreturn));
    }
}

/// A handler on a stack that is not there.
pub fn wild_stack(payload: &[u8]) -> Vec<u8> {
    extern "C" fn nothing(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}
    let stack = libc::stack_t { ss_sp: word(payload) as *mut libc::c_void, ss_flags: 0, ss_size: 1 << 20 };
    assert_eq!(call(libc::SYS_sigaltstack, &[(&raw const stack) as u64, 0]), 0);
    handle(libc::SIGUSR1, nothing, libc::SA_ONSTACK);
    kill(libc::SIGUSR1);
    b"returned".to_vec()
}

/// Computes with a stack pointer, bases and flags of its own choice while ticks come, in two threads; answers when it has had a few.
pub fn busy_with_wild_registers(payload: &[u8]) -> Vec<u8> {
    static TURNS: AtomicU64 = AtomicU64::new(0);
    let (wild, flags) = (word(payload), word(&payload[8..]));
    TURNS.store(0, Ordering::Relaxed);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..10 {
                thread::sleep(Duration::from_millis(1));
                TURNS.fetch_add(1, Ordering::Relaxed);
            }
        });
        unsafe {
            asm!(
                "mov r12, rsp", "rdfsbase r13",
                "pushfq", "or [rsp], {flags}", "popfq",
                "mov rsp, {wild}",
                "wrfsbase {canonical}", "wrgsbase {canonical}",
                "2:", "mov rax, [{turns}]", "cmp rax, 10", "jb 2b",
                "wrfsbase r13", "mov rsp, r12", "cld", "push 0x202", "popfq",
                flags = in(reg) flags, wild = in(reg) wild, canonical = in(reg) wild & ((1 << 47) - 1), turns = in(reg) TURNS.as_ptr(),
                out("rax") _, out("r12") _, out("r13") _,
            );
        }
    });
    b"ok".to_vec()
}

/// Jumps to where the host lets the kernel run, without having been interrupted.
pub fn false_tick(_: &[u8]) -> Vec<u8> {
    let header = mayfly_abi::layout::KERNEL_TEXT as *const mayfly_abi::layout::KernelHeader;
    unsafe {
        let tick = (&raw const (*header).tick).read_volatile();
        asm!("jmp {}", in(reg) tick, options(noreturn))
    }
}

/// Unmaps, maps over and protects whatever it can, the kernel's own memory among it.
pub fn unmap_everything(_: &[u8]) -> Vec<u8> {
    for start in (mayfly_abi::layout::PROGRAM..mayfly_abi::layout::MEMORY_MIN_BYTES).step_by(1 << 20) {
        call(libc::SYS_mprotect, &[start, 1 << 20, 0]);
        call(libc::SYS_munmap, &[start, 1 << 20]);
    }
    b"survived".to_vec()
}
