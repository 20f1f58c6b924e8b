//! Pending signals, in the order in which they came.

use alloc::vec::Vec;

use super::{SIGNALS, Set, bit, number};

/// Most signals that can be pending (`RLIMIT_SIGPENDING`).
pub const PENDING_MAX: usize = 1024;

/// Where a signal came from, as `si_code`.
pub mod code {
    /// `kill`.
    pub const USER: i32 = 0;
    /// The kernel.
    pub const KERNEL: i32 = 0x80;
    /// `sigqueue`.
    pub const QUEUE: i32 = -1;
    /// A timer of `timer_create`.
    pub const TIMER: i32 = -2;
    /// `tgkill`.
    pub const THREAD: i32 = -6;
}

/// What a handler is told: `siginfo_t`, as far as any signal here fills it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Info {
    /// The signal.
    pub signal: u64,
    /// [`code`].
    pub code: i32,
    /// The fields that depend on the kind, from offset 16 on: sender and value, timer and overruns, or an address.
    pub fields: [u64; 3],
}

impl Info {
    /// Size of a `siginfo_t`.
    pub const BYTES: usize = 128;

    /// Sent by the program.
    #[must_use]
    pub fn sent(signal: u64, code: i32) -> Info {
        // Process 1, user 0.
        Info { signal, code, fields: [crate::threads::PROCESS_ID.into(), 0, 0] }
    }

    /// As `siginfo_t`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Info::BYTES] {
        let mut bytes = [0; Info::BYTES];
        bytes[..4].copy_from_slice(&(self.signal as u32).to_le_bytes());
        bytes[8..12].copy_from_slice(&self.code.to_le_bytes());
        for (slot, field) in bytes[16..].chunks_exact_mut(8).zip(self.fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// What a `siginfo_t` says about `signal`.
    #[must_use]
    pub fn from_bytes(signal: u64, bytes: &[u8; Info::BYTES]) -> Info {
        let word = |at: usize| crate::syscall::call::word_at(bytes, at);
        Info { signal, code: word(8) as i32, fields: [word(16), word(24), word(32)] }
    }
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    info: Info,
    /// The thread that takes it; `None`: the first that does not block it.
    thread: Option<u32>,
    /// Was it sent to the process? Then another thread may take it in place of that one.
    is_for_all: bool,
}

/// What is pending.
#[derive(Debug, Default)]
pub struct Queue {
    pending: Vec<Pending>,
}

impl Queue {
    /// Is nothing pending? Asked at each return to the program.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Adds a signal for a thread, or for the process with the thread that shall take it, if there is one that would. An ordinary signal that
    /// is pending already is not added again. `false`: there is no room.
    pub fn add(&mut self, info: Info, thread: Option<u32>, is_for_all: bool) -> bool {
        let is_alike = |other: &Pending| {
            other.info.signal == info.signal && other.is_for_all == is_for_all && (is_for_all || other.thread == thread)
        };
        if info.signal < number::REAL_TIME && self.pending.iter().any(is_alike) {
            return true;
        }
        if self.pending.len() >= PENDING_MAX {
            return false;
        }
        self.pending.push(Pending { info, thread, is_for_all });
        true
    }

    /// Signals that this thread could take.
    #[must_use]
    pub fn set(&self, thread: u32) -> Set {
        let mine = |pending: &&Pending| pending.thread.is_none_or(|id| id == thread);
        self.pending.iter().filter(mine).fold(0, |set, pending| set | bit(pending.info.signal))
    }

    /// Takes the signal with the lowest number that this thread can take and that is in `wanted`.
    pub fn take(&mut self, thread: u32, wanted: Set) -> Option<Info> {
        let signal = u64::from((self.set(thread) & wanted).trailing_zeros()) + 1;
        if signal > SIGNALS {
            return None;
        }
        let found = |pending: &Pending| pending.info.signal == signal && pending.thread.is_none_or(|id| id == thread);
        let index = self.pending.iter().position(found)?;
        Some(self.pending.remove(index).info)
    }

    /// What was meant for a thread that blocks `blocked` now, or is gone, is for the first thread that does not; its own signals go with it.
    pub fn pass_on(&mut self, thread: u32, blocked: Set, is_gone: bool) {
        self.pending.retain_mut(|pending| {
            if pending.thread == Some(thread) && pending.is_for_all && blocked & bit(pending.info.signal) != 0 {
                pending.thread = None;
            }
            !(is_gone && pending.thread == Some(thread))
        });
    }

    /// Signals that are for the process and have no thread yet.
    #[must_use]
    pub fn unassigned(&self) -> Set {
        let free = self.pending.iter().filter(|pending| pending.thread.is_none());
        free.fold(0, |set, pending| set | bit(pending.info.signal))
    }

    /// Gives those of one number to a thread.
    pub fn assign(&mut self, signal: u64, thread: u32) {
        for pending in self.pending.iter_mut().filter(|pending| pending.thread.is_none()) {
            if pending.info.signal == signal {
                pending.thread = Some(thread);
            }
        }
    }

    /// Drops a signal, which is ignored from now on.
    pub fn forget(&mut self, signal: u64) {
        self.pending.retain(|pending| pending.info.signal != signal);
    }
}
