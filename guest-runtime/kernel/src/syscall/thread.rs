//! Threads and futexes.

use crate::errno::Errno;
use crate::frame::register;
use crate::system::{Action, Answer, Machine, System, load, load_timespec, store};
use crate::threads::{ANY_BITS, Waiting};

const CLONE_VM: u64 = 0x100;
const CLONE_THREAD: u64 = 0x1_0000;
const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;

/// Bytes of `struct robust_list_head`, and the longest list that is walked, as on Linux.
const ROBUST_HEAD_BYTES: u64 = 24;
const ROBUST_MAX: usize = 2048;

const FUTEX_COMMAND: u64 = 0x7f;
const FUTEX_CLOCK_REALTIME: u64 = 0x100;
const FUTEX_WAIT: u64 = 0;
const FUTEX_WAKE: u64 = 1;
const FUTEX_REQUEUE: u64 = 3;
const FUTEX_CMP_REQUEUE: u64 = 4;
const FUTEX_WAKE_OP: u64 = 5;
const FUTEX_WAIT_BITSET: u64 = 9;
const FUTEX_WAKE_BITSET: u64 = 10;

/// `clone(flags, stack, parent_tid, child_tid, tls)`: threads only. Of a process: as `fork`.
pub fn clone(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [flags, stack, parent_tid, child_tid, tls, _] = *arguments;
    if flags & (CLONE_VM | CLONE_THREAD) != CLONE_VM | CLONE_THREAD || stack == 0 {
        return Err(Errno::NOSYS);
    }
    let mut frame = (*system.threads.current().frame).clone();
    frame.registers[register::RAX] = 0;
    frame.registers[register::RSP] = stack;
    frame.fs_base = if flags & CLONE_SETTLS != 0 { tls } else { machine.fs_base() };
    frame.gs_base = machine.gs_base();
    let clear = if flags & CLONE_CHILD_CLEARTID != 0 { child_tid } else { 0 };
    let thread = system.threads.spawn(frame, clear)?;
    machine.save_vectors(&mut thread.vectors);
    let id = thread.id;
    if flags & CLONE_PARENT_SETTID != 0 {
        store(machine, parent_tid, &id.to_le_bytes())?;
    }
    if flags & CLONE_CHILD_SETTID != 0 {
        store(machine, child_tid, &id.to_le_bytes())?;
    }
    Ok(Action::Value(u64::from(id)))
}

/// `exit(status)` of one thread.
pub fn exit(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let clear = system.threads.current().clear_on_exit;
    if clear != 0 && store(machine, clear, &0_u32.to_le_bytes()).is_ok() {
        system.threads.wake(clear, 1, ANY_BITS);
    }
    release_robust_list(system, machine);
    if system.threads.count() == 1 {
        return Ok(Action::End(arguments[0] & 0xff));
    }
    Ok(Action::EndThread)
}

/// `set_robust_list(head, bytes)`.
pub fn set_robust_list(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    if arguments[1] != ROBUST_HEAD_BYTES {
        return Err(Errno::INVAL);
    }
    system.threads.current_mut().robust_list = arguments[0];
    Ok(Action::Value(0))
}

/// `get_robust_list(tid, head, bytes)`: of the calling thread.
pub fn get_robust_list(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let thread = system.threads.current();
    if ![0, thread.id].contains(&(arguments[0] as u32)) {
        return Err(Errno::PERM);
    }
    let head = thread.robust_list;
    store(machine, arguments[1], &head.to_le_bytes())?;
    store(machine, arguments[2], &ROBUST_HEAD_BYTES.to_le_bytes())?;
    Ok(Action::Value(0))
}

/// Marks the locks that the ending thread holds, and wakes who waits for them. The list is the program's: whatever is wrong with it ends
/// the walk.
fn release_robust_list(system: &mut System, machine: &mut impl Machine) {
    let (head, id) = (system.threads.current().robust_list, system.threads.current().id);
    if head == 0 {
        return;
    }
    let word = |machine: &_, at: u64| load(machine, at).map(u64::from_le_bytes);
    let (Ok(mut entry), Ok(offset), Ok(pending)) =
        (word(machine, head), word(machine, head.wrapping_add(8)), word(machine, head.wrapping_add(16)))
    else {
        return;
    };
    for _ in 0..ROBUST_MAX {
        if entry & !1 == head {
            break;
        }
        let Ok(next) = word(machine, entry & !1) else { break };
        if entry != pending {
            release_robust(system, machine, (entry & !1).wrapping_add(offset), id);
        }
        entry = next;
    }
    if pending & !1 != 0 {
        release_robust(system, machine, (pending & !1).wrapping_add(offset), id);
    }
}

fn release_robust(system: &mut System, machine: &mut impl Machine, address: u64, id: u32) {
    const OWNER: u32 = 0x3fff_ffff;
    const OWNER_DIED: u32 = 0x4000_0000;
    const WAITERS: u32 = 0x8000_0000;
    let Ok(value) = load(machine, address).map(u32::from_le_bytes) else { return };
    if value & OWNER == id && store(machine, address, &(value & WAITERS | OWNER_DIED).to_le_bytes()).is_ok() {
        system.threads.wake(address, 1, ANY_BITS);
    }
}

