//! Timers, and threads that do not wait.

use std::mem::{MaybeUninit, zeroed};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Probe;
use crate::signals::handle;

pub const PROBES: &[(&str, Probe)] = &[
    ("timer-alarm", Probe::Each(alarm)),
    ("timer-interval", Probe::Each(interval)),
    ("timer-created", Probe::Each(created)),
    ("timer-kept", Probe::Each(kept)),
    ("thread-busy", Probe::Each(busy)),
    ("thread-busy-registers", Probe::Each(busy_registers)),
    ("thread-busy-deadline", Probe::Each(busy_deadline)),
    ("thread-robust", Probe::Each(robust)),
    ("thread-cpu-time", Probe::Each(cpu_time)),
];

static COUNT: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    COUNT.fetch_add(1, Ordering::Relaxed);
}

fn taken() -> u64 {
    COUNT.swap(0, Ordering::Relaxed)
}

fn micros(after: i64, every: i64) -> libc::itimerval {
    let value = |us: i64| libc::timeval { tv_sec: us / 1_000_000, tv_usec: us % 1_000_000 };
    libc::itimerval { it_interval: value(every), it_value: value(after) }
}

/// In a program that computes, and in one that sleeps.
fn alarm(_: &[u8]) -> Vec<u8> {
    handle(libc::SIGALRM, count, 0);
    let start = Instant::now();
    unsafe { libc::setitimer(libc::ITIMER_REAL, &micros(30_000, 0), null_mut()) };
    while COUNT.load(Ordering::Relaxed) == 0 {
        std::hint::spin_loop();
    }
    assert!(start.elapsed() >= Duration::from_millis(30));
    taken();
    let start = Instant::now();
    unsafe { libc::setitimer(libc::ITIMER_REAL, &micros(30_000, 0), null_mut()) };
    assert_eq!(unsafe { libc::usleep(900_000) }, -1);
    assert!(start.elapsed() >= Duration::from_millis(30) && taken() == 1);
    unsafe {
        assert_eq!(libc::alarm(100), 0);
        assert!((50..=100).contains(&libc::alarm(0)));
        assert_eq!(libc::alarm(0), 0);
    }
    b"ok".to_vec()
}

fn interval(_: &[u8]) -> Vec<u8> {
    for (which, signal) in [
        (libc::ITIMER_REAL, libc::SIGALRM),
        (libc::ITIMER_VIRTUAL, libc::SIGVTALRM),
        (libc::ITIMER_PROF, libc::SIGPROF),
    ] {
        handle(signal, count, libc::SA_RESTART);
        unsafe { libc::setitimer(which, &micros(10_000, 10_000), null_mut()) };
        let start = Instant::now();
        while COUNT.load(Ordering::Relaxed) < 5 {
            std::hint::spin_loop();
        }
        assert!(start.elapsed() >= Duration::from_millis(50));
        let mut old: libc::itimerval = unsafe { zeroed() };
        unsafe { libc::setitimer(which, &micros(0, 0), &raw mut old) };
        assert_eq!(old.it_interval.tv_usec, 10_000);
        assert!(old.it_value.tv_usec > 0);
        let mut now: libc::itimerval = unsafe { zeroed() };
        unsafe { libc::getitimer(which, &raw mut now) };
        assert_eq!((now.it_value.tv_sec, now.it_value.tv_usec), (0, 0));
        taken();
    }
    assert_eq!(unsafe { libc::setitimer(7, &micros(1, 1), null_mut()) }, -1);
    b"ok".to_vec()
}

fn created(_: &[u8]) -> Vec<u8> {
    let signal = libc::SIGRTMIN() + 1;
    static VALUE: AtomicU64 = AtomicU64::new(0);
    extern "C" fn note(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let (code, value) = unsafe { ((*info).si_code, (*info).si_value().sival_ptr as u64) };
        assert_eq!(code, libc::SI_TIMER);
        VALUE.store(value, Ordering::Relaxed);
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    handle(signal, note, 0);
    unsafe {
        let mut event: libc::sigevent = zeroed();
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = signal;
        event.sigev_value.sival_ptr = 0x5678 as *mut libc::c_void;
        let mut timer = null_mut();
        assert_eq!(libc::timer_create(libc::CLOCK_REALTIME, &raw mut event, &raw mut timer), 0);
        let mut now = zeroed();
        libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now);
        let at = libc::timespec { tv_sec: now.tv_sec, tv_nsec: now.tv_nsec };
        let mut setting = libc::itimerspec { it_interval: zeroed(), it_value: at };
        // A time that has passed.
        assert_eq!(libc::timer_settime(timer, libc::TIMER_ABSTIME, &raw const setting, null_mut()), 0);
        while COUNT.load(Ordering::Relaxed) == 0 {
            libc::usleep(1_000);
        }
        assert_eq!((taken(), VALUE.load(Ordering::Relaxed)), (1, 0x5678));
        setting.it_value = libc::timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        setting.it_interval = setting.it_value;
        assert_eq!(libc::timer_settime(timer, 0, &raw const setting, null_mut()), 0);
        while COUNT.load(Ordering::Relaxed) < 3 {
            libc::pause();
        }
        assert!(libc::timer_getoverrun(timer) >= 0);
        let mut left: libc::itimerspec = zeroed();
        assert_eq!(libc::timer_gettime(timer, &raw mut left), 0);
        assert_eq!(left.it_interval.tv_nsec, 5_000_000);
        assert_eq!(libc::timer_delete(timer), 0);
        assert_eq!(libc::timer_gettime(timer, &raw mut left), -1);
    }
    taken();
    b"ok".to_vec()
}

