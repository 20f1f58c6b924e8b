//! Threads of the program. One runs, the others are frames in memory; who is next is decided here.
//!
//! ```text
//!            block(futex, sleep)              wake, time
//!  running ───────────────────► waiting ───────────────────► ready ──► running
//!     │  block(io)                             something happened
//!     ├──────────────────────► retrying ──────────────────► running, its call is made again
//!     └── exit ──► gone
//! ```
//!
//! The kernel has one stack and keeps no state of a call across a switch: a call that must wait for a pipe is simply made
//! again. A thread runs until it waits; the tick that takes the CPU from a busy one comes with the CPython runtime.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::errno::Errno;
use crate::frame::{Frame, register};
use crate::syscall::call::Resume;

/// Largest number of threads.
pub const THREADS_MAX: usize = 1024;
/// The process, and its first thread.
pub const PROCESS_ID: u32 = 1;
/// `FUTEX_BITSET_MATCH_ANY`.
pub const ANY_BITS: u32 = u32::MAX;

/// All vector registers of a thread that is not running.
#[repr(C, align(64))]
#[derive(Debug, Clone)]
pub struct VectorState(pub [u8; 4096]);

/// What a thread waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: it can run.
    Nothing,
    /// A wake-up on a futex.
    Futex {
        /// Address of the word.
        address: u64,
        /// Which wake-ups count.
        bits: u32,
    },
    /// Only for time to pass.
    Time,
    /// For something to happen after event number `since`; then the call is made again.
    Io {
        /// [`Threads::happened`] when the call found nothing to do.
        since: u64,
    },
}

/// One thread.
#[derive(Debug)]
pub struct Thread {
    /// Its number.
    pub id: u32,
    /// Its registers.
    pub frame: Box<Frame>,
    /// Its other registers; valid while it is not running.
    pub vectors: Box<VectorState>,
    /// Word that is zeroed and woken when the thread ends.
    pub clear_on_exit: u64,
    /// What it waits for.
    pub waiting: Waiting,
    /// When waiting ends in any case, on the guest's monotonic clock.
    pub until_ns: Option<u64>,
    /// What a call on files that is made again has to remember.
    pub resume: Resume,
    /// Whether its call would go on with the next event.
    pub waits_for_event: bool,
    /// Signals that are blocked.
    pub signal_mask: u64,
}

/// Who can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The thread at this index returns to the program.
    Resume(usize),
    /// The thread at this index makes its call again.
    Retry(usize),
    /// Nobody before this time (`u64::MAX`: never).
    Sleep(u64),
}

/// The threads.
#[derive(Debug)]
pub struct Threads {
    all: Vec<Thread>,
    running: usize,
    next_id: u32,
    happened: u64,
}

impl Threads {
    /// The first thread.
    #[must_use]
    pub fn new(frame: Frame) -> Threads {
        let mut all = Vec::with_capacity(8);
        all.push(Thread::new(PROCESS_ID, frame));
        Threads { all, running: 0, next_id: PROCESS_ID + 1, happened: 0 }
    }

    /// The running thread.
    #[must_use]
    pub fn current(&self) -> &Thread {
        &self.all[self.running]
    }

    /// The running thread.
    pub fn current_mut(&mut self) -> &mut Thread {
        &mut self.all[self.running]
    }

    /// The thread at `index`.
    pub fn at_mut(&mut self, index: usize) -> &mut Thread {
        &mut self.all[index]
    }

    /// Index of the running thread.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }

    /// Lets the thread at `index` be the running one.
    pub fn run(&mut self, index: usize) {
        debug_assert!(index < self.all.len());
        self.running = index;
        let thread = &mut self.all[index];
        thread.waiting = Waiting::Nothing;
        thread.until_ns = None;
    }

    /// Number of threads.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Number of threads that could run now.
    #[must_use]
    pub fn runnable(&self) -> usize {
        self.all.iter().filter(|thread| thread.waiting == Waiting::Nothing).count()
    }

    /// Whether there is a thread with that number.
    #[must_use]
    pub fn exists(&self, id: u32) -> bool {
        self.all.iter().any(|thread| thread.id == id)
    }

    /// Whether a thread waits for the next event.
    #[must_use]
    pub fn any_waits_for_event(&self) -> bool {
        self.all.iter().any(|thread| thread.waits_for_event && matches!(thread.waiting, Waiting::Io { .. }))
    }

