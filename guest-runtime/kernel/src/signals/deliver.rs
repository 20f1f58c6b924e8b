//! Delivering: what happens to the running thread before it returns to the program.

use mayfly_abi::hypercall::EXIT_KILLED;

use super::frame::{Context, SignalFrame};
use super::{Action, Effect, Info, bit, flag, number};
use crate::errno::Errno;
use crate::frame::register;
use crate::syscall::number as call;
use crate::system::{Machine, System, store_timespec};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// The thread goes on, in a handler or where it was.
    GoOn,
    /// The program ends with this status.
    End(u64),
}

/// Bytes below the stack pointer that belong to the interrupted function.
const RED_ZONE_BYTES: u64 = 128;
/// Bytes of a `syscall` instruction.
const SYSCALL_BYTES: u64 = 2;

impl System {
    /// Lets the running thread, whose registers are loaded, take what is pending for it.
    pub fn deliver(&mut self, machine: &mut impl Machine) -> Delivered {
        loop {
            let thread = self.threads.current();
            let (id, mask) = (thread.id, thread.signal_mask);
            let Some(info) = self.signals.queue.take(id, !mask) else {
                self.finish_interrupted(None);
                // What a call changed for the time of its wait.
                match self.threads.current_mut().saved_mask.take() {
                    Some(mask) => self.threads.current_mut().signal_mask = mask,
                    None => return Delivered::GoOn,
                }
                self.pass_signals_on(false);
                continue;
            };
            match self.signals.effect(info.signal) {
                Effect::Ignored => {}
                Effect::Ends => return Delivered::End(EXIT_KILLED + info.signal),
                Effect::Handled => {
                    let action = self.signals.action(info.signal);
                    self.write_time_left(machine);
                    self.finish_interrupted(Some(action));
                    if self.enter_handler(machine, &info, action, Context::default()).is_err() {
                        return Delivered::End(EXIT_KILLED + number::SEGMENT);
                    }
                }
            }
        }
    }

    /// Has the running thread a handler for a fault, and may it run now?
    #[must_use]
    pub fn can_handle(&self, signal: u64) -> bool {
        let is_blocked = self.threads.current().signal_mask & bit(signal) != 0;
        !is_blocked && self.signals.effect(signal) == Effect::Handled
    }

    /// Lets the running thread's handler run for a fault of its own; `false` if it has none that can.
    pub fn deliver_fault(&mut self, machine: &mut impl Machine, info: &Info, context: Context) -> bool {
        self.can_handle(info.signal)
            && self.enter_handler(machine, info, self.signals.action(info.signal), context).is_ok()
    }

    /// `rt_sigreturn`: the frame below the stack pointer is what the thread goes on with.
    ///
    /// # Errors
    /// [`Errno::FAULT`] if it cannot be: the program must end.
    pub fn leave_handler(&mut self, machine: &mut impl Machine) -> Result<(), Errno> {
        let thread = self.threads.current_mut();
        let address = thread.frame.registers[register::RSP].wrapping_sub(8);
        let saved = SignalFrame::load(machine, address)?;
        saved.restore(&mut thread.frame)?;
        let mut vectors = machine.clean_vectors();
        saved.load_vectors(machine, &mut vectors)?;
        thread.frame.xmm = vectors.xmm();
        machine.set_vectors(&vectors);
        thread.signal_mask = saved.mask() & !super::UNBLOCKABLE;
        thread.signal_stack = saved.stack().unwrap_or(thread.signal_stack);
        thread.interrupted = None;
        self.pass_signals_on(false);
        Ok(())
    }

    fn enter_handler(
        &mut self,
        machine: &mut impl Machine,
        info: &Info,
        action: Action,
        context: Context,
    ) -> Result<(), Errno> {
        let thread = self.threads.current_mut();
        let stack_pointer = thread.frame.registers[register::RSP];
        let stack = thread.signal_stack;
        let uses_stack = action.flags & flag::ON_STACK != 0 && stack.bytes > 0 && !stack.holds(stack_pointer);
        let top = match uses_stack {
            true => stack.base.wrapping_add(stack.bytes),
            false => stack_pointer.wrapping_sub(RED_ZONE_BYTES),
        };
        machine.save_vectors(&mut thread.vectors);
        thread.vectors.set_xmm(&thread.frame.xmm);
        let mask = thread.saved_mask.take().unwrap_or(thread.signal_mask);
        let mut frame = SignalFrame::new(&thread.frame, info, action.restorer, context);
        frame.set_mask(mask);
        frame.set_stack(stack.to_words(stack_pointer));
        let address = frame.store(machine, top, &thread.vectors)?;
        let is_on_stack = uses_stack || stack.holds(stack_pointer);
        if is_on_stack && address < stack.base {
            return Err(Errno::FAULT);
        }
        frame.enter(&mut thread.frame, address, action.handler);
        // A handler starts with clean vector registers.
        let clean = machine.clean_vectors();
        thread.frame.xmm = clean.xmm();
        machine.set_vectors(&clean);
        let deferred = if action.flags & flag::NO_DEFER == 0 { bit(info.signal) } else { 0 };
        thread.signal_mask |= (action.mask | deferred) & !super::UNBLOCKABLE;
        if stack.disarms {
            thread.signal_stack = super::Stack::default();
        }
        if action.flags & flag::RESET != 0 {
            self.signals.set_action(info.signal, Action { handler: 0, ..action });
        }
        self.pass_signals_on(false);
        Ok(())
    }

    /// A call that a signal interrupted is made again if the handler was set so and the call is one of those, or if there was no handler
    /// to run after all; else it has failed with `EINTR` already.
    fn finish_interrupted(&mut self, handler: Option<Action>) {
        let thread = self.threads.current_mut();
        let Some(interrupted) = thread.interrupted.take() else { return };
        let restarts = handler.is_none_or(|action| action.flags & flag::RESTART != 0 && interrupted.can_restart);
        if restarts {
            thread.frame.registers[register::RAX] = interrupted.call;
            thread.frame.rip = thread.frame.rip.wrapping_sub(SYSCALL_BYTES);
        }
    }

    /// An interrupted sleep says how much of it was left.
    fn write_time_left(&mut self, machine: &mut impl Machine) {
        let Some(interrupted) = self.threads.current().interrupted else { return };
        let frame = &self.threads.current().frame;
        let (_, arguments) = frame.system_call();
        let address = match interrupted.call {
            call::NANOSLEEP => arguments[1],
            call::CLOCK_NANOSLEEP if arguments[1] & 1 == 0 => arguments[3],
            _ => 0,
        };
        if let (Some(until), true) = (interrupted.until_ns, address != 0) {
            let left = until.saturating_sub(self.now_ns(machine));
            // A bad pointer is the program's own trouble: the call has failed anyway.
            let _ = store_timespec(machine, address, left);
        }
    }
}