/// Sets a timer that outlives the event; answers how often it has expired.
fn kept(_: &[u8]) -> Vec<u8> {
    static IS_SET: AtomicU64 = AtomicU64::new(0);
    handle(libc::SIGALRM, count, libc::SA_RESTART);
    if IS_SET.swap(1, Ordering::Relaxed) == 0 {
        unsafe { libc::setitimer(libc::ITIMER_REAL, &micros(200_000, 0), null_mut()) };
    } else {
        thread::sleep(Duration::from_millis(1));
    }
    COUNT.load(Ordering::Relaxed).to_le_bytes().to_vec()
}

/// Threads that only compute share the CPU with each other and with one that sleeps.
fn busy(_: &[u8]) -> Vec<u8> {
    let counts: [AtomicU64; 3] = Default::default();
    let stop = AtomicU64::new(0);
    thread::scope(|scope| {
        for count in &counts {
            let stop = &stop;
            scope.spawn(move || {
                while stop.load(Ordering::Relaxed) == 0 {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Until each has had turns, however slow the machine is.
        let turns = |least: u64| counts.iter().all(|count| count.load(Ordering::Relaxed) > least);
        while !turns(1_000) {
            thread::sleep(Duration::from_millis(10));
        }
        stop.store(1, Ordering::Relaxed);
    });
    b"ok".to_vec()
}

/// Every register of threads that are interrupted anywhere is what it was: general, vector, flags, red zone.
fn busy_registers(_: &[u8]) -> Vec<u8> {
    static ROUNDS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
    fn spin(seed: u64, own: &AtomicU64, other: &AtomicU64) {
        let start = other.load(Ordering::Relaxed);
        let own_start = own.load(Ordering::Relaxed);
        // Until the other one has had its turns among ours.
        while other.load(Ordering::Relaxed) < start + 5 || own.load(Ordering::Relaxed) < own_start + 5 {
            let bad: u64;
            unsafe {
                std::arch::asm!(
                    "push rbx", "push rbp",
                    "mov rbx, rdi", "lea rbp, [rdi + 1]", "lea r8, [rdi + 2]", "lea r9, [rdi + 3]", "lea r10, [rdi + 4]",
                    "lea r11, [rdi + 5]", "lea r12, [rdi + 6]", "lea r13, [rdi + 7]", "lea r14, [rdi + 8]", "lea r15, [rdi + 9]",
                    "movq xmm0, rdi", "movq xmm15, r15", "mov [rsp - 8], rdi", "mov [rsp - 128], r15",
                    "mov ecx, 3000000", "xor eax, eax", "stc",
                    "2:",
                    // `dec` and `lea` leave the carry alone: it must survive too.
                    "dec ecx", "jnz 2b",
                    "setnc al",
                    "xor rbx, rdi", "or rax, rbx",
                    "lea rdx, [rdi + 1]", "xor rbp, rdx", "or rax, rbp", "lea rdx, [rdi + 2]", "xor r8, rdx", "or rax, r8",
                    "lea rdx, [rdi + 3]", "xor r9, rdx", "or rax, r9", "lea rdx, [rdi + 4]", "xor r10, rdx", "or rax, r10",
                    "lea rdx, [rdi + 5]", "xor r11, rdx", "or rax, r11", "lea rdx, [rdi + 6]", "xor r12, rdx", "or rax, r12",
                    "lea rdx, [rdi + 7]", "xor r13, rdx", "or rax, r13", "lea rdx, [rdi + 8]", "xor r14, rdx", "or rax, r14",
                    "lea rdx, [rdi + 9]", "xor r15, rdx", "or rax, r15",
                    "movq rsi, xmm0", "xor rsi, rdi", "or rax, rsi", "movq rsi, xmm15", "xor rsi, rdx", "or rax, rsi",
                    "mov rsi, [rsp - 8]", "xor rsi, rdi", "or rax, rsi", "mov rsi, [rsp - 128]", "xor rsi, rdx", "or rax, rsi",
                    "pop rbp", "pop rbx",
                    in("rdi") seed, out("rax") bad, out("rcx") _, out("rdx") _, out("rsi") _, out("r8") _, out("r9") _, out("r10") _,
                    out("r11") _, out("r12") _, out("r13") _, out("r14") _, out("r15") _, out("xmm0") _, out("xmm15") _,
                );
            }
            assert_eq!(bad, 0, "registers of thread {seed:#x} changed");
            own.fetch_add(1, Ordering::Relaxed);
        }
        // The other one waits for turns of ours.
        own.fetch_add(5, Ordering::Relaxed);
    }
    thread::scope(|scope| {
        scope.spawn(|| spin(0x1111_2222_3333_4444, &ROUNDS[0], &ROUNDS[1]));
        scope.spawn(|| spin(0xaaaa_bbbb_cccc_dddd, &ROUNDS[1], &ROUNDS[0]));
    });
    b"ok".to_vec()
}

/// Two threads that never end, whatever comes.
fn busy_deadline(_: &[u8]) -> Vec<u8> {
    thread::spawn(|| {
        loop {
            std::hint::spin_loop();
        }
    });
    loop {
        std::hint::spin_loop();
    }
}

/// A lock whose owner ended is handed over, and says so.
fn robust(_: &[u8]) -> Vec<u8> {
    struct Shared(libc::pthread_mutex_t);
    extern "C" fn lock_and_end(mutex: *mut libc::c_void) -> *mut libc::c_void {
        assert_eq!(unsafe { libc::pthread_mutex_lock(mutex.cast()) }, 0);
        null_mut()
    }
    unsafe {
        let mut attributes = MaybeUninit::uninit();
        libc::pthread_mutexattr_init(attributes.as_mut_ptr());
        libc::pthread_mutexattr_setrobust(attributes.as_mut_ptr(), libc::PTHREAD_MUTEX_ROBUST);
        let mut shared = Shared(zeroed());
        assert_eq!(libc::pthread_mutex_init(&raw mut shared.0, attributes.as_ptr()), 0);
        let mut thread = MaybeUninit::uninit();
        let argument = (&raw mut shared.0).cast();
        assert_eq!(libc::pthread_create(thread.as_mut_ptr(), null(), lock_and_end, argument), 0);
        libc::pthread_join(thread.assume_init(), null_mut());
        assert_eq!(libc::pthread_mutex_lock(&raw mut shared.0), libc::EOWNERDEAD);
        assert_eq!(libc::pthread_mutex_consistent(&raw mut shared.0), 0);
        assert_eq!(libc::pthread_mutex_unlock(&raw mut shared.0), 0);
        assert_eq!(libc::pthread_mutex_lock(&raw mut shared.0), 0);
        libc::pthread_mutex_unlock(&raw mut shared.0);
    }
    b"ok".to_vec()
}

/// Sleeping uses no CPU time, and each thread has its own.
fn cpu_time(_: &[u8]) -> Vec<u8> {
    let clock = |clock| {
        let mut now: libc::timespec = unsafe { zeroed() };
        assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut now) }, 0);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    };
    let (process, own) = (clock(libc::CLOCK_PROCESS_CPUTIME_ID), clock(libc::CLOCK_THREAD_CPUTIME_ID));
    let start = Instant::now();
    thread::sleep(Duration::from_millis(200));
    let slept = start.elapsed().as_nanos() as u64;
    let used = clock(libc::CLOCK_PROCESS_CPUTIME_ID) - process;
    assert!(used + 190_000_000 <= slept, "sleeping {slept} ns used {used} ns");
    // Another thread's time is the process's, not this thread's.
    let worked = thread::spawn(move || {
        while clock(libc::CLOCK_THREAD_CPUTIME_ID) < 30_000_000 {}
        clock(libc::CLOCK_THREAD_CPUTIME_ID)
    });
    let worked = worked.join().expect("join");
    let own = clock(libc::CLOCK_THREAD_CPUTIME_ID) - own;
    let process = clock(libc::CLOCK_PROCESS_CPUTIME_ID) - process;
    assert!(process >= worked && own + worked <= process, "process {process}, own {own}, other {worked}");
    b"ok".to_vec()
}
