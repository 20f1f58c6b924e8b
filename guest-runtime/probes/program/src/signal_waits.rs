//! Signals and threads that wait.

use std::mem::{MaybeUninit, zeroed};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Probe;
use crate::signals::{COUNT, LAST, block, count, default, handle, kill, ok, set, taken};
use crate::system::call;

pub const PROBES: &[(&str, Probe)] = &[
    ("signal-restart", Probe::Each(restart)),
    ("signal-waits", Probe::Each(waits)),
    ("signal-threads", Probe::Each(threads)),
    ("signal-cancel", Probe::Each(cancel)),
    ("signal-poll-mask", Probe::Each(poll_mask)),
    ("signal-pipe", Probe::Each(broken_pipe)),
    ("signal-fatal", Probe::Each(fatal)),
];

/// Sends a signal to a thread again and again, until it says that it has had enough.
fn pester(thread: libc::pthread_t, signal: i32, stop: &AtomicU64) {
    while stop.load(Ordering::Relaxed) == 0 {
        thread::sleep(Duration::from_millis(5));
        unsafe { libc::pthread_kill(thread, signal) };
    }
}

fn restart(_: &[u8]) -> Vec<u8> {
    for flags in [0, libc::SA_RESTART] {
        handle(libc::SIGUSR1, count, flags);
        taken();
        let mut pipe = [0; 2];
        assert_eq!(unsafe { libc::pipe(pipe.as_mut_ptr()) }, 0);
        let me = unsafe { libc::pthread_self() } as usize;
        let writer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
            thread::sleep(Duration::from_millis(20));
            unsafe { libc::write(pipe[1], c"x".as_ptr().cast(), 1) };
        });
        let mut byte = 0_u8;
        let read = unsafe { libc::read(pipe[0], (&raw mut byte).cast(), 1) };
        let errno = std::io::Error::last_os_error().raw_os_error();
        if flags == 0 {
            assert_eq!((read, errno), (-1, Some(libc::EINTR)));
        } else {
            assert_eq!((read, byte), (1, b'x'), "made again");
        }
        writer.join().expect("join");
        assert_eq!(taken(), 1);
        for end in pipe {
            unsafe { libc::close(end) };
        }
    }
    // Sleeping always ends, and says how much was left.
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        let (me, done) = (unsafe { libc::pthread_self() } as usize, &done);
        scope.spawn(move || pester(me as libc::pthread_t, libc::SIGUSR1, done));
        let request = libc::timespec { tv_sec: 100, tv_nsec: 0 };
        let mut left: libc::timespec = unsafe { zeroed() };
        assert_eq!(unsafe { libc::nanosleep(&raw const request, &raw mut left) }, -1);
        assert!((10..100).contains(&left.tv_sec) && (0..1_000_000_000).contains(&left.tv_nsec), "{}", left.tv_sec);
        assert_eq!(unsafe { libc::poll(null_mut(), 0, -1) }, -1, "poll is never made again");
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINTR));
        done.store(1, Ordering::Relaxed);
    });
    ok()
}

fn waits(_: &[u8]) -> Vec<u8> {
    handle(libc::SIGUSR1, count, 0);
    block(libc::SIG_BLOCK, &[libc::SIGUSR1, libc::SIGUSR2]);
    // sigsuspend: the handler runs during the call, and the mask is back after it.
    kill(libc::SIGUSR1);
    assert_eq!(taken(), 0);
    assert_eq!(unsafe { libc::sigsuspend(&set(&[libc::SIGUSR2])) }, -1);
    assert_eq!(taken(), 1);
    kill(libc::SIGUSR1);
    assert_eq!(taken(), 0, "blocked again");
    // sigtimedwait: takes what is pending, and what comes.
    let mut info: libc::siginfo_t = unsafe { zeroed() };
    let wait = |info: &mut libc::siginfo_t, ms: i64| {
        let timeout = libc::timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
        unsafe { libc::sigtimedwait(&set(&[libc::SIGUSR1, libc::SIGUSR2]), info, &raw const timeout) }
    };
    assert_eq!(wait(&mut info, 0), libc::SIGUSR1);
    let start = Instant::now();
    assert_eq!(wait(&mut info, 20), -1);
    assert!(start.elapsed() >= Duration::from_millis(20));
    let sender = thread::spawn(|| {
        thread::sleep(Duration::from_millis(10));
        kill(libc::SIGUSR2);
    });
    assert_eq!(wait(&mut info, 100_000), libc::SIGUSR2);
    assert_eq!((info.si_signo, info.si_code), (libc::SIGUSR2, 0));
    sender.join().expect("join");
    assert_eq!(taken(), 0, "no handler ran");
    // pause.
    block(libc::SIG_UNBLOCK, &[libc::SIGUSR1, libc::SIGUSR2]);
    let me = unsafe { libc::pthread_self() } as usize;
    let sender = thread::spawn(move || {
        thread::sleep(Duration::from_millis(10));
        unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
    });
    assert_eq!(unsafe { libc::pause() }, -1);
    sender.join().expect("join");
    assert_eq!(taken(), 1);
    default(libc::SIGUSR1);
    ok()
}

