//! Clocks and sleeping.

use crate::errno::Errno;
use crate::system::{Action, Answer, Machine, System, load_timespec, store, store_timespec};
use crate::threads::Waiting;

const REALTIME: u64 = 0;
const MONOTONIC: u64 = 1;
const PROCESS_CPU: u64 = 2;
const THREAD_CPU: u64 = 3;
const MONOTONIC_RAW: u64 = 4;
const REALTIME_COARSE: u64 = 5;
const MONOTONIC_COARSE: u64 = 6;
const BOOTTIME: u64 = 7;
const TAI: u64 = 11;
const TIMER_ABSTIME: u64 = 1;

/// Value of a clock. CPU time is the time since the start of the program: there is one vCPU and nobody else on it.
fn clock_ns(system: &mut System, machine: &impl Machine, clock: u64) -> Result<u64, Errno> {
    match clock {
        REALTIME | REALTIME_COARSE | TAI => Ok(system.clock.realtime_ns(machine.tsc())),
        MONOTONIC | MONOTONIC_RAW | MONOTONIC_COARSE | BOOTTIME => Ok(system.now_ns(machine)),
        PROCESS_CPU | THREAD_CPU => Ok(system.now_ns(machine).saturating_sub(system.started_ns)),
        _ => Err(Errno::INVAL),
    }
}

/// `clock_gettime(clock, timespec)`.
pub fn clock_gettime(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let now = clock_ns(system, machine, arguments[0])?;
    store_timespec(machine, arguments[1], now)?;
    Ok(Action::Value(0))
}

/// `clock_getres(clock, timespec)`: one nanosecond.
pub fn clock_getres(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    clock_ns(system, machine, arguments[0])?;
    if arguments[1] != 0 {
        store_timespec(machine, arguments[1], 1)?;
    }
    Ok(Action::Value(0))
}

/// `gettimeofday(timeval, _)`.
pub fn gettimeofday(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let now = system.clock.realtime_ns(machine.tsc());
    if arguments[0] != 0 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(now / 1_000_000_000).to_le_bytes());
        bytes[8..].copy_from_slice(&(now % 1_000_000_000 / 1_000).to_le_bytes());
        store(machine, arguments[0], &bytes)?;
    }
    Ok(Action::Value(0))
}

/// `time(seconds)`.
pub fn time(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let seconds = system.clock.realtime_ns(machine.tsc()) / 1_000_000_000;
    if arguments[0] != 0 {
        store(machine, arguments[0], &seconds.to_le_bytes())?;
    }
    Ok(Action::Value(seconds))
}

/// `nanosleep(request, remaining)`.
pub fn nanosleep(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let request = load_timespec(machine, arguments[0])?;
    let until = system.now_ns(machine).saturating_add(request);
    Ok(Action::Wait(Waiting::Time, Some(until)))
}

/// `clock_nanosleep(clock, flags, request, remaining)`.
pub fn clock_nanosleep(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [clock, flags, request, ..] = *arguments;
    let now = clock_ns(system, machine, clock)?;
    let request = load_timespec(machine, request)?;
    let left = if flags & TIMER_ABSTIME != 0 { request.saturating_sub(now) } else { request };
    let until = system.now_ns(machine).saturating_add(left);
    Ok(Action::Wait(Waiting::Time, Some(until)))
}
