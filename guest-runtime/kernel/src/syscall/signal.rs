//! Signals: what the program asked for is kept; a signal that it sends to itself takes its default action. Handlers are not run yet.

use crate::errno::Errno;
use crate::system::{Action, Answer, Machine, System, load, store};
use crate::threads::PROCESS_ID;

/// Number of signals.
pub const SIGNALS: usize = 64;
/// Bytes of the kernel's `struct sigaction`.
const ACTION_BYTES: usize = 32;
const IGNORE: u64 = 1;
/// SIGCHLD, SIGCONT, SIGURG, SIGWINCH: ignored by default.
const IGNORED_BY_DEFAULT: [u64; 4] = [17, 18, 23, 28];

/// The actions that the program set.
#[derive(Debug, Clone)]
pub struct Actions {
    actions: [[u8; ACTION_BYTES]; SIGNALS],
    stack: [u8; 24],
}

impl Default for Actions {
    fn default() -> Actions {
        let mut stack = [0; 24];
        stack[8] = 2; // SS_DISABLE
        Actions { actions: [[0; ACTION_BYTES]; SIGNALS], stack }
    }
}

impl Actions {
    fn handler(&self, signal: u64) -> u64 {
        let mut word = [0; 8];
        word.copy_from_slice(&self.actions[signal as usize - 1][..8]);
        u64::from_le_bytes(word)
    }
}

/// `rt_sigaction(signal, new, old, set_bytes)`.
pub fn rt_sigaction(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [signal, new, old, set_bytes, ..] = *arguments;
    let (kill, stop) = (9, 19);
    if !(1..=SIGNALS as u64).contains(&signal) || set_bytes != 8 || (new != 0 && (signal == kill || signal == stop)) {
        return Err(Errno::INVAL);
    }
    let index = signal as usize - 1;
    let action = if new == 0 { None } else { Some(load::<ACTION_BYTES>(machine, new)?) };
    if old != 0 {
        store(machine, old, &system.signals.actions[index].clone())?;
    }
    if let Some(action) = action {
        system.signals.actions[index] = action;
    }
    Ok(Action::Value(0))
}

/// `rt_sigprocmask(how, new, old, set_bytes)`.
pub fn rt_sigprocmask(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [how, new, old, set_bytes, ..] = *arguments;
    if set_bytes != 8 {
        return Err(Errno::INVAL);
    }
    let mask = system.threads.current().signal_mask;
    let set = if new == 0 { None } else { Some(u64::from_le_bytes(load(machine, new)?)) };
    if old != 0 {
        store(machine, old, &mask.to_le_bytes())?;
    }
    if let Some(set) = set {
        system.threads.current_mut().signal_mask = match how {
            0 => mask | set,
            1 => mask & !set,
            2 => set,
            _ => return Err(Errno::INVAL),
        };
    }
    Ok(Action::Value(0))
}

/// `sigaltstack(new, old)`.
pub fn sigaltstack(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let new = if arguments[0] == 0 { None } else { Some(load::<24>(machine, arguments[0])?) };
    if arguments[1] != 0 {
        store(machine, arguments[1], &system.signals.stack.clone())?;
    }
    if let Some(new) = new {
        system.signals.stack = new;
    }
    Ok(Action::Value(0))
}

/// `kill(pid, signal)`.
pub fn kill(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let to_itself = [0, u64::from(PROCESS_ID), u64::MAX].contains(&(arguments[0] as i32 as i64 as u64));
    if to_itself { send(system, arguments[1]) } else { Err(Errno::SRCH) }
}

/// `tkill(tid, signal)`.
pub fn tkill(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    if system.threads.exists(arguments[0] as u32) { send(system, arguments[1]) } else { Err(Errno::SRCH) }
}

/// `tgkill(pid, tid, signal)`.
pub fn tgkill(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    tkill(system, machine, &[arguments[1], arguments[2], 0, 0, 0, 0])
}

fn send(system: &mut System, signal: u64) -> Answer {
    if signal == 0 {
        return Ok(Action::Value(0));
    }
    if signal > SIGNALS as u64 {
        return Err(Errno::INVAL);
    }
    match system.signals.handler(signal) {
        IGNORE => Ok(Action::Value(0)),
        0 if IGNORED_BY_DEFAULT.contains(&signal) => Ok(Action::Value(0)),
        0 => Ok(Action::End(mayfly_abi::hypercall::EXIT_KILLED + signal)),
        _ => Err(Errno::NOSYS),
    }
}
