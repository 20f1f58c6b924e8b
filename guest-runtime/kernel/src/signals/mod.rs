//! Signals: what the program asked for each, which are pending, and how they reach a thread.
//!
//! ```text
//! kill, tgkill, timers ──► queue ──► a thread that does not block it ──► handler, on a frame as Linux lays it out
//! exceptions ─────────────────────►  the thread that caused it      └──► ignored, or the program ends
//! ```
//!
//! A signal is delivered when its thread returns to the program, never in between. Stopping means nothing to a program that nobody could
//! continue: signals that stop are ignored.

mod deliver;
pub mod fault;
pub mod frame;
mod queue;
mod send;
#[cfg(test)]
mod tests;

pub use deliver::Delivered;
pub use queue::{Info, Queue, code};
pub use send::Target;

/// Number of signals; the first is 1.
pub const SIGNALS: u64 = 64;

/// A set of signals, one bit each.
pub type Set = u64;

/// Numbers of signals.
pub mod number {
    /// `SIGILL`.
    pub const ILLEGAL: u64 = 4;
    /// `SIGTRAP`.
    pub const TRAP: u64 = 5;
    /// `SIGBUS`.
    pub const BUS: u64 = 7;
    /// `SIGFPE`.
    pub const ARITHMETIC: u64 = 8;
    /// `SIGKILL`.
    pub const KILL: u64 = 9;
    /// `SIGSEGV`.
    pub const SEGMENT: u64 = 11;
    /// `SIGPIPE`.
    pub const PIPE: u64 = 13;
    /// `SIGALRM`.
    pub const ALARM: u64 = 14;
    /// `SIGCHLD`.
    pub const CHILD: u64 = 17;
    /// `SIGCONT`.
    pub const CONTINUE: u64 = 18;
    /// `SIGSTOP`.
    pub const STOP: u64 = 19;
    /// `SIGTSTP`.
    pub const TERMINAL_STOP: u64 = 20;
    /// `SIGTTIN`.
    pub const TERMINAL_INPUT: u64 = 21;
    /// `SIGTTOU`.
    pub const TERMINAL_OUTPUT: u64 = 22;
    /// `SIGURG`.
    pub const URGENT: u64 = 23;
    /// `SIGVTALRM`.
    pub const VIRTUAL_ALARM: u64 = 26;
    /// `SIGPROF`.
    pub const PROFILE: u64 = 27;
    /// `SIGWINCH`.
    pub const WINDOW: u64 = 28;
    /// First of the real-time signals, which queue.
    pub const REAL_TIME: u64 = 32;
}

/// The set of one signal.
#[must_use]
pub const fn bit(signal: u64) -> Set {
    1 << (signal - 1)
}

/// What no thread can block, catch or ignore.
pub const UNBLOCKABLE: Set = bit(number::KILL) | bit(number::STOP);

/// Ignored unless there is a handler.
const IGNORED_BY_DEFAULT: Set = bit(number::CHILD)
    | bit(number::CONTINUE)
    | bit(number::URGENT)
    | bit(number::WINDOW)
    | bit(number::STOP)
    | bit(number::TERMINAL_STOP)
    | bit(number::TERMINAL_INPUT)
    | bit(number::TERMINAL_OUTPUT);

/// Flags of an action, as in `sigaction`.
pub mod flag {
    /// `SA_ONSTACK`.
    pub const ON_STACK: u64 = 0x0800_0000;
    /// `SA_RESTART`.
    pub const RESTART: u64 = 0x1000_0000;
    /// `SA_NODEFER`.
    pub const NO_DEFER: u64 = 0x4000_0000;
    /// `SA_RESETHAND`.
    pub const RESET: u64 = 0x8000_0000;
}

const DEFAULT: u64 = 0;
const IGNORE: u64 = 1;

