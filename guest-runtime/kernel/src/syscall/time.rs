//! Clocks and sleeping.

use crate::errno::Errno;
use crate::system::{Action, Answer, Machine, System, load_timespec, store, store_timespec};
use crate::threads::{PROCESS_ID, Waiting};

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

/// Value of a clock. CPU time is the time in which the program did not wait: there is one vCPU and nobody else on it.
pub(crate) fn clock_ns(system: &mut System, machine: &impl Machine, clock: u64) -> Result<u64, Errno> {
    let id = system.threads.current().id;
    match clock {
        REALTIME | REALTIME_COARSE | TAI => Ok(system.clock.realtime_ns(machine.tsc())),
        MONOTONIC | MONOTONIC_RAW | MONOTONIC_COARSE | BOOTTIME => Ok(system.now_ns(machine)),
        PROCESS_CPU => Ok(process_cpu_ns(system, machine)),
        THREAD_CPU => thread_cpu_ns(system, machine, id),
        // Of `pthread_getcpuclockid` and `clock_getcpuclockid`: the complement of the number, and two kinds.
        clock if (clock as i32) < 0 => {
            let number = !((clock as i32) >> 3) as u32;
            match clock & 7 {
                6 => thread_cpu_ns(system, machine, if number == 0 { id } else { number }),
                2 if [0, PROCESS_ID].contains(&number) => Ok(process_cpu_ns(system, machine)),
                _ => Err(Errno::INVAL),
            }
        }
        _ => Err(Errno::INVAL),
    }
}

/// Time since the start in which some thread ran.
pub(crate) fn process_cpu_ns(system: &mut System, machine: &impl Machine) -> u64 {
    system.now_ns(machine).saturating_sub(system.started_ns).saturating_sub(system.idle_ns)
}

fn thread_cpu_ns(system: &mut System, machine: &impl Machine, id: u32) -> Result<u64, Errno> {
    let now = system.now_ns(machine);
    let is_running = system.threads.current().id == id;
    let since = if is_running { now.saturating_sub(system.turn_ns) } else { 0 };
    let thread = system.threads.find_mut(id).ok_or(Errno::INVAL)?;
    Ok(thread.used_ns.saturating_add(since))
}

/// `clock_settime`, `settimeofday`, `adjtimex`: the time is the host's.
pub fn not_permitted(_: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Err(Errno::PERM)
}

/// `clock_settime(clock, time)`: only one clock could be set at all.
pub fn clock_settime(_: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    Err(if arguments[0] == REALTIME { Errno::PERM } else { Errno::INVAL })
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
