//! Places that make many system calls.

use std::arch::{asm, naked_asm};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Probe;
use crate::signals::handle;
use crate::system::call;

pub const PROBES: &[(&str, Probe)] = &[("call-sites", Probe::Each(sites)), ("call-sites-jump", Probe::Each(jump))];

/// Calls with everything in registers and red zone that a call must leave alone; says what changed, and where the code is.
#[inline(never)]
fn call_often(times: u64) -> (u64, *const u8) {
    let (changed, site): (u64, *const u8);
    unsafe {
        asm!(
            "push rbx", "push rbp",
            "mov rdi, 0x1111", "mov rsi, 0x2222", "mov rdx, 0x3333", "mov rbx, 0x4444", "mov rbp, 0x5555", "mov r8, 0x6666",
            "mov r9, 0x7777", "mov r10, 0x8888", "mov r12, 0x9999", "mov r14, 0xaaaa", "mov r15, 0xbbbb",
            "movq xmm3, r12", "mov [rsp - 8], r14", "mov [rsp - 128], r15",
            "2:",
            "mov eax, 39", "syscall", // getpid
            "3:",
            "cmp rax, 1", "jne 4f",
            "dec r13", "jnz 2b",
            "xor eax, eax",
            "xor rdi, 0x1111", "or rax, rdi", "xor rsi, 0x2222", "or rax, rsi", "xor rdx, 0x3333", "or rax, rdx",
            "xor rbx, 0x4444", "or rax, rbx", "xor rbp, 0x5555", "or rax, rbp", "xor r8, 0x6666", "or rax, r8",
            "xor r9, 0x7777", "or rax, r9", "xor r10, 0x8888", "or rax, r10",
            "movq rcx, xmm3", "xor rcx, r12", "or rax, rcx", "xor r12, 0x9999", "or rax, r12",
            "mov rcx, [rsp - 8]", "xor rcx, r14", "or rax, rcx", "mov rcx, [rsp - 128]", "xor rcx, r15", "or rax, rcx",
            "jmp 5f",
            "4:", "mov rax, -1",
            "5:", "lea rcx, [rip + 3b]",
            "pop rbp", "pop rbx",
            inout("r13") times => _, out("rax") changed, out("rcx") site, out("rdx") _, out("rsi") _, out("rdi") _, out("r8") _, out("r9") _,
            out("r10") _, out("r11") _, out("r12") _, out("r14") _, out("r15") _, out("xmm3") _,
        );
    }
    (changed, unsafe { site.sub(7) })
}

fn code(site: *const u8) -> [u8; 7] {
    unsafe { site.cast::<[u8; 7]>().read_volatile() }
}

/// A place that makes many calls is changed, and nothing else changes; also while signals and ticks come.
fn sites(_: &[u8]) -> Vec<u8> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    extern "C" fn count(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        COUNT.fetch_add(1, Ordering::Relaxed);
        assert_eq!(call_often(3).0, 0);
    }
    let (changed, site) = call_often(1);
    assert_eq!(changed, 0);
    assert_eq!(call_often(100).0, 0);
    let now = code(site);
    assert_eq!((now[0], &now[5..]), (0xe9, &[0x0f, 0x05][..]), "a jump, and the instruction as it was");
    handle(libc::SIGALRM, count, libc::SA_RESTART);
    let every = libc::timeval { tv_sec: 0, tv_usec: 5_000 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    let off = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
        it_value: libc::timeval { tv_sec: 0, tv_usec: 0 },
    };
    COUNT.store(0, Ordering::Relaxed);
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    while COUNT.load(Ordering::Relaxed) < 5 {
        assert_eq!(call_often(1000).0, 0);
    }
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const off, std::ptr::null_mut()) };
    b"ok".to_vec()
}

/// `getpid`, or, by a jump to the instruction itself, the call that is the second argument.
#[unsafe(naked)]
extern "C" fn place(jumps: u64, number: u64) -> i64 {
    naked_asm!("test rdi, rdi", "jnz 3f", "mov eax, 39", "2:", "syscall", "ret", "3:", "mov eax, esi", "jmp 2b")
}

/// Whoever jumps to the `syscall` of a changed place makes the call that is in RAX.
fn jump(_: &[u8]) -> Vec<u8> {
    for _ in 0..100 {
        assert_eq!(place(0, 0), 1);
    }
    let code = unsafe { (place as *const u8).cast::<[u8; 12]>().read_volatile() };
    assert_eq!((code[5], &code[10..]), (0xe9, &[0x0f, 0x05][..]));
    let gettid = libc::SYS_gettid as u64;
    let other = std::thread::spawn(move || (place(1, gettid), call(libc::SYS_gettid, &[])));
    let (by_jump, own) = other.join().expect("join");
    assert!(by_jump == own && own != 1, "{by_jump} {own}");
    assert_eq!(place(0, gettid), 1);
    b"ok".to_vec()
}
