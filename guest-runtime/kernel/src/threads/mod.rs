//! Threads of the program. One runs, the others are frames in memory; who is next is decided here.
//!
//! ```text
//!            block(futex, sleep, signals)     wake, time, signal
//!  running ───────────────────► waiting ───────────────────► ready ──► running
//!     │  block(io)                             something happened
//!     ├──────────────────────► retrying ──────────────────► running, its call is made again
//!     └── exit ──► gone
//! ```
//!
//! The kernel has one stack and keeps no state of a call across a switch: a call that must wait for a pipe is simply made
//! again. A thread runs until it waits, or until a tick of the host's lets another have its turn.

#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::errno::Errno;
use crate::frame::{Frame, register};
use crate::signals::{Set, Stack};
use crate::syscall::call::Resume;
use crate::syscall::number;
pub use crate::vectors::VectorState;

/// Largest number of threads.
pub const THREADS_MAX: usize = 1024;
/// The process, and its first thread.
pub const PROCESS_ID: u32 = 1;
/// `FUTEX_BITSET_MATCH_ANY`.
pub const ANY_BITS: u32 = u32::MAX;

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
    /// For a signal that has a handler.
    Signal,
    /// For a signal of this set to take; then the call is made again.
    Signals {
        /// The set.
        wanted: Set,
    },
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
    /// The call under way, or the last one.
    pub call: u64,
    /// Signals that are blocked.
    pub signal_mask: Set,
    /// Signals that were blocked before a call that waits with others (`sigsuspend`, `ppoll`, …).
    pub saved_mask: Option<Set>,
    /// Stack for handlers.
    pub signal_stack: Stack,
    /// The call that a signal interrupted, until the signal is delivered.
    pub interrupted: Option<Interrupted>,
    /// CPU time that it has used in its turns before this one.
    pub used_ns: u64,
    /// List of robust futexes (`set_robust_list`); 0: none.
    pub robust_list: u64,
}

/// A call that failed with `EINTR`, unless it is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted {
    /// Its number.
    pub call: u64,
    /// When its wait would have ended.
    pub until_ns: Option<u64>,
    /// Is it made again after a handler with `SA_RESTART`?
    pub can_restart: bool,
}

/// Calls that fail with `EINTR` whatever the handler was set to (signal(7)). Any other with a timeout does, too.
const NEVER_RESTARTED: [u64; 12] = [
    number::POLL,
    number::PPOLL,
    number::SELECT,
    number::PSELECT6,
    number::EPOLL_WAIT,
    number::EPOLL_PWAIT,
    number::EPOLL_PWAIT2,
    number::NANOSLEEP,
    number::CLOCK_NANOSLEEP,
    number::PAUSE,
    number::RT_SIGSUSPEND,
    number::RT_SIGTIMEDWAIT,
];

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

    /// The thread with that number.
    pub fn find_mut(&mut self, id: u32) -> Option<&mut Thread> {
        self.all.iter_mut().find(|thread| thread.id == id)
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
    pub fn spawn(&mut self, frame: Frame, clear_on_exit: u64) -> Result<&mut Thread, Errno> {
        if self.all.len() >= THREADS_MAX {
            return Err(Errno::AGAIN);
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut thread = Thread::new(id, frame);
        thread.clear_on_exit = clear_on_exit;
        thread.signal_mask = self.current().signal_mask;
        let at = self.all.len();
        self.all.push(thread);
        Ok(&mut self.all[at])
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

    /// The thread that takes a signal of the process: the first one if it does not block it, else any that does not.
    #[must_use]
    pub fn taker(&self, set: Set) -> Option<u32> {
        let takes = |thread: &&Thread| match thread.waiting {
            Waiting::Signals { wanted } if wanted & set != 0 => true,
            _ => thread.signal_mask & set == 0,
        };
        self.all.iter().filter(takes).map(|thread| thread.id).min()
    }

    /// Does the thread block it?
    #[must_use]
    pub fn blocks(&self, id: u32, set: Set) -> bool {
        self.all.iter().any(|thread| thread.id == id && thread.signal_mask & set != 0)
    }

    /// What a thread waits for.
    #[must_use]
    pub fn waiting_of(&self, id: u32) -> Option<Waiting> {
        self.all.iter().find(|thread| thread.id == id).map(|thread| thread.waiting)
    }

    /// Ends the wait of a thread for which a signal of this set came, unless it blocks it.
    pub fn interrupt(&mut self, id: u32, set: Set) {
        if let Some(thread) = self.find_mut(id) {
            thread.interrupt(set);
        }
    }

    /// Lets the running thread's call fail as if a signal had come while it waited.
    pub fn interrupt_current(&mut self, waiting: Waiting, until_ns: Option<u64>) {
        self.block(waiting, until_ns);
        self.current_mut().fail();
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
                Waiting::Io { .. } | Waiting::Signals { .. } => thread.waiting = Waiting::Io { since: u64::MAX },
                Waiting::Nothing | Waiting::Signal => {}
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
            vectors: Box::default(),
            clear_on_exit: 0,
            waiting: Waiting::Nothing,
            until_ns: None,
            resume: Resume::default(),
            waits_for_event: false,
            call: 0,
            signal_mask: 0,
            saved_mask: None,
            signal_stack: Stack::default(),
            interrupted: None,
            used_ns: 0,
            robust_list: 0,
        }
    }

    fn interrupt(&mut self, set: Set) {
        match self.waiting {
            Waiting::Nothing => {}
            Waiting::Signals { wanted } if wanted & set != 0 => self.waiting = Waiting::Io { since: u64::MAX },
            _ if self.signal_mask & set == set => {}
            _ => self.fail(),
        }
    }

    /// The wait fails with `EINTR`.
    fn fail(&mut self) {
        if self.resume.done_bytes > 0 {
            return self.ready(self.resume.done_bytes);
        }
        let until_ns = self.until_ns;
        let can_restart = until_ns.is_none() && !NEVER_RESTARTED.contains(&self.call);
        self.interrupted = Some(Interrupted { call: self.call, until_ns, can_restart });
        self.ready((-i64::from(Errno::INTR.0)) as u64);
    }

    fn ready(&mut self, result: u64) {
        self.waiting = Waiting::Nothing;
        self.until_ns = None;
        self.resume = Resume::default();
        self.waits_for_event = false;
        self.frame.registers[register::RAX] = result;
    }
}
