//! Timers: `alarm`, `setitimer`, `timer_create` and their relatives.

use super::time::clock_ns;
use crate::errno::Errno;
use crate::signals::{SIGNALS, Target, number};
use crate::system::{Action, Answer, Machine, System, load, load_timespec, store, store_timespec};
use crate::timers::{Notice, Setting};

const TIMER_ABSTIME: u64 = 1;
const NS_PER_S: u64 = 1_000_000_000;

/// `alarm(seconds)`: returns the seconds that the previous one had left.
pub fn alarm(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let now = system.now_ns(machine);
    let seconds = u64::from(arguments[0] as u32);
    let before = system.timers.interval(0)?.left_ns(now);
    let at_ns = (seconds > 0).then(|| now.saturating_add(seconds * NS_PER_S));
    system.timers.set_interval(0, Setting { at_ns, interval_ns: 0 })?;
    // Rounded as on Linux, but never to 0, which would mean that there was none.
    let left = (before + NS_PER_S / 2) / NS_PER_S;
    Ok(Action::Value(if before > 0 { left.max(1) } else { 0 }))
}

/// `getitimer(which, value)`.
pub fn getitimer(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let now = system.now_ns(machine);
    let setting = system.timers.interval(arguments[0])?;
    store_pair(machine, arguments[1], 1_000, setting, now)?;
    Ok(Action::Value(0))
}

/// `setitimer(which, new, old)`.
pub fn setitimer(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [which, new, old, ..] = *arguments;
    let before = system.timers.interval(which)?;
    let now = system.now_ns(machine);
    let (interval_ns, value_ns) =
        if new == 0 { (0, 0) } else { (load_timeval(machine, new)?, load_timeval(machine, new.wrapping_add(16))?) };
    let at_ns = (value_ns > 0).then(|| now.saturating_add(value_ns));
    if old != 0 {
        store_pair(machine, old, 1_000, before, now)?;
    }
    system.timers.set_interval(which, Setting { at_ns, interval_ns })?;
    Ok(Action::Value(0))
}

/// `timer_create(clock, event, id)`.
pub fn timer_create(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    const SIGNAL: u32 = 0;
    const NONE: u32 = 1;
    const THREAD: u32 = 4;
    let [clock, event, id, ..] = *arguments;
    clock_ns(system, machine, clock)?;
    // Checked before there is a timer.
    machine.write(id, 4)?;
    let notice = if event == 0 {
        None
    } else {
        let word = |at: u64| load(machine, event.wrapping_add(at)).map(u32::from_le_bytes);
        let value = u64::from_le_bytes(load(machine, event)?);
        let (signal, kind, thread) = (u64::from(word(8)?), word(12)?, word(16)?);
        let target = match kind {
            NONE => None,
            SIGNAL => Some(Target::Process),
            THREAD if system.threads.exists(thread) => Some(Target::Thread(thread)),
            _ => return Err(Errno::INVAL),
        };
        if target.is_some() && !(1..=SIGNALS).contains(&signal) {
            return Err(Errno::INVAL);
        }
        Some(target.map_or(Notice::Nothing, |target| Notice::Signal { target, signal, value }))
    };
    let default = |id| Notice::Signal { target: Target::Process, signal: number::ALARM, value: id };
    let new = system.timers.create(clock, |id| notice.unwrap_or(default(id)))?;
    store(machine, id, &(new as u32).to_le_bytes())?;
    Ok(Action::Value(0))
}

/// `timer_settime(id, flags, new, old)`.
pub fn timer_settime(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [id, flags, new, old, ..] = *arguments;
    let (clock, before) = system.timers.get(id)?;
    let interval_ns = load_timespec(machine, new)?;
    let value_ns = load_timespec(machine, new.wrapping_add(16))?;
    let now = system.now_ns(machine);
    let wait_ns = match flags & TIMER_ABSTIME {
        0 => value_ns,
        _ => value_ns.saturating_sub(clock_ns(system, machine, clock)?),
    };
    let at_ns = (value_ns > 0).then(|| now.saturating_add(wait_ns));
    if old != 0 {
        store_pair(machine, old, 1, before, now)?;
    }
    system.timers.set(id, Setting { at_ns, interval_ns })?;
    Ok(Action::Value(0))
}

/// `timer_gettime(id, value)`.
pub fn timer_gettime(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let (_, setting) = system.timers.get(arguments[0])?;
    let now = system.now_ns(machine);
    store_pair(machine, arguments[1], 1, setting, now)?;
    Ok(Action::Value(0))
}

/// `timer_getoverrun(id)`.
pub fn timer_getoverrun(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    Ok(Action::Value(system.timers.overruns(arguments[0])?))
}

/// `timer_delete(id)`.
pub fn timer_delete(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    system.timers.remove(arguments[0])?;
    Ok(Action::Value(0))
}

/// Interval and time left, as two `timespec` or (with 1,000 nanoseconds per unit) two `timeval`.
fn store_pair(machine: &mut impl Machine, at: u64, unit_ns: u64, setting: Setting, now_ns: u64) -> Result<(), Errno> {
    for (at, ns) in [(at, setting.interval_ns), (at.wrapping_add(16), setting.left_ns(now_ns))] {
        // Not to 0 what has some time left.
        let ns = ns.next_multiple_of(unit_ns);
        store_timespec(machine, at, ns)?;
        if unit_ns != 1 {
            store(machine, at.wrapping_add(8), &(ns % NS_PER_S / unit_ns).to_le_bytes())?;
        }
    }
    Ok(())
}

fn load_timeval(machine: &impl Machine, at: u64) -> Result<u64, Errno> {
    let seconds = i64::from_le_bytes(load(machine, at)?);
    let microseconds = i64::from_le_bytes(load(machine, at.wrapping_add(8))?);
    if seconds < 0 || !(0..1_000_000).contains(&microseconds) {
        return Err(Errno::INVAL);
    }
    Ok((seconds as u64).saturating_mul(NS_PER_S).saturating_add(microseconds as u64 * 1_000))
}
