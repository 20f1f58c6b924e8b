//! The process: identity, limits, what the system is.

use super::time::process_cpu_ns;
use crate::errno::Errno;
use crate::system::{Action, Answer, Machine, System, load, store};
use crate::threads::PROCESS_ID;

/// What C libraries give each thread. Addresses are memory: with Linux's 8 MiB a small guest could not have ten threads. The first
/// thread's stack is larger than it says.
const STACK_LIMIT_BYTES: u64 = 2 << 20;
const FILES_LIMIT: u64 = 1024;
/// Far fewer than Linux allows; nobody has more.
const GROUPS_MAX: u64 = 64;
const UTSNAME_FIELD_BYTES: usize = 65;

/// `getpid`, and all that a process on its own is.
pub fn getpid(_: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Ok(Action::Value(u64::from(PROCESS_ID)))
}

/// `getppid`, `getuid` and others that are 0.
pub fn zero(_: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Ok(Action::Value(0))
}

/// `getpriority(which, who)`: nice value 0.
pub fn priority(_: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Ok(Action::Value(20))
}

/// `fork`, `vfork`: there is no second process, and never will be. `EAGAIN`, as at a limit of processes, would have programs try again.
pub fn no_process(_: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Err(Errno::NOSYS)
}

/// `execve`: not permitted.
pub fn no_exec(_: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Err(Errno::PERM)
}

/// `wait4`, `waitid`: no children.
pub fn no_children(_: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Err(Errno::CHILD)
}

/// `exit_group(status)`.
pub fn exit_group(_: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    Ok(Action::End(arguments[0] & 0xff))
}

/// `uname(utsname)`.
pub fn uname(_: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let mut bytes = [0; 6 * UTSNAME_FIELD_BYTES];
    // A release that current C libraries accept; the version says who answers.
    let fields: [&[u8]; 6] = [b"Linux", b"mayfly", b"5.15.0", b"#1 Mayfly guest kernel", b"x86_64", b"(none)"];
    for (field, text) in bytes.chunks_exact_mut(UTSNAME_FIELD_BYTES).zip(fields) {
        field[..text.len()].copy_from_slice(text);
    }
    store(machine, arguments[0], &bytes)?;
    Ok(Action::Value(0))
}

/// `getrandom(buffer, bytes, flags)`.
pub fn getrandom(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    const BYTES_MAX: u64 = 1 << 20;
    let bytes = arguments[1].min(BYTES_MAX);
    system.random.fill(machine.write(arguments[0], bytes)?);
    Ok(Action::Value(bytes))
}

/// `prlimit64(pid, resource, new, old)` and `getrlimit(resource, old)`; new limits are accepted and ignored.
pub fn prlimit64(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    if ![0, u64::from(PROCESS_ID)].contains(&arguments[0]) {
        return Err(Errno::SRCH);
    }
    limit(system, machine, arguments[1], arguments[3])
}

/// `getrlimit(resource, limit)`.
pub fn getrlimit(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    limit(system, machine, arguments[0], arguments[1])
}

fn limit(system: &mut System, machine: &mut impl Machine, resource: u64, at: u64) -> Answer {
    const STACK: u64 = 3;
    const CORE: u64 = 4;
    const PROCESSES: u64 = 6;
    const FILES: u64 = 7;
    const ADDRESS_SPACE: u64 = 9;
    let value = match resource {
        STACK => STACK_LIMIT_BYTES,
        CORE => 0,
        PROCESSES => crate::threads::THREADS_MAX as u64,
        FILES => FILES_LIMIT,
        ADDRESS_SPACE => system.space.memory_bytes(),
        0..=15 => u64::MAX,
        _ => return Err(Errno::INVAL),
    };
    if at != 0 {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&value.to_le_bytes());
        bytes[8..].copy_from_slice(&value.to_le_bytes());
        store(machine, at, &bytes)?;
    }
    Ok(Action::Value(0))
}

/// `sysinfo(info)`.
pub fn sysinfo(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let mut bytes = [0; 112];
    let uptime_s = system.now_ns(machine) / 1_000_000_000;
    let total = system.space.memory_bytes();
    let free = total.saturating_sub(system.space.mapped_bytes());
    for (at, value) in [(0, uptime_s), (32, total), (40, free)] {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes[80..82].copy_from_slice(&(system.threads.count() as u16).to_le_bytes());
    bytes[104..108].copy_from_slice(&1_u32.to_le_bytes());
    store(machine, arguments[0], &bytes)?;
    Ok(Action::Value(0))
}

/// `getrusage(who, usage)`: time since the start, and the peak of memory.
pub fn getrusage(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let mut bytes = [0; 144];
    let used_us = process_cpu_ns(system, machine) / 1_000;
    for (at, value) in [(0, used_us / 1_000_000), (8, used_us % 1_000_000), (32, system.space.peak_bytes() / 1024)] {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    store(machine, arguments[1], &bytes)?;
    Ok(Action::Value(0))
}

/// `times(tms)`, in hundredths of a second.
pub fn times(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let now = system.now_ns(machine);
    if arguments[0] != 0 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&(process_cpu_ns(system, machine) / 10_000_000).to_le_bytes());
        store(machine, arguments[0], &bytes)?;
    }
    Ok(Action::Value(now / 10_000_000))
}

/// `getcpu(cpu, node, _)`.
pub fn getcpu(_: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    for &at in &arguments[..2] {
        if at != 0 {
            store(machine, at, &0_u32.to_le_bytes())?;
        }
    }
    Ok(Action::Value(0))
}

/// `prctl(option, …)`: the thread's name; the rest is refused.
pub fn prctl(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    const SET_NAME: u64 = 15;
    const GET_NAME: u64 = 16;
    match arguments[0] {
        SET_NAME => {
            let mut name = [0; 16];
            let text = machine.string(arguments[1], 4096)?;
            let bytes = text.len().min(15);
            name[..bytes].copy_from_slice(&text[..bytes]);
            system.name = name;
        }
        GET_NAME => store(machine, arguments[1], &system.name.clone())?,
        _ => return Err(Errno::INVAL),
    }
    Ok(Action::Value(0))
}

/// `getresuid(a, b, c)` and `getresgid`: root.
pub fn getresuid(_: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    for &at in &arguments[..3] {
        store(machine, at, &0_u32.to_le_bytes())?;
    }
    Ok(Action::Value(0))
}

/// `getgroups(size, list)`.
pub fn getgroups(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [size, list, ..] = *arguments;
    if size != 0 {
        if (size as usize) < system.groups.len() {
            return Err(Errno::INVAL);
        }
        for (at, group) in (list..).step_by(4).zip(&system.groups) {
            store(machine, at, &group.to_le_bytes())?;
        }
    }
    Ok(Action::Value(system.groups.len() as u64))
}

/// `setgroups(size, list)`.
pub fn setgroups(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [size, list, ..] = *arguments;
    if size > GROUPS_MAX {
        return Err(Errno::INVAL);
    }
    let bytes = machine.read(list, size * 4)?;
    let group = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_le_bytes);
    system.groups = bytes.chunks_exact(4).map(group).collect();
    Ok(Action::Value(0))
}

/// `capget(header, data)`: no capability.
pub fn capget(_: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let _version: [u8; 4] = load(machine, arguments[0])?;
    if arguments[1] != 0 {
        store(machine, arguments[1], &[0; 24])?;
    }
    Ok(Action::Value(0))
}
