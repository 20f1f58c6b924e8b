//! Signals: handlers, masks, frames, waiting, and calls that they interrupt.

use std::arch::asm;
use std::cell::UnsafeCell;
use std::mem::{MaybeUninit, zeroed};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use crate::Probe;
use crate::system::call;

pub const PROBES: &[(&str, Probe)] = &[
    ("signal-handler", Probe::Each(handler)),
    ("signal-mask", Probe::Each(mask)),
    ("signal-queue", Probe::Each(queue)),
    ("signal-frame", Probe::Each(frame)),
    ("signal-vectors", Probe::Each(vectors)),
    ("signal-stack", Probe::Each(stack)),
    ("signal-fault", Probe::Each(fault)),
];

pub static COUNT: AtomicU64 = AtomicU64::new(0);
pub static LAST: AtomicI32 = AtomicI32::new(0);
static VALUE: AtomicUsize = AtomicUsize::new(0);

pub extern "C" fn count(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    LAST.store(signal, Ordering::Relaxed);
    VALUE.store(unsafe { (*info).si_value().sival_ptr } as usize, Ordering::Relaxed);
}

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

/// Sets a handler.
pub fn handle(signal: i32, handler: Handler, flags: i32) {
    unsafe {
        let mut action: libc::sigaction = zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | flags;
        assert_eq!(libc::sigaction(signal, &raw const action, null_mut()), 0);
    }
}

pub fn default(signal: i32) {
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

pub fn kill(signal: i32) {
    assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
}

pub fn taken() -> u64 {
    COUNT.swap(0, Ordering::Relaxed)
}

pub fn set(signals: &[i32]) -> libc::sigset_t {
    unsafe {
        let mut set = zeroed();
        libc::sigemptyset(&raw mut set);
        signals.iter().for_each(|&signal| assert_eq!(libc::sigaddset(&raw mut set, signal), 0));
        set
    }
}

pub fn block(how: i32, signals: &[i32]) {
    assert_eq!(unsafe { libc::pthread_sigmask(how, &set(signals), null_mut()) }, 0);
}

pub fn is_pending(signal: i32) -> bool {
    let mut pending = MaybeUninit::uninit();
    unsafe { libc::sigpending(pending.as_mut_ptr()) == 0 && libc::sigismember(pending.as_ptr(), signal) == 1 }
}

pub fn ok() -> Vec<u8> {
    b"ok".to_vec()
}

fn handler(_: &[u8]) -> Vec<u8> {
    handle(libc::SIGUSR1, count, 0);
    kill(libc::SIGUSR1);
    assert_eq!((taken(), LAST.load(Ordering::Relaxed)), (1, libc::SIGUSR1), "run before kill returns");
    unsafe { libc::raise(libc::SIGUSR1) };
    assert_eq!(taken(), 1);
    // Ignored, default that ignores, and back.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    kill(libc::SIGUSR1);
    kill(libc::SIGCHLD);
    assert_eq!(taken(), 0);
    // Once.
    handle(libc::SIGUSR2, count, libc::SA_RESETHAND);
    kill(libc::SIGUSR2);
    let mut action: libc::sigaction = unsafe { zeroed() };
    unsafe { libc::sigaction(libc::SIGUSR2, null(), &raw mut action) };
    assert_eq!((taken(), action.sa_sigaction), (1, libc::SIG_DFL));
    // A handler that is interrupted by its own signal, if it may be.
    extern "C" fn again(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let depth = COUNT.fetch_add(1, Ordering::Relaxed);
        if depth < 5 {
            kill(libc::SIGUSR2);
            assert_eq!(COUNT.load(Ordering::Relaxed) > depth + 1, LAST.load(Ordering::Relaxed) == 1);
        }
    }
    LAST.store(1, Ordering::Relaxed);
    handle(libc::SIGUSR2, again, libc::SA_NODEFER);
    kill(libc::SIGUSR2);
    assert_eq!(taken(), 6);
    LAST.store(0, Ordering::Relaxed);
    handle(libc::SIGUSR2, again, 0);
    kill(libc::SIGUSR2);
    assert_eq!(taken(), 6, "deferred, and taken one after another");
    for (signal, errno) in [(65, libc::EINVAL), (libc::SIGKILL, libc::EINVAL), (libc::SIGSTOP, libc::EINVAL)] {
        let result = call(libc::SYS_rt_sigaction, &[signal as u64, (&raw const action) as u64, 0, 8]);
        assert_eq!(result, -i64::from(errno));
    }
    assert_eq!(call(libc::SYS_kill, &[77, 0]), -i64::from(libc::ESRCH));
    assert_eq!(call(libc::SYS_tgkill, &[1, 77, 0]), -i64::from(libc::ESRCH));
    ok()
}

fn mask(_: &[u8]) -> Vec<u8> {
    handle(libc::SIGUSR1, count, 0);
    handle(libc::SIGUSR2, count, 0);
    block(libc::SIG_BLOCK, &[libc::SIGUSR1, libc::SIGUSR2]);
    kill(libc::SIGUSR2);
    kill(libc::SIGUSR1);
    kill(libc::SIGUSR1);
    assert!(taken() == 0 && is_pending(libc::SIGUSR1) && is_pending(libc::SIGUSR2));
    block(libc::SIG_UNBLOCK, &[libc::SIGUSR1]);
    assert_eq!((taken(), LAST.load(Ordering::Relaxed)), (1, libc::SIGUSR1), "an ordinary signal is pending once");
    // Ignoring throws away what is pending.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
    assert!(!is_pending(libc::SIGUSR2));
    block(libc::SIG_UNBLOCK, &[libc::SIGUSR2]);
    assert_eq!(taken(), 0);
    // Nobody blocks SIGKILL.
    block(libc::SIG_BLOCK, &[libc::SIGKILL]);
    let mut now = MaybeUninit::uninit();
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, null(), now.as_mut_ptr()) };
    assert_eq!(unsafe { libc::sigismember(now.as_ptr(), libc::SIGKILL) }, 0);
    ok()
}