/// `membarrier(command, …)`: with one vCPU, every command is done before it is asked for.
pub fn membarrier(_: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    /// Global, private, and the registrations for them.
    const COMMANDS: u64 = 0x1f;
    match arguments[0] {
        0 => Ok(Action::Value(COMMANDS)),
        command if command.is_power_of_two() && command & COMMANDS != 0 => Ok(Action::Value(0)),
        _ => Err(Errno::INVAL),
    }
}

/// `futex(address, operation, value, timeout or value2, address2, value3)`: wait and wake in their forms, requeue. No priority
/// inheritance.
pub fn futex(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [address, operation, value, fourth, address2, value3] = *arguments;
    if address % 4 != 0 {
        return Err(Errno::INVAL);
    }
    let value = value as u32;
    match operation & FUTEX_COMMAND {
        command @ (FUTEX_WAIT | FUTEX_WAIT_BITSET) => {
            let bits = if command == FUTEX_WAIT { ANY_BITS } else { value3 as u32 };
            if bits == 0 {
                return Err(Errno::INVAL);
            }
            if u32::from_le_bytes(load(machine, address)?) != value {
                return Err(Errno::AGAIN);
            }
            let until = match (fourth, command) {
                (0, _) => None,
                (at, FUTEX_WAIT) => Some(system.now_ns(machine).saturating_add(load_timespec(machine, at)?)),
                (at, _) => {
                    Some(absolute(system, machine, load_timespec(machine, at)?, operation & FUTEX_CLOCK_REALTIME != 0))
                }
            };
            Ok(Action::Wait(Waiting::Futex { address, bits }, until))
        }
        FUTEX_WAKE => Ok(Action::Value(u64::from(system.threads.wake(address, value, ANY_BITS)))),
        FUTEX_WAKE_BITSET => Ok(Action::Value(u64::from(system.threads.wake(address, value, value3 as u32)))),
        command @ (FUTEX_REQUEUE | FUTEX_CMP_REQUEUE) => {
            if command == FUTEX_CMP_REQUEUE && u32::from_le_bytes(load(machine, address)?) != value3 as u32 {
                return Err(Errno::AGAIN);
            }
            let woken = system.threads.wake(address, value, ANY_BITS);
            let moved = system.threads.requeue(address, address2, fourth as u32);
            Ok(Action::Value(u64::from(woken + moved)))
        }
        FUTEX_WAKE_OP => wake_op(system, machine, arguments),
        _ => Err(Errno::NOSYS),
    }
}

fn wake_op(system: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let [address, _, count, count2, address2, code] = *arguments;
    let old = u32::from_le_bytes(load(machine, address2)?);
    let (mut operand, compare) = (((code >> 12) & 0xfff) as u32, (code & 0xfff) as u32);
    if code >> 31 & 1 == 1 {
        operand = 1_u32.checked_shl(operand).unwrap_or(0);
    }
    let new = match code >> 28 & 7 {
        0 => operand,
        1 => old.wrapping_add(operand),
        2 => old | operand,
        3 => old & !operand,
        4 => old ^ operand,
        _ => return Err(Errno::NOSYS),
    };
    store(machine, address2, &new.to_le_bytes())?;
    let matches = match code >> 24 & 0xf {
        0 => old == compare,
        1 => old != compare,
        2 => (old as i32) < compare as i32,
        3 => old as i32 <= compare as i32,
        4 => old as i32 > compare as i32,
        5 => old as i32 >= compare as i32,
        _ => return Err(Errno::NOSYS),
    };
    let mut woken = system.threads.wake(address, count as u32, ANY_BITS);
    if matches {
        woken += system.threads.wake(address2, count2 as u32, ANY_BITS);
    }
    Ok(Action::Value(u64::from(woken)))
}

fn absolute(system: &mut System, machine: &impl Machine, time_ns: u64, realtime: bool) -> u64 {
    if !realtime {
        return time_ns;
    }
    let now = system.clock.realtime_ns(machine.tsc());
    system.now_ns(machine).saturating_add(time_ns.saturating_sub(now))
}

/// `set_tid_address(address)`.
pub fn set_tid_address(system: &mut System, _: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    let thread = system.threads.current_mut();
    thread.clear_on_exit = arguments[0];
    Ok(Action::Value(u64::from(thread.id)))
}

/// `gettid()`.
pub fn gettid(system: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Ok(Action::Value(u64::from(system.threads.current().id)))
}

/// `sched_yield()`.
pub fn sched_yield(_: &mut System, _: &mut impl Machine, _: &[u64; 6]) -> Answer {
    Ok(Action::Yield)
}

/// `arch_prctl(code, address)`: the thread pointer.
pub fn arch_prctl(_: &mut System, machine: &mut impl Machine, arguments: &[u64; 6]) -> Answer {
    const CANONICAL_END: u64 = 1 << 47;
    let [code, address, ..] = *arguments;
    match code {
        0x1001 if address < CANONICAL_END => machine.set_gs_base(address),
        0x1002 if address < CANONICAL_END => machine.set_fs_base(address),
        0x1001 | 0x1002 => return Err(Errno::PERM),
        0x1003 => store(machine, address, &machine.fs_base().to_le_bytes())?,
        0x1004 => store(machine, address, &machine.gs_base().to_le_bytes())?,
        _ => return Err(Errno::INVAL),
    }
    Ok(Action::Value(0))
}