/// A signal for the process goes to a thread that does not block it; one for a thread to that one.
fn threads(_: &[u8]) -> Vec<u8> {
    static WHO: AtomicU64 = AtomicU64::new(0);
    extern "C" fn who(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        WHO.store(call(libc::SYS_gettid, &[]) as u64, Ordering::Relaxed);
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    handle(libc::SIGUSR1, who, 0);
    block(libc::SIG_BLOCK, &[libc::SIGUSR1]);
    // The new thread inherits the mask, and opens up.
    let ready = AtomicU64::new(0);
    thread::scope(|scope| {
        let ready = &ready;
        let worker = scope.spawn(move || {
            block(libc::SIG_UNBLOCK, &[libc::SIGUSR1]);
            ready.store(call(libc::SYS_gettid, &[]) as u64, Ordering::Relaxed);
            // Waits for a signal in a call.
            unsafe { libc::pause() };
            // And without one.
            while COUNT.load(Ordering::Relaxed) < 2 {
                std::hint::spin_loop();
            }
        });
        while ready.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(5));
        kill(libc::SIGUSR1);
        while COUNT.load(Ordering::Relaxed) < 1 {
            thread::yield_now();
        }
        assert_eq!(WHO.load(Ordering::Relaxed), ready.load(Ordering::Relaxed));
        kill(libc::SIGUSR1);
        worker.join().expect("join");
    });
    assert_eq!(taken(), 2);
    // Nobody takes it: it waits for whoever does first.
    kill(libc::SIGUSR1);
    assert_eq!(taken(), 0);
    block(libc::SIG_UNBLOCK, &[libc::SIGUSR1]);
    assert_eq!((taken(), WHO.load(Ordering::Relaxed)), (1, 1));
    ok()
}

unsafe extern "C" {
    safe fn pthread_cancel(thread: libc::pthread_t) -> i32;
    safe fn pthread_testcancel();
}

/// Cancelling a thread that waits, and one that only computes.
fn cancel(_: &[u8]) -> Vec<u8> {
    extern "C" fn wait(_: *mut libc::c_void) -> *mut libc::c_void {
        loop {
            unsafe { libc::pause() };
        }
    }
    extern "C" fn compute(_: *mut libc::c_void) -> *mut libc::c_void {
        loop {
            pthread_testcancel();
        }
    }
    for start in [wait, compute] {
        unsafe {
            let mut thread = MaybeUninit::uninit();
            assert_eq!(libc::pthread_create(thread.as_mut_ptr(), null(), start, null_mut()), 0);
            libc::usleep(10_000);
            assert_eq!(pthread_cancel(thread.assume_init()), 0);
            let mut result = null_mut();
            assert_eq!(libc::pthread_join(thread.assume_init(), &raw mut result), 0);
            assert_eq!(result as usize, usize::MAX, "PTHREAD_CANCELED");
        }
    }
    ok()
}

/// `ppoll` and its like wait with another mask.
fn poll_mask(_: &[u8]) -> Vec<u8> {
    handle(libc::SIGUSR1, count, 0);
    block(libc::SIG_BLOCK, &[libc::SIGUSR1]);
    kill(libc::SIGUSR1);
    let none = set(&[]);
    let epoll = unsafe { libc::epoll_create1(0) };
    let mut event: libc::epoll_event = unsafe { zeroed() };
    type Wait<'a> = &'a mut dyn FnMut() -> i32;
    let waits: [Wait<'_>; 3] = [
        &mut || unsafe { libc::ppoll(null_mut(), 0, null(), &raw const none) },
        &mut || unsafe { libc::pselect(0, null_mut(), null_mut(), null_mut(), null(), &raw const none) },
        &mut || unsafe { libc::epoll_pwait(epoll, &raw mut event, 1, -1, &raw const none) },
    ];
    for wait in waits {
        assert_eq!(taken(), 0, "blocked outside of the call");
        assert_eq!(wait(), -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINTR));
        assert_eq!(taken(), 1);
        kill(libc::SIGUSR1);
    }
    // One that does not wait gives the mask back, too.
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::ppoll(null_mut(), 0, &raw const now, &set(&[libc::SIGUSR2])) };
    kill(libc::SIGUSR1);
    unsafe { libc::close(epoll) };
    block(libc::SIG_UNBLOCK, &[libc::SIGUSR1]);
    assert!(taken() > 0);
    ok()
}

fn broken_pipe(_: &[u8]) -> Vec<u8> {
    handle(libc::SIGPIPE, count, 0);
    let mut pipe = [0; 2];
    unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        libc::close(pipe[0]);
        assert_eq!(libc::write(pipe[1], c"x".as_ptr().cast(), 1), -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EPIPE));
        libc::close(pipe[1]);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
    assert_eq!((taken(), LAST.load(Ordering::Relaxed)), (1, libc::SIGPIPE));
    ok()
}

/// Ends by the signal in the payload, from a thread while the others wait.
fn fatal(payload: &[u8]) -> Vec<u8> {
    let signal = crate::word(payload) as i32;
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(5));
        kill(signal);
    });
    loop {
        thread::sleep(Duration::from_secs(1000));
    }
}