fn queue(_: &[u8]) -> Vec<u8> {
    let signal = libc::SIGRTMIN() + 2;
    static SEEN: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];
    extern "C" fn note(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let index = COUNT.fetch_add(1, Ordering::Relaxed) as usize;
        let (code, value) = unsafe { ((*info).si_code, (*info).si_value().sival_ptr as usize) };
        SEEN[index].store(value + (code as usize & 0xff) * 1000, Ordering::Relaxed);
    }
    handle(signal, note, 0);
    block(libc::SIG_BLOCK, &[signal]);
    for value in 1..=5 {
        let value = libc::sigval { sival_ptr: value as *mut libc::c_void };
        assert_eq!(unsafe { libc::sigqueue(libc::getpid(), signal, value) }, 0);
    }
    block(libc::SIG_UNBLOCK, &[signal]);
    assert_eq!(taken(), 5, "real-time signals queue");
    for (index, value) in (1..=5).enumerate() {
        assert_eq!(SEEN[index].load(Ordering::Relaxed), value + 255_000, "in order, with code SI_QUEUE");
    }
    // There is a limit.
    block(libc::SIG_BLOCK, &[signal]);
    let sent = (0..100_000).take_while(|_| unsafe { libc::kill(libc::getpid(), signal) == 0 }).count();
    assert!((100..100_000).contains(&sent), "{sent}");
    unsafe { libc::signal(signal, libc::SIG_IGN) };
    block(libc::SIG_UNBLOCK, &[signal]);
    ok()
}

