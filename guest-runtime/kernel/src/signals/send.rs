//! Who gets a signal, and waking it up.

use super::{Effect, Info, SIGNALS, Set, bit};
use crate::errno::Errno;
use crate::system::System;
use crate::threads::Waiting;

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Any thread that does not block it.
    Process,
    /// This thread.
    Thread(u32),
}

impl System {
    /// Sends a signal.
    ///
    /// # Errors
    /// [`Errno::SRCH`] if there is no such thread, [`Errno::INVAL`] for a number that is no signal, [`Errno::AGAIN`] if too many are pending.
    pub fn send(&mut self, target: Target, info: Info) -> Result<(), Errno> {
        if let Target::Thread(id) = target
            && !self.threads.exists(id)
        {
            return Err(Errno::SRCH);
        }
        match info.signal {
            0 => return Ok(()),
            1..=SIGNALS => {}
            _ => return Err(Errno::INVAL),
        }
        let set = bit(info.signal);
        let thread = match target {
            Target::Thread(id) => Some(id),
            Target::Process => self.threads.taker(set),
        };
        // What is blocked is kept even if it is ignored now: that may change before it is taken.
        let is_blocked = thread.is_none_or(|id| self.threads.blocks(id, set));
        if self.signals.effect(info.signal) == Effect::Ignored && !is_blocked && !self.is_awaited(thread, set) {
            return Ok(());
        }
        if !self.signals.queue.add(info, thread, target == Target::Process) {
            return Err(Errno::AGAIN);
        }
        if let Some(id) = thread {
            self.threads.interrupt(id, set);
        }
        Ok(())
    }

    fn is_awaited(&self, thread: Option<u32>, set: Set) -> bool {
        thread.and_then(|id| self.threads.waiting_of(id)).is_some_and(|waiting| match waiting {
            Waiting::Signals { wanted } => wanted & set != 0,
            _ => false,
        })
    }

    /// After the running thread's mask changed, or when it ends: signals for the process that it will not take may be for others, and ones
    /// that nobody took may be for it.
    pub fn pass_signals_on(&mut self, is_gone: bool) {
        if self.signals.queue.is_empty() {
            return;
        }
        let thread = self.threads.current();
        let (id, blocked) = (thread.id, if is_gone { u64::MAX } else { thread.signal_mask });
        self.signals.queue.pass_on(id, blocked, is_gone);
        let mut unassigned = self.signals.queue.unassigned();
        while unassigned != 0 {
            let signal = u64::from(unassigned.trailing_zeros()) + 1;
            unassigned &= !bit(signal);
            if let Some(taker) = self.threads.taker(bit(signal)).filter(|&taker| !(is_gone && taker == id)) {
                self.signals.queue.assign(signal, taker);
                self.threads.interrupt(taker, bit(signal));
            }
        }
    }

    /// Would the running thread take a signal now, one that does something?
    #[must_use]
    pub fn has_signal(&self) -> bool {
        if self.signals.queue.is_empty() {
            return false;
        }
        let thread = self.threads.current();
        let mut pending = self.signals.queue.set(thread.id) & !thread.signal_mask;
        while pending != 0 {
            let signal = u64::from(pending.trailing_zeros()) + 1;
            if self.signals.effect(signal) != Effect::Ignored {
                return true;
            }
            pending &= !bit(signal);
        }
        false
    }
}
