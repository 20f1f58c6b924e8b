//! Threads, futexes, and registers over a switch of threads.

use std::arch::asm;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::Probe;

pub const PROBES: &[(&str, Probe)] = &[
    ("thread-mutex", Probe::Each(mutex)),
    ("thread-condvar", Probe::Each(condvar)),
    ("thread-channel", Probe::Each(channel)),
    ("thread-sleep", Probe::Each(sleep)),
    ("thread-many", Probe::Each(many)),
    ("thread-local", Probe::Each(local)),
    ("thread-vectors", Probe::Each(vectors)),
    ("thread-timeout", Probe::Each(timeout)),
    ("thread-deadlock", Probe::Each(deadlock)),
    ("thread-kept", Probe::Each(kept)),
];

fn mutex(_: &[u8]) -> Vec<u8> {
    let counter = Mutex::new(0);
    let table = RwLock::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..8 {
            let (counter, table) = (&counter, &table);
            scope.spawn(move || {
                for _ in 0..1000 {
                    let mut held = counter.lock().expect("lock");
                    let seen = *held;
                    if seen % 100 == 0 {
                        thread::yield_now();
                    }
                    *held = seen + 1;
                }
                table.write().expect("write").push(number);
            });
        }
    });
    assert_eq!(counter.into_inner().expect("lock"), 8000);
    assert_eq!(table.read().expect("read").len(), 8);
    b"ok".to_vec()
}

fn condvar(_: &[u8]) -> Vec<u8> {
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    let other = Arc::clone(&shared);
    // Two threads take turns, 200 times.
    let turns = thread::spawn(move || {
        for turn in 0..100 {
            let mut now = other.0.lock().expect("lock");
            while *now != 2 * turn + 1 {
                now = other.1.wait(now).expect("wait");
            }
            *now += 1;
            other.1.notify_all();
        }
    });
    for turn in 0..100 {
        let mut now = shared.0.lock().expect("lock");
        while *now != 2 * turn {
            now = shared.1.wait(now).expect("wait");
        }
        *now += 1;
        shared.1.notify_all();
    }
    turns.join().expect("join");
    assert_eq!(*shared.0.lock().expect("lock"), 200);
    let barrier = Barrier::new(5);
    let leaders = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| leaders.fetch_add(u64::from(barrier.wait().is_leader()), Ordering::Relaxed));
        }
    });
    assert_eq!(leaders.into_inner(), 1);
    b"ok".to_vec()
}

fn channel(_: &[u8]) -> Vec<u8> {
    let (sender, receiver) = mpsc::sync_channel(3);
    let senders: Vec<_> = (0..4)
        .map(|number| {
            let sender = sender.clone();
            thread::spawn(move || (0..500).for_each(|value| sender.send(number * 1000 + value).expect("send")))
        })
        .collect();
    drop(sender);
    let sum: u64 = receiver.iter().sum();
    senders.into_iter().for_each(|sender| sender.join().expect("join"));
    assert_eq!(sum, 500 * (1000 + 2000 + 3000) + 4 * (499 * 500 / 2));
    let (_kept, receiver) = mpsc::channel::<()>();
    assert_eq!(receiver.recv_timeout(Duration::from_millis(20)), Err(mpsc::RecvTimeoutError::Timeout));
    b"ok".to_vec()
}

/// Several threads sleep at once, each as long as it asked for.
fn sleep(_: &[u8]) -> Vec<u8> {
    let awake = AtomicU64::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for number in [3_u64, 1, 2] {
            let awake = &awake;
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(30 * number));
                assert!(start.elapsed() >= Duration::from_millis(30 * number));
                awake.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(awake.into_inner(), 3);
    b"ok".to_vec()
}

fn many(_: &[u8]) -> Vec<u8> {
    for _ in 0..3 {
        let threads: Vec<_> = (0..60)
            .map(|number: u64| {
                let builder = thread::Builder::new().stack_size(64 << 10);
                builder
                    .spawn(move || {
                        thread::yield_now();
                        number
                    })
                    .expect("spawn")
            })
            .collect();
        let sum: u64 = threads.into_iter().map(|thread| thread.join().expect("join")).sum();
        assert_eq!(sum, 59 * 60 / 2);
    }
    b"ok".to_vec()
}