/// What the program asked for a signal: the kernel's `struct sigaction`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Action {
    /// Address, or 0 for the default, or 1 to ignore it.
    pub handler: u64,
    /// [`flag`].
    pub flags: u64,
    /// Where the handler returns to: code that calls `rt_sigreturn`.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: Set,
}

impl Action {
    /// Size of the structure.
    pub const BYTES: usize = 32;

    /// The action that `bytes` hold.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Action::BYTES]) -> Action {
        let word = |at: usize| crate::syscall::call::word_at(bytes, at);
        Action { handler: word(0), flags: word(8), restorer: word(16), mask: word(24) & !UNBLOCKABLE }
    }

    /// The structure's bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Action::BYTES] {
        let mut bytes = [0; Action::BYTES];
        for (slot, word) in bytes.chunks_exact_mut(8).zip([self.handler, self.flags, self.restorer, self.mask]) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// What a signal does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Ignored,
    /// The program ends.
    Ends,
    /// Its handler runs.
    Handled,
}

/// The actions and what is pending.
#[derive(Debug)]
pub struct Signals {
    actions: [Action; SIGNALS as usize],
    /// What is pending.
    pub queue: Queue,
}

impl Default for Signals {
    fn default() -> Signals {
        Signals { actions: [Action::default(); SIGNALS as usize], queue: Queue::default() }
    }
}

impl Signals {
    /// The action for a signal, which is 1 to 64.
    #[must_use]
    pub fn action(&self, signal: u64) -> Action {
        self.actions[(signal - 1) as usize]
    }

    /// Sets it. What is pending and ignored from now on goes away.
    pub fn set_action(&mut self, signal: u64, action: Action) {
        self.actions[(signal - 1) as usize] = action;
        if self.effect(signal) == Effect::Ignored {
            self.queue.forget(signal);
        }
    }

    /// What the signal does.
    #[must_use]
    pub fn effect(&self, signal: u64) -> Effect {
        match self.action(signal).handler {
            _ if signal == number::KILL => Effect::Ends,
            _ if signal == number::STOP => Effect::Ignored,
            DEFAULT if IGNORED_BY_DEFAULT & bit(signal) != 0 => Effect::Ignored,
            DEFAULT => Effect::Ends,
            IGNORE => Effect::Ignored,
            _ => Effect::Handled,
        }
    }
}

/// The stack that a thread set aside for handlers: `stack_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stack {
    /// Lowest address.
    pub base: u64,
    /// Size; 0: there is none.
    pub bytes: u64,
    /// Whether it is taken away while a handler runs (`SS_AUTODISARM`).
    pub disarms: bool,
}

impl Stack {
    const ON_STACK: u64 = 1;
    const DISABLED: u64 = 2;
    const AUTO_DISARM: u64 = 1 << 31;

    /// Is this stack pointer on it?
    #[must_use]
    pub fn holds(&self, stack_pointer: u64) -> bool {
        !self.disarms && stack_pointer > self.base && stack_pointer - self.base <= self.bytes
    }

    /// As `stack_t`, for a thread whose stack pointer is that.
    #[must_use]
    pub fn to_words(&self, stack_pointer: u64) -> [u64; 3] {
        let state = match self.bytes {
            0 => Stack::DISABLED,
            _ if self.holds(stack_pointer) => Stack::ON_STACK,
            _ => 0,
        };
        [self.base, state | if self.disarms { Stack::AUTO_DISARM } else { 0 }, self.bytes]
    }

    /// The stack that a `stack_t` describes; `None` for flags that do not exist.
    #[must_use]
    pub fn from_words([base, flags, bytes]: [u64; 3]) -> Option<Stack> {
        let (flags, disarms) = (flags as u32 as u64 & !Stack::AUTO_DISARM, flags & Stack::AUTO_DISARM != 0);
        match flags {
            Stack::DISABLED => Some(Stack::default()),
            0 | Stack::ON_STACK => Some(Stack { base, bytes, disarms }),
            _ => None,
        }
    }
}
