//! Scheduling: one CPU, one policy. What is asked for is checked and has no effect.

use crate::errno::Errno;
use crate::system::{Action, Answer, Machine, System, load, store};

/// `SCHED_OTHER`, `SCHED_FIFO`, `SCHED_RR`, `SCHED_BATCH`, `SCHED_IDLE`.
const POLICIES: [u64; 5] = [0, 1, 2, 3, 5];
const REAL_TIME: [u64; 2] = [1, 2];
/// Priorities of the real-time policies.
const PRIORITY_MAX: u64 = 99;
/// A turn: the time between two ticks.
const TURN_NS: u64 = 5_000_000;

/// `sched_getaffinity(tid, bytes, mask)`: one CPU.
pub fn sched_getaffinity(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [id, bytes, mask, ..] = *arguments;
    thread(system, id, Errno::SRCH)?;
    if bytes < 8 || !bytes.is_multiple_of(8) {
        return Err(Errno::INVAL);
    }
    store(machine, mask, &1_u64.to_le_bytes())?;
    Ok(Action::Value(8))
}

/// `sched_setaffinity(tid, bytes, mask)`: must name the CPU.
pub fn sched_setaffinity(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [id, bytes, mask, ..] = *arguments;
    thread(system, id, Errno::SRCH)?;
    let first = if bytes == 0 { 0 } else { machine.read(mask, 1)?[0] };
    if first & 1 == 0 { Err(Errno::INVAL) } else { Ok(Action::Value(0)) }
}

/// `sched_getscheduler(tid)`: `SCHED_OTHER`.
pub fn sched_getscheduler(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    thread(system, arguments[0], Errno::INVAL)?;
    Ok(Action::Value(0))
}

/// `sched_setscheduler(tid, policy, parameters)`.
pub fn sched_setscheduler(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [id, policy, parameters, ..] = *arguments;
    thread(system, id, Errno::INVAL)?;
    let priority = u64::from(u32::from_le_bytes(load(machine, parameters)?));
    let (low, high) = priorities(policy & !RESET_ON_FORK)?;
    if (low..=high).contains(&priority) { Ok(Action::Value(0)) } else { Err(Errno::INVAL) }
}

const RESET_ON_FORK: u64 = 0x4000_0000;

/// `sched_getparam(tid, parameters)`: priority 0.
pub fn sched_getparam(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    thread(system, arguments[0], Errno::INVAL)?;
    store(machine, arguments[1], &0_u32.to_le_bytes())?;
    Ok(Action::Value(0))
}

/// `sched_setparam(tid, parameters)`: of `SCHED_OTHER`, whose only priority is 0.
pub fn sched_setparam(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    sched_setscheduler(system, machine, &[arguments[0], 0, arguments[1], 0, 0, 0])
}

/// `sched_get_priority_min(policy)`.
pub fn sched_get_priority_min(_: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    Ok(Action::Value(priorities(arguments[0])?.0))
}

/// `sched_get_priority_max(policy)`.
pub fn sched_get_priority_max(_: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    Ok(Action::Value(priorities(arguments[0])?.1))
}

/// `sched_rr_get_interval(tid, interval)`.
pub fn sched_rr_get_interval(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    thread(system, arguments[0], Errno::INVAL)?;
    crate::system::store_timespec(machine, arguments[1], TURN_NS)?;
    Ok(Action::Value(0))
}

fn priorities(policy: u64) -> Result<(u64, u64), Errno> {
    match policy {
        policy if REAL_TIME.contains(&policy) => Ok((1, PRIORITY_MAX)),
        policy if POLICIES.contains(&policy) => Ok((0, 0)),
        _ => Err(Errno::INVAL),
    }
}

/// 0 is the caller; `negative` is what a number below that is.
fn thread(system: &System, id: u64, negative: Errno) -> Result<(), Errno> {
    match id as i32 {
        ..0 => Err(negative),
        0 => Ok(()),
        id if system.threads.exists(id as u32) => Ok(()),
        _ => Err(Errno::SRCH),
    }
}