/// The handler sees the registers of the interrupted code, and changes them.
fn frame(_: &[u8]) -> Vec<u8> {
    extern "C" fn change(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
        let registers = &mut context.uc_mcontext.gregs;
        assert_eq!(unsafe { ((*info).si_signo, (*info).si_pid(), (*info).si_uid()) }, (signal, 1, 0));
        assert_eq!(registers[libc::REG_RBX as usize], 0x1111);
        assert_eq!(registers[libc::REG_R15 as usize], 0x2222);
        assert_eq!(registers[libc::REG_RAX as usize], 0, "what kill returns");
        assert!(!context.uc_mcontext.fpregs.is_null());
        let mark = unsafe { context.uc_mcontext.fpregs.cast::<u32>().byte_add(464).read() };
        assert_eq!(mark, 0x4650_5853, "the mark of an XSAVE area");
        let local = 0_u64;
        assert_eq!((&raw const local) as u64 % 8, 0);
        registers[libc::REG_RAX as usize] = 0x3333;
        registers[libc::REG_R15 as usize] = 0x4444;
        registers[libc::REG_RIP as usize] += 3;
    }
    handle(libc::SIGUSR1, change, 0);
    let (result, r15): (u64, u64);
    unsafe {
        asm!(
            "push rbx", "mov ebx, 0x1111", "mov r15d, 0x2222",
            // A red zone that must stay.
            "mov qword ptr [rsp - 8], 77", "mov qword ptr [rsp - 128], 78",
            "syscall",
            "xor eax, eax", "nop", // three bytes that are skipped
            "add rax, [rsp - 8]", "add rax, [rsp - 128]",
            "pop rbx",
            inout("rax") libc::SYS_kill as u64 => result, in("rdi") 1, in("rsi") libc::SIGUSR1,
            out("r15") r15, out("rcx") _, out("r11") _,
        );
    }
    assert_eq!((result, r15), (0x3333 + 77 + 78, 0x4444));
    ok()
}

/// A handler starts with clean vector registers and leaves those of the interrupted code alone, also when it came by a tick.
fn vectors(_: &[u8]) -> Vec<u8> {
    extern "C" fn clobber(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        unsafe {
            let (low, control): (u64, u32);
            let mut mxcsr = 0_u32;
            asm!("movq {}, xmm7", out(reg) low);
            asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr);
            control = mxcsr;
            assert_eq!((low, control), (0, 0x1f80), "clean");
            asm!("pcmpeqb xmm7, xmm7", "pcmpeqb xmm15, xmm15", out("xmm7") _, out("xmm15") _);
            if std::is_x86_feature_detected!("avx") {
                asm!("vpcmpeqd xmm7, xmm7, xmm7", "vperm2f128 ymm7, ymm7, ymm7, 0", out("xmm7") _);
            }
        }
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    handle(libc::SIGALRM, clobber, 0);
    for busy in [false, true] {
        let timer = libc::itimerval {
            it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
            it_value: libc::timeval { tv_sec: 0, tv_usec: if busy { 20_000 } else { 0 } },
        };
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, null_mut()) };
        let values = [0x5a_u8; 32];
        let mut after = [0_u8; 32];
        let has_avx = std::is_x86_feature_detected!("avx");
        unsafe {
            if has_avx {
                asm!("vmovups ymm7, [{}]", in(reg) values.as_ptr(), out("xmm7") _);
            }
            asm!(
                "movups xmm7, [{values}]",
                "test {avx}, {avx}", "jz 2f", "vmovups ymm7, [{values}]", "2:",
                // By a call, or by the timer.
                "mov edi, 1", "mov esi, 14",
                "test {busy}, {busy}", "jnz 3f",
                "mov eax, 62", "syscall", "jmp 4f",
                "3:", "pause", "cmp qword ptr [{count}], 0", "je 3b",
                "4:",
                "movups [{after}], xmm7",
                "test {avx}, {avx}", "jz 5f", "vmovups [{after}], ymm7", "5:",
                values = in(reg) values.as_ptr(), after = in(reg) after.as_mut_ptr(), avx = in(reg) u64::from(has_avx),
                busy = in(reg) u64::from(busy), count = in(reg) COUNT.as_ptr(),
                out("rax") _, out("rdi") _, out("rsi") _, out("rcx") _, out("r11") _, out("xmm7") _,
            );
        }
        assert_eq!((taken(), &after[..if has_avx { 32 } else { 16 }]), (1, &values[..if has_avx { 32 } else { 16 }]));
    }
    ok()
}

