//! Canaries: each event leaves one wherever an event can leave something, and is told what the one before has left.

use std::fs::{self, File};
use std::mem::{forget, zeroed};
use std::os::fd::AsRawFd;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mayfly_abi::layout::{MAILBOX, MAIN_STACK, PAGE_BYTES};
use mayfly_abi::mailbox::{ANSWER, EVENT, LOG};

use crate::Probe;
use crate::device::Device;
use crate::registers::Registers;
use crate::signals::{block, count, handle, is_pending};
use crate::system::{bytes, call, is_zero, map, unmap};

pub const PROBES: &[(&str, Probe)] = &[("canaries", Probe::Own(canaries))];

/// In the program's own data; of the last event, and of a thread that goes on after it.
static LAST: AtomicU64 = AtomicU64::new(0);
static BY_THREAD: AtomicU64 = AtomicU64::new(0);

/// The highest bytes of each.
const MARK: u64 = 0x1eca;
/// A block of the heap, small enough to be used again after it was given back.
const HEAP_WORDS: usize = 5000;
/// Memory that was given back, and a part of the stack that nobody has used before.
const FREED_BYTES: usize = 5 * PAGE_BYTES as usize;
const DEEP: u64 = MAIN_STACK.base + (1 << 20);
/// What is looked at behind an event, an answer and the log.
const BEHIND_BYTES: usize = 16 << 10;

/// What the program has from before its first event.
struct Before {
    descriptor: i32,
    directory: std::path::PathBuf,
}

/// Answers with the places where something was found, one word each. The payload is the canary: eight bytes at least, and if it is longer, so is the
/// answer.
fn canaries(mut device: Device) {
    let before =
        Before { descriptor: lowest_descriptor(), directory: std::env::current_dir().expect("a working directory") };
    let mut registers = Registers::new(0);
    loop {
        let (header, changed) = registers.wait(&device);
        let payload = device.rest(header);
        let mut found = before.found(header.record_bytes().expect("a record") as u64);
        // As they were at the first wait, before which there was no canary.
        if !changed.is_empty() {
            found.push("registers");
        }
        let canary = crate::word(&payload);
        leave(canary);
        registers = Registers::new(canary);
        let mut answer = found.join(" ").into_bytes();
        if payload.len() > 8 {
            answer.push(b'\n');
            answer.extend_from_slice(&payload);
        }
        device.answer(&answer);
    }
}

impl Before {
    fn found(&self, event_bytes: u64) -> Vec<&'static str> {
        let heap = Vec::<u64>::with_capacity(HEAP_WORDS);
        // SAFETY: the words of the block may be anything; only this function looks at them.
        let is_marked = |at: usize| unsafe { heap.as_ptr().add(at).read_volatile() } >> 48 == MARK;
        let fresh = map(FREED_BYTES);
        let is_fresh = is_zero(fresh, FREED_BYTES);
        unmap(fresh, FREED_BYTES);
        let behind = |area: u64| is_zero(MAILBOX + area, BEHIND_BYTES);
        let behind_event = (MAILBOX + EVENT + event_bytes).next_multiple_of(8);
        let timer = unsafe {
            let mut timer: libc::itimerval = zeroed();
            assert_eq!(libc::getitimer(libc::ITIMER_REAL, &raw mut timer), 0);
            timer.it_value.tv_sec != 0
        };
        let handler = unsafe {
            let mut action: libc::sigaction = zeroed();
            assert_eq!(libc::sigaction(libc::SIGUSR1, null(), &raw mut action), 0);
            action.sa_sigaction != libc::SIG_DFL
        };
        // Closed again before descriptors are looked at.
        let tmp = fs::read_dir("/tmp").expect("/tmp").count();
        let places = [
            ("data", LAST.load(Ordering::Relaxed) != 0),
            ("heap", (0..HEAP_WORDS).any(is_marked)),
            ("stack", !is_zero(DEEP, PAGE_BYTES as usize)),
            ("memory", !is_fresh),
            ("mailbox", !(behind(ANSWER) && behind(LOG) && is_zero(behind_event, BEHIND_BYTES))),
            ("thread", threads() != 1 || BY_THREAD.load(Ordering::Relaxed) != 0),
            ("tmp", tmp != 0),
            ("descriptor", lowest_descriptor() != self.descriptor),
            ("directory", std::env::current_dir().ok().as_ref() != Some(&self.directory)),
            ("environment", std::env::var_os("CANARY").is_some()),
            ("umask", umask(0o022) != 0o022),
            ("handler", handler),
            ("signal", is_pending(libc::SIGUSR2)),
            ("timer", timer),
        ];
        places.iter().filter(|(_, is_found)| *is_found).map(|(name, _)| *name).collect()
    }
}

/// Leaves the canary everywhere but in the registers.
fn leave(canary: u64) {
    LAST.store(canary, Ordering::Relaxed);
    drop(std::hint::black_box(vec![canary; HEAP_WORDS]));
    fill(DEEP, PAGE_BYTES as usize, canary);
    let freed = map(FREED_BYTES);
    fill(freed, FREED_BYTES, canary);
    unmap(freed, FREED_BYTES);
    println!("{canary:x}");
    fs::write("/tmp/canary", canary.to_le_bytes()).expect("a file");
    forget(File::open("/tmp/canary").expect("the file"));
    std::env::set_current_dir("/tmp").expect("the directory");
    // SAFETY: the threads of this program do not look at the environment.
    unsafe { std::env::set_var("CANARY", canary.to_string()) };
    umask(0o077);
    handle(libc::SIGUSR1, count, 0);
    block(libc::SIG_BLOCK, &[libc::SIGUSR2]);
    // After it is blocked, which is inherited: the signal is to stay.
    std::thread::spawn(move || {
        loop {
            BY_THREAD.store(canary, Ordering::Relaxed);
            std::thread::sleep(Duration::from_micros(200));
        }
    });
    assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR2) }, 0);
    unsafe {
        let mut timer: libc::itimerval = zeroed();
        timer.it_value.tv_sec = 3600;
        assert_eq!(libc::setitimer(libc::ITIMER_REAL, &raw const timer, null_mut()), 0);
    }
}

fn fill(at: u64, length: usize, canary: u64) {
    bytes(at, length).chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&canary.to_le_bytes()));
}

fn umask(mask: u64) -> i64 {
    call(libc::SYS_umask, &[mask])
}

/// The number that the next file to be opened gets.
fn lowest_descriptor() -> i32 {
    File::open("/dev/null").expect("a device").as_raw_fd()
}

fn threads() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the status");
    let line = status.lines().find_map(|line| line.strip_prefix("Threads:")).expect("the number of threads");
    line.trim().parse().expect("a number")
}
