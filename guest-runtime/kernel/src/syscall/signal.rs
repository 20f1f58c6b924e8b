//! Signals: actions, masks, sending, waiting.

use crate::errno::Errno;
use crate::frame::register;
use crate::signals::{Action as SignalAction, Info, SIGNALS, Stack, Target, UNBLOCKABLE, bit, code};
use crate::system::{Action, Answer, Machine, System, load, load_timespec, store};
use crate::threads::{PROCESS_ID, Waiting};

const SET_BYTES: u64 = 8;
/// `MINSIGSTKSZ`.
const STACK_MIN_BYTES: u64 = 2048;

/// `rt_sigaction(signal, new, old, set_bytes)`.
pub fn rt_sigaction(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [signal, new, old, set_bytes, ..] = *arguments;
    if !(1..=SIGNALS).contains(&signal) || set_bytes != SET_BYTES || (new != 0 && bit(signal) & UNBLOCKABLE != 0) {
        return Err(Errno::INVAL);
    }
    let action = if new == 0 { None } else { Some(SignalAction::from_bytes(&load(machine, new)?)) };
    if old != 0 {
        store(machine, old, &system.signals.action(signal).to_bytes())?;
    }
    if let Some(action) = action {
        system.signals.set_action(signal, action);
    }
    Ok(Action::Value(0))
}

/// `rt_sigprocmask(how, new, old, set_bytes)`.
pub fn rt_sigprocmask(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [how, new, old, set_bytes, ..] = *arguments;
    if set_bytes != SET_BYTES {
        return Err(Errno::INVAL);
    }
    let mask = system.threads.current().signal_mask;
    let set = if new == 0 { None } else { Some(u64::from_le_bytes(load(machine, new)?)) };
    let wanted = match (set, how) {
        (None, _) => mask,
        (Some(set), 0) => mask | set,
        (Some(set), 1) => mask & !set,
        (Some(set), 2) => set,
        _ => return Err(Errno::INVAL),
    };
    if old != 0 {
        store(machine, old, &mask.to_le_bytes())?;
    }
    system.threads.current_mut().signal_mask = wanted & !UNBLOCKABLE;
    system.pass_signals_on(false);
    Ok(Action::Value(0))
}

/// `rt_sigpending(set, set_bytes)`.
pub fn rt_sigpending(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    if arguments[1] > SET_BYTES {
        return Err(Errno::INVAL);
    }
    let thread = system.threads.current();
    let pending = system.signals.queue.set(thread.id) & thread.signal_mask;
    store(machine, arguments[0], &pending.to_le_bytes()[..arguments[1] as usize])?;
    Ok(Action::Value(0))
}

/// `rt_sigsuspend(mask, set_bytes)`: always ends with `EINTR`, after a handler.
pub fn rt_sigsuspend(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    if arguments[1] != SET_BYTES {
        return Err(Errno::INVAL);
    }
    let mask = u64::from_le_bytes(load(machine, arguments[0])?);
    system.mask_for_the_call(mask);
    Ok(Action::Wait(Waiting::Signal, None))
}

/// `pause()`.
pub fn pause(_: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Ok(Action::Wait(Waiting::Signal, None))
}

/// `rt_sigtimedwait(set, info, timeout, set_bytes)`: takes a signal of the set, or waits for one.
pub fn rt_sigtimedwait(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [set, info, timeout, set_bytes, ..] = *arguments;
    if set_bytes != SET_BYTES {
        return Err(Errno::INVAL);
    }
    let wanted = u64::from_le_bytes(load(machine, set)?) & !UNBLOCKABLE;
    let timeout_ns = if timeout == 0 { None } else { Some(load_timespec(machine, timeout)?) };
    let id = system.threads.current().id;
    if let Some(taken) = system.signals.queue.take(id, wanted) {
        if info != 0 {
            store(machine, info, &taken.to_bytes())?;
        }
        return Ok(Action::Value(taken.signal));
    }
    let now = system.now_ns(machine);
    let thread = system.threads.current_mut();
    let until_ns = timeout_ns.map(|timeout| *thread.resume.deadline_ns.get_or_insert(now.saturating_add(timeout)));
    if until_ns.is_some_and(|until| until <= now) {
        return Err(Errno::AGAIN);
    }
    Ok(Action::Wait(Waiting::Signals { wanted }, until_ns))
}

