//! Processors that do not fall asleep between the steps of invocations.
//!
//! An invocation goes from the client to a thread of the server, to a machine, and back the same way. Where nothing else is to do, each step wakes a processor
//! that has just fallen asleep: 40 µs each in a virtual machine, more than the work. So while invocations come and go, a thread on each processor
//! keeps it busy with nothing. The thread is of the lowest class there is, `SCHED_IDLE`: whatever else wants to run does so at once, and Linux takes such a processor
//! for an idle one. It begins when one invocation follows the end of another at once, and stops when none has begun or ended for a while, and where the
//! processor is busy anyway (`docs/decisions/0018-processors-are-kept-awake.md`).

use std::{
    hint::spin_loop,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Time after the last step of an invocation, if nothing else was asked for.
pub const DEFAULT: Duration = Duration::from_micros(300);
/// Most processors of which all are kept awake if nothing was asked for: where there are many, one that is awake is found less often.
pub const PROCESSORS_MAX: usize = 4;

/// Of each such time…
const WINDOW: Duration = Duration::from_millis(4);
/// … others may have this part; else the processor is busy, and…
const OTHERS_MAX: f64 = 0.95;
/// … is left alone for so long.
const BUSY: Duration = Duration::from_millis(10);
/// Time between two looks at the clock that is longer than this was another's.
const GAP: Duration = Duration::from_micros(5);

/// Keeps processors awake, until it is dropped.
#[derive(Default)]
pub struct Awake(Option<(Arc<Shared>, Vec<JoinHandle<()>>)>);

struct Shared {
    linger: Duration,
    start: Instant,
    /// Time of the last step, in nanoseconds since the start.
    last_ns: AtomicU64,
    /// Some thread sleeps, or is about to.
    is_resting: AtomicBool,
    has_ended: AtomicBool,
}

impl Awake {
    /// Starts a thread on each processor of this one; with no `linger`, none.
    ///
    /// # Errors
    /// There are no more threads to have, or none may have the class.
    pub fn start(linger: Duration) -> io::Result<Awake> {
        if linger.is_zero() {
            return Ok(Awake::default());
        }
        let start = Instant::now();
        let shared = Arc::new(Shared {
            linger,
            start,
            last_ns: AtomicU64::new(0),
            is_resting: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        });
        let mine = sched_getaffinity(None)?;
        let mut threads = Vec::new();
        for cpu in (0..CpuSet::MAX_CPU).filter(|&cpu| mine.is_set(cpu)) {
            let shared = Arc::clone(&shared);
            let run = move || {
                let mut set = CpuSet::new();
                set.set(cpu);
                if sched_setaffinity(None, &set).is_ok() && become_idle() {
                    shared.keep_awake();
                }
            };
            threads.push(thread::Builder::new().name("mayfly-awake".into()).spawn(run)?);
        }
        Ok(Awake(Some((shared, threads))))
    }

    /// An invocation begins. If the one before has just ended, others will follow: one that comes alone is not worth a wake-up of every processor.
    pub fn begins(&self) {
        let Some((shared, threads)) = &self.0 else { return };
        let follows = shared.is_time();
        shared.step();
        if follows && shared.is_resting.load(Ordering::SeqCst) && shared.is_resting.swap(false, Ordering::SeqCst) {
            threads.iter().for_each(|thread| thread.thread().unpark());
        }
    }

    /// An invocation has ended.
    pub fn ends(&self) {
        if let Some((shared, _)) = &self.0 {
            shared.step();
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        let Some((shared, threads)) = self.0.take() else { return };
        shared.has_ended.store(true, Ordering::SeqCst);
        for thread in threads {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn step(&self) {
        self.last_ns.store(self.start.elapsed().as_nanos() as u64, Ordering::SeqCst);
    }

    fn keep_awake(&self) {
        while !self.has_ended.load(Ordering::SeqCst) {
            if self.is_time() {
                if !self.spin() {
                    thread::park_timeout(BUSY);
                }
                continue;
            }
            self.is_resting.store(true, Ordering::SeqCst);
            // A step between the look and the note has seen no note.
            if !self.is_time() {
                thread::park();
            }
        }
    }

    /// Whether the last step was so lately that another is expected.
    fn is_time(&self) -> bool {
        let last = Duration::from_nanos(self.last_ns.load(Ordering::SeqCst));
        last > Duration::ZERO && self.start.elapsed() < last + self.linger
    }

    /// Computes nothing, for a while at most; whether the processor would have slept for a good part of that.
    fn spin(&self) -> bool {
        let begin = Instant::now();
        let (mut before, mut others) = (begin, Duration::ZERO);
        while self.is_time() {
            for _ in 0..16 {
                spin_loop();
            }
            let now = Instant::now();
            let passed = now - before;
            before = now;
            if passed > GAP {
                others += passed;
            }
            if now - begin >= WINDOW {
                return others < (now - begin).mul_f64(OTHERS_MAX);
            }
        }
        true
    }
}

/// Lets this thread run only where nothing else wants to.
#[expect(unsafe_code, reason = "no safe crate of ours has this call")]
fn become_idle() -> bool {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: it reads the parameters, and changes the calling thread's class.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scheduling classes of the threads of this process that keep processors awake.
    fn classes() -> Vec<i32> {
        let mut classes = Vec::new();
        for task in std::fs::read_dir("/proc/self/task").expect("this is Linux").flatten() {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            if let Some(rest) = stat.split_once("(mayfly-awake)").map(|(_, rest)| rest) {
                // The 41st word, counted with the two before.
                classes.extend(rest.split_ascii_whitespace().nth(38).and_then(|class| class.parse::<i32>().ok()));
            }
        }
        classes
    }

    #[test]
    fn a_thread_on_each_processor_of_the_lowest_class_until_it_is_dropped() {
        let none = Awake::start(Duration::ZERO).expect("it starts");
        none.begins();
        none.ends();
        assert!(classes().is_empty());
        let awake = Awake::start(Duration::from_secs(600)).expect("it starts");
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let begin = Instant::now();
        while classes() != vec![libc::SCHED_IDLE; processors] {
            assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", classes());
            awake.begins();
            awake.ends();
            thread::yield_now();
        }
        drop(awake);
        assert!(classes().is_empty(), "though another step was to come");
    }

    #[test]
    fn it_is_over_soon_after_the_last_step() {
        let shared = |linger| Shared {
            linger,
            start: Instant::now().checked_sub(Duration::from_secs(60)).expect("the host is up"),
            last_ns: AtomicU64::new(0),
            is_resting: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        };
        let (short, long) = (shared(Duration::from_secs(1)), shared(Duration::from_secs(600)));
        assert!(!short.is_time() && !long.is_time(), "before the first step");
        for one in [&short, &long] {
            one.last_ns.store(Duration::from_secs(50).as_nanos() as u64, Ordering::SeqCst);
        }
        assert!(!short.is_time() && long.is_time());
        assert!(short.spin(), "at once");
    }
}