fn stack(_: &[u8]) -> Vec<u8> {
    const BYTES: usize = 64 << 10;
    struct Room(UnsafeCell<[u8; BYTES]>);
    unsafe impl Sync for Room {}
    static ROOM: Room = Room(UnsafeCell::new([0; BYTES]));
    extern "C" fn look(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let local = 0_u8;
        let base = ROOM.0.get() as usize;
        VALUE.store(usize::from((base..base + BYTES).contains(&(&raw const local as usize))), Ordering::Relaxed);
        let saved = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_stack };
        assert_eq!((saved.ss_sp as usize, saved.ss_size), (base, BYTES));
        if VALUE.load(Ordering::Relaxed) == 1 {
            let mut now: libc::stack_t = unsafe { zeroed() };
            unsafe { libc::sigaltstack(null(), &raw mut now) };
            assert_eq!(now.ss_flags, libc::SS_ONSTACK);
            assert_eq!(unsafe { libc::sigaltstack(saved, null_mut()) }, -1, "not while it is in use");
        }
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    let mut new = libc::stack_t { ss_sp: ROOM.0.get().cast(), ss_flags: 0, ss_size: BYTES };
    let mut before: libc::stack_t = unsafe { zeroed() };
    assert_eq!(unsafe { libc::sigaltstack(&raw const new, &raw mut before) }, 0);
    handle(libc::SIGUSR1, look, libc::SA_ONSTACK);
    kill(libc::SIGUSR1);
    assert_eq!((taken(), VALUE.load(Ordering::Relaxed)), (1, 1), "on the stack that was set aside");
    handle(libc::SIGUSR1, look, 0);
    kill(libc::SIGUSR1);
    assert_eq!((taken(), VALUE.load(Ordering::Relaxed)), (1, 0), "on the ordinary one");
    new.ss_size = 100;
    assert_eq!(unsafe { libc::sigaltstack(&raw const new, null_mut()) }, -1, "too small");
    assert_eq!(unsafe { libc::sigaltstack(&raw const before, null_mut()) }, 0);
    ok()
}

/// A handler for faults steps over the instruction, and is told where it was.
fn fault(_: &[u8]) -> Vec<u8> {
    extern "C" fn step(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
        COUNT.fetch_add(1, Ordering::Relaxed);
        LAST.store(signal, Ordering::Relaxed);
        VALUE.store(unsafe { (*info).si_addr() } as usize, Ordering::Relaxed);
        registers[libc::REG_RIP as usize] = registers[libc::REG_R12 as usize];
    }
    macro_rules! faulting {
        ($($instruction:literal),*) => {
            unsafe {
                asm!(
                    "lea r12, [rip + 2f]",
                    $($instruction,)*
                    "2:",
                    out("r12") _, out("rax") _, out("rcx") _, out("rdx") _,
                )
            }
        };
    }
    let signals = [libc::SIGSEGV, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];
    let mut before = Vec::new();
    for signal in signals {
        let mut action = MaybeUninit::uninit();
        unsafe { libc::sigaction(signal, null(), action.as_mut_ptr()) };
        before.push(unsafe { action.assume_init() });
        handle(signal, step, 0);
    }
    let taken = || (taken(), LAST.load(Ordering::Relaxed), VALUE.load(Ordering::Relaxed));
    faulting!("mov rax, [0x1234]");
    assert_eq!(taken(), (1, libc::SIGSEGV, 0x1234));
    faulting!("mov rax, 0x7000010", "mov [rax], rax");
    assert_eq!(taken(), (1, libc::SIGSEGV, 0x700_0010), "the kernel's text cannot be written");
    faulting!("hlt");
    assert_eq!(taken(), (1, libc::SIGSEGV, 0));
    faulting!("ud2");
    let (count, signal, _) = taken();
    assert_eq!((count, signal), (1, libc::SIGILL));
    faulting!("xor ecx, ecx", "xor edx, edx", "mov eax, 1", "div ecx");
    let (count, signal, address) = taken();
    assert!(count == 1 && signal == libc::SIGFPE && address > 0);
    faulting!("int3");
    let (count, signal, _) = taken();
    assert_eq!((count, signal), (1, libc::SIGTRAP));
    for (signal, action) in signals.into_iter().zip(&before) {
        unsafe { libc::sigaction(signal, action, null_mut()) };
    }
    ok()
}