/// `sigaltstack(new, old)`.
pub fn sigaltstack(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [new, old, ..] = *arguments;
    let thread = system.threads.current_mut();
    let stack_pointer = thread.frame.registers[register::RSP];
    let words = thread.signal_stack.to_words(stack_pointer);
    let mut wanted = None;
    if new != 0 {
        let word = |at: u64| load(machine, new.wrapping_add(at)).map(u64::from_le_bytes);
        let stack = Stack::from_words([word(0)?, word(8)?, word(16)?]).ok_or(Errno::INVAL)?;
        if thread.signal_stack.holds(stack_pointer) {
            return Err(Errno::PERM);
        }
        if stack != Stack::default() && stack.bytes < STACK_MIN_BYTES {
            return Err(Errno::NOMEM);
        }
        wanted = Some(stack);
    }
    if old != 0 {
        for (at, word) in [0, 8, 16].into_iter().zip(words) {
            store(machine, old.wrapping_add(at), &word.to_le_bytes())?;
        }
    }
    if let Some(stack) = wanted {
        thread.signal_stack = stack;
    }
    Ok(Action::Value(0))
}

/// `kill(pid, signal)`.
pub fn kill(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    process(arguments[0])?;
    send(system, Target::Process, Info::sent(signal_number(arguments[1])?, code::USER))
}

/// `tkill(tid, signal)`.
pub fn tkill(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let target = Target::Thread(arguments[0] as u32);
    send(system, target, Info::sent(signal_number(arguments[1])?, code::THREAD))
}

/// `tgkill(pid, tid, signal)`.
pub fn tgkill(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [pid, tid, signal, ..] = *arguments;
    if (pid as i32) <= 0 || (tid as i32) <= 0 {
        return Err(Errno::INVAL);
    }
    if pid as u32 != PROCESS_ID {
        return Err(Errno::SRCH);
    }
    tkill(system, machine, &[tid, signal, 0, 0, 0, 0])
}

/// `rt_sigqueueinfo(pid, signal, info)`.
pub fn rt_sigqueueinfo(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    process(arguments[0])?;
    queue(system, machine, Target::Process, arguments[1], arguments[2])
}

/// `rt_tgsigqueueinfo(pid, tid, signal, info)`.
pub fn rt_tgsigqueueinfo(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    process(arguments[0])?;
    queue(system, machine, Target::Thread(arguments[1] as u32), arguments[2], arguments[3])
}

/// `rt_sigreturn()`: the end of a handler. A frame that cannot be gone on with ends the program, as on Linux.
pub fn rt_sigreturn(system: &mut System, machine: &mut impl Machine, _: &[u64; 6]) -> Answer {
    match system.leave_handler(machine) {
        Ok(()) => Ok(Action::Resume),
        Err(_) => Ok(Action::End(mayfly_abi::hypercall::EXIT_KILLED + crate::signals::number::SEGMENT)),
    }
}

impl System {
    /// Lets the running thread block other signals until the call under way has ended.
    pub fn mask_for_the_call(&mut self, mask: u64) {
        let thread = self.threads.current_mut();
        let before = core::mem::replace(&mut thread.signal_mask, mask & !UNBLOCKABLE);
        thread.saved_mask.get_or_insert(before);
        self.pass_signals_on(false);
    }
}

fn queue(system: &mut System, machine: &impl Machine, target: Target, signal: u64, info: u64) -> Answer {
    let info = Info::from_bytes(signal_number(signal)?, &load(machine, info)?);
    send(system, target, info)
}

fn send(system: &mut System, target: Target, info: Info) -> Answer {
    system.send(target, info)?;
    Ok(Action::Value(0))
}

/// There is one process, which is its own group.
fn process(id: u64) -> Result<(), Errno> {
    if [0, PROCESS_ID as i32, -1, -(PROCESS_ID as i32)].contains(&(id as i32)) { Ok(()) } else { Err(Errno::SRCH) }
}

fn signal_number(signal: u64) -> Result<u64, Errno> {
    let signal = u64::from(signal as u32);
    if signal > SIGNALS { Err(Errno::INVAL) } else { Ok(signal) }
}