    /// Adds a thread that can run, and returns its number.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if there are too many.
    pub fn spawn(&mut self, frame: Frame, vectors: VectorState, clear_on_exit: u64) -> Result<u32, Errno> {
        if self.all.len() >= THREADS_MAX {
            return Err(Errno::AGAIN);
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut thread = Thread::new(id, frame);
        *thread.vectors = vectors;
        thread.clear_on_exit = clear_on_exit;
        thread.signal_mask = self.current().signal_mask;
        self.all.push(thread);
        Ok(id)
    }

    /// Removes the running thread. Some other thread must be run next; `false` if there is none.
    pub fn exit(&mut self) -> bool {
        self.all.remove(self.running);
        self.running = self.running.min(self.all.len().saturating_sub(1));
        !self.all.is_empty()
    }

    /// Lets the running thread wait.
    pub fn block(&mut self, waiting: Waiting, until_ns: Option<u64>) {
        let thread = self.current_mut();
        thread.waiting = waiting;
        thread.until_ns = until_ns;
    }

    /// Waiting for anything that a later call of another thread may bring.
    #[must_use]
    pub fn io(&self) -> Waiting {
        Waiting::Io { since: self.happened }
    }

    /// Notes that a call succeeded on which a waiting one may depend.
    pub fn happened(&mut self) {
        self.happened += 1;
    }

    /// Wakes up to `count` threads that wait on the futex at `address`.
    pub fn wake(&mut self, address: u64, count: u32, bits: u32) -> u32 {
        let mut woken = 0;
        for thread in &mut self.all {
            if woken == count {
                break;
            }
            if let Waiting::Futex { address: at, bits: wanted } = thread.waiting
                && at == address
                && wanted & bits != 0
            {
                thread.ready(0);
                woken += 1;
            }
        }
        woken
    }

    /// Moves up to `count` waiters of one futex to another.
    pub fn requeue(&mut self, from: u64, to: u64, count: u32) -> u32 {
        let mut moved = 0;
        for thread in &mut self.all {
            if moved == count {
                break;
            }
            if let Waiting::Futex { address, .. } = &mut thread.waiting
                && *address == from
            {
                *address = to;
                moved += 1;
            }
        }
        moved
    }

    /// Ends the waits whose time has come.
    pub fn expire(&mut self, now_ns: u64) {
        for thread in &mut self.all {
            if thread.until_ns.is_none_or(|until| until > now_ns) {
                continue;
            }
            match thread.waiting {
                Waiting::Futex { .. } => thread.ready((-i64::from(Errno::TIMEDOUT.0)) as u64),
                Waiting::Time => thread.ready(0),
                // The call is made again and finds its deadline passed.
                Waiting::Io { .. } => thread.waiting = Waiting::Io { since: u64::MAX },
                Waiting::Nothing => {}
            }
        }
    }

    /// Who goes on: threads after the running one first, so that all get their turn.
    #[must_use]
    pub fn next(&self) -> Next {
        let count = self.all.len();
        let mut wake = u64::MAX;
        for step in 1..=count {
            let index = (self.running + step) % count;
            let thread = &self.all[index];
            match thread.waiting {
                Waiting::Nothing => return Next::Resume(index),
                Waiting::Io { since } if since != self.happened => return Next::Retry(index),
                _ => wake = wake.min(thread.until_ns.unwrap_or(u64::MAX)),
            }
        }
        Next::Sleep(wake)
    }
}

impl Thread {
    fn new(id: u32, frame: Frame) -> Thread {
        Thread {
            id,
            frame: Box::new(frame),
            vectors: Box::new(VectorState([0; 4096])),
            clear_on_exit: 0,
            waiting: Waiting::Nothing,
            until_ns: None,
            resume: Resume::default(),
            waits_for_event: false,
            signal_mask: 0,
        }
    }

    fn ready(&mut self, result: u64) {
        self.waiting = Waiting::Nothing;
        self.until_ns = None;
        self.frame.registers[register::RAX] = result;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(count: u32) -> Threads {
        let mut threads = Threads::new(Frame::starting_at(0, 0));
        for _ in 1..count {
            threads.spawn(Frame::starting_at(0, 0), VectorState([0; 4096]), 0).unwrap();
        }
        threads
    }

    #[test]
    fn turns_go_round() {
        let mut threads = threads(3);
        let order: Vec<_> = (0..4)
            .map(|_| {
                let Next::Resume(index) = threads.next() else { panic!("all can run") };
                threads.run(index);
                index
            })
            .collect();
        assert_eq!(order, [1, 2, 0, 1]);
    }

    #[test]
    fn a_futex_wakes_only_its_waiters() {
        let mut threads = threads(2);
        threads.block(Waiting::Futex { address: 8, bits: 1 }, None);
        assert_eq!(threads.wake(16, 1, ANY_BITS), 0);
        assert_eq!(threads.wake(8, 1, 2), 0);
        assert_eq!(threads.wake(8, 1, 3), 1);
        assert_eq!(threads.runnable(), 2);
    }

    #[test]
    fn a_wait_ends_in_a_timeout() {
        let mut threads = threads(1);
        threads.block(Waiting::Futex { address: 8, bits: 1 }, Some(100));
        assert_eq!(threads.next(), Next::Sleep(100));
        threads.expire(99);
        assert_eq!(threads.next(), Next::Sleep(100));
        threads.expire(100);
        assert_eq!(threads.next(), Next::Resume(0));
        assert_eq!(threads.current().frame.registers[register::RAX] as i64, -110);
    }

    #[test]
    fn a_blocked_call_is_made_again_when_something_happened() {
        let mut threads = threads(1);
        let waiting = threads.io();
        threads.block(waiting, None);
        assert_eq!(threads.next(), Next::Sleep(u64::MAX));
        threads.happened();
        assert_eq!(threads.next(), Next::Retry(0));
    }

    #[test]
    fn too_many_threads_are_refused() {
        let mut threads = threads(THREADS_MAX as u32);
        assert_eq!(threads.spawn(Frame::starting_at(0, 0), VectorState([0; 4096]), 0), Err(Errno::AGAIN));
    }
}