fn local(_: &[u8]) -> Vec<u8> {
    thread_local!(static VALUE: Cell<u64> = const { Cell::new(0) });
    fn turn(number: u64) {
        for round in 0..50 {
            assert_eq!(VALUE.get(), number * round);
            VALUE.set(number * (round + 1));
            thread::yield_now();
        }
    }
    thread::scope(|scope| {
        for number in 1..=6 {
            scope.spawn(move || turn(number));
        }
    });
    b"ok".to_vec()
}

/// Two threads hold different values in every vector register while they take turns.
fn vectors(_: &[u8]) -> Vec<u8> {
    let has_avx = std::is_x86_feature_detected!("avx");
    let has_avx512 = std::is_x86_feature_detected!("avx512f");
    thread::scope(|scope| {
        for number in 1..=3_u8 {
            scope.spawn(move || {
                for round in 0..20_u8 {
                    let value = number * 80 + round;
                    assert_eq!(over_a_yield_sse(value), [value; 256], "SSE");
                    if has_avx {
                        assert_eq!(unsafe { over_a_yield_avx(value) }, [value; 512], "AVX");
                    }
                    if has_avx512 {
                        assert_eq!(unsafe { over_a_yield_avx512(value) }, [value; 2048], "AVX-512");
                    }
                }
            });
        }
    });
    match (has_avx, has_avx512) {
        (_, true) => b"avx512".to_vec(),
        (true, _) => b"avx".to_vec(),
        _ => b"sse".to_vec(),
    }
}

macro_rules! yield_probe {
    ($(#[$attribute:meta])* $name:ident, $total:literal, $move:literal, $prefix:literal, $bytes:literal, $($number:literal)*) => {
        $(#[$attribute])*
        fn $name(value: u8) -> [u8; $total] {
            let mut buffer = [value; $total];
            unsafe {
                asm!(
                    $(concat!($move, " ", $prefix, $number, ", [{buffer} + ", $number, "*", $bytes, "]"),)*
                    "syscall",
                    // So that what is stored is what the registers hold.
                    "lea rdi, [{buffer}]",
                    "mov ecx, {total}",
                    "xor eax, eax",
                    "rep stosb",
                    $(concat!($move, " [{buffer} + ", $number, "*", $bytes, "], ", $prefix, $number),)*
                    buffer = in(reg) buffer.as_mut_ptr(),
                    total = const $total,
                    inout("rax") libc::SYS_sched_yield => _,
                    out("rcx") _, out("rdi") _, out("r11") _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                    out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                );
            }
            buffer
        }
    };
}

yield_probe!(over_a_yield_sse, 256, "movups", "xmm", 16, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
yield_probe!(#[target_feature(enable = "avx")] over_a_yield_avx, 512, "vmovups", "ymm", 32, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
yield_probe!(#[target_feature(enable = "avx512f")] over_a_yield_avx512, 2048, "vmovups", "zmm", 64,
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);

fn timeout(_: &[u8]) -> Vec<u8> {
    let (lock, condvar) = (Mutex::new(()), Condvar::new());
    let start = Instant::now();
    let (_guard, result) = condvar.wait_timeout(lock.lock().expect("lock"), Duration::from_millis(30)).expect("wait");
    assert!(result.timed_out() && start.elapsed() >= Duration::from_millis(30));
    b"ok".to_vec()
}

/// Nobody can ever run again.
fn deadlock(_: &[u8]) -> Vec<u8> {
    let (sender, receiver) = mpsc::channel::<()>();
    let _kept = sender;
    receiver.recv().expect("never");
    Vec::new()
}

/// A thread that is made at the first event counts the later ones; returns its count.
fn kept(_: &[u8]) -> Vec<u8> {
    static WORKER: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<u64>)>> = Mutex::new(None);
    let mut worker = WORKER.lock().expect("lock");
    let (ask, answer) = worker.get_or_insert_with(|| {
        let (ask, asked) = mpsc::channel();
        let (say, answer) = mpsc::channel();
        thread::spawn(move || asked.iter().zip(1..).for_each(|((), count)| say.send(count).expect("send")));
        (ask, answer)
    });
    ask.send(()).expect("send");
    answer.recv().expect("receive").to_le_bytes().to_vec()
}
