//! Running the guest until it waits again, ends, or must be stopped.

use std::io::Write as _;
use std::mem::offset_of;
use std::time::{Duration, Instant};

use kvm_ioctls::VcpuExit;
use mayfly_abi::hypercall;
use mayfly_abi::mailbox::{GuestWords, HostWords, LOG_BYTES};
use mayfly_abi::record::RESTORED;
use rustix::time::{ClockId, Timespec};

use super::tick;
use super::{Machine, Phase};
use crate::diagnosis;
use crate::error::Error;
use crate::vcpu;

/// Log bytes that one run can hand out; what comes after is thrown away.
const LOG_MAX_BYTES: usize = 4 << 20;
/// Exits of one run. An honest invocation makes one; a guest that makes so many is out to cost time.
const EXITS_MAX: u64 = 1_000_000;

/// RFLAGS.TF: a debug trap after each instruction.
const TRAP_FLAG: u64 = 1 << 8;

/// `exit_status` of a program that signal 0 ended; 64 signals follow.
const KILLED: u64 = mayfly_abi::hypercall::EXIT_KILLED;
const KILLED_LAST: u64 = KILLED + 64;

/// Why a run ended. After `Next` the guest can go on; where [`Stop::is_end`] says so it can be reset; after anything else it is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The guest waits for its next event; its answer is in the mailbox.
    Next,
    /// The program ended with this status.
    Exited {
        /// Status, 0 to 255.
        status: u8,
    },
    /// The program ended by a signal, its own or for a fault.
    Killed {
        /// The signal.
        signal: u8,
        /// What the platform knows about it.
        diagnosis: String,
    },
    /// Time was up.
    TimedOut,
    /// The program ended after it was refused memory.
    OutOfMemory,
    /// The guest did what no guest of ours does; it was stopped.
    Violation(String),
}

impl Stop {
    /// Whether the program has ended, and the guest's kernel has said so: a reset makes the guest the snapshot again.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self, Stop::Exited { .. } | Stop::Killed { .. } | Stop::OutOfMemory)
    }
}

/// How an entry into the guest ended.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// And so did the run.
    Ended(Stop),
    /// The guest asked for something, and goes on.
    ToGoOn,
    /// By the timer; the guest goes on.
    Interrupted,
}

/// What a run cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Times that the guest left for this process by itself. Ticks do not count.
    pub exits: u64,
    /// Time from entry to stop.
    pub duration_ns: u64,
    /// System calls that the guest kernel answered.
    pub system_calls: u64,
    /// Time in which the guest had nothing to do but to wait for the clock.
    pub slept_ns: u64,
    /// Processor time of this thread, the vCPU's included: what the run would have taken alone.
    pub computed_ns: u64,
    /// Memory that the program had in use at its peak.
    pub memory_peak_bytes: u64,
}

impl Machine {
    /// Lets the guest go on, with the event in its mailbox (`event_bytes` long; 0 if there is none), for at most `timeout`.
    ///
    /// The log area is drained into `log` whenever the guest asks; what it wrote after that is still in the mailbox.
    ///
    /// # Errors
    /// If there is no guest that can run, or KVM fails. What a guest does is never an error here, but a [`Stop`].
    pub fn run(&mut self, event_bytes: u64, timeout: Duration, log: &mut Vec<u8>) -> Result<(Stop, Usage), Error> {
        if !matches!(self.phase, Phase::Loaded | Phase::Waiting) {
            return Err(Error::State("there is no guest that can run in this machine"));
        }
        self.phase = Phase::Dead;
        self.is_reset = false;
        self.slept = Duration::ZERO;
        let start = Instant::now();
        let computed_before = clock_ns(ClockId::ThreadCPUTime);
        let calls_before = self.mailbox.guest_words().system_calls;
        self.prepare_entry(event_bytes);
        self.deadline.arm(tick::FIRST.min(timeout))?;
        let mut exits = 0;
        let stop = loop {
            if start.elapsed() >= timeout {
                break Stop::TimedOut;
            }
            let left = self.enter(start + timeout, log)?;
            exits += u64::from(left != Left::Interrupted);
            match left {
                Left::Ended(stop) => break stop,
                _ if exits > EXITS_MAX => break Stop::Violation(format!("more than {EXITS_MAX} exits in one run")),
                Left::ToGoOn | Left::Interrupted => {}
            }
        };
        self.deadline.disarm()?;
        self.phase = match &stop {
            Stop::Next => Phase::Waiting,
            end if end.is_end() => Phase::Ended,
            _ => Phase::Dead,
        };
        let words = self.mailbox.guest_words();
        let usage = Usage {
            exits,
            duration_ns: start.elapsed().as_nanos() as u64,
            slept_ns: std::mem::take(&mut self.slept).as_nanos() as u64,
            computed_ns: clock_ns(ClockId::ThreadCPUTime).saturating_sub(computed_before),
            system_calls: words.system_calls.wrapping_sub(calls_before),
            memory_peak_bytes: words.memory_peak_bytes.min(self.memory_of_guest()?.bytes()),
        };
        Ok((stop, usage))
    }

    fn prepare_entry(&mut self, event_bytes: u64) {
        if event_bytes > 0 {
            self.mailbox.set_event_flags(if std::mem::take(&mut self.restored) { RESTORED } else { 0 });
        }
        let realtime = clock_ns(ClockId::Realtime);
        let monotonic = clock_ns(ClockId::Monotonic);
        let tsc = vcpu::host_tsc().wrapping_add(self.tsc_offset);
        let words = [
            (offset_of!(HostWords, tsc), tsc),
            (offset_of!(HostWords, realtime_ns), realtime),
            (offset_of!(HostWords, monotonic_ns), monotonic),
            (offset_of!(HostWords, event_bytes), event_bytes),
        ];
        for (offset, value) in words {
            self.mailbox.set_host_word(offset, value);
        }
        self.mailbox.set_guest_word(offset_of!(GuestWords, answer_bytes), 0);
    }

    /// One entry into the guest.
    fn enter(&mut self, deadline: Instant, log: &mut Vec<u8>) -> Result<Left, Error> {
        let call = match self.vcpu.run() {
            Ok(VcpuExit::IoOut(hypercall::PORT, [call])) => *call,
            Ok(VcpuExit::Shutdown) => {
                return Ok(Left::Ended(Stop::Violation("triple fault".into())));
            }
            Ok(exit) => {
                let what = format!("unexpected exit {exit:?}");
                return Ok(Left::Ended(Stop::Violation(what)));
            }
            Err(error) if error.errno() == libc::EINTR || error.errno() == libc::EAGAIN => {
                // The timer's signal, or one that means nothing. Forgotten before the clock is looked at, not after.
                self.deadline.forget_kick();
                if Instant::now() >= deadline {
                    return Ok(Left::Ended(Stop::TimedOut));
                }
                self.tick(deadline)?;
                return Ok(Left::Interrupted);
            }
            Err(source) => return Err(Error::Kvm { doing: "running the guest", source }),
        };
        match call {
            hypercall::NEXT => Ok(Left::Ended(self.next_or_violation()?)),
            hypercall::NOP => Ok(Left::ToGoOn),
            hypercall::LOG => {
                self.drain_log(log);
                Ok(Left::ToGoOn)
            }
            hypercall::SLEEP => {
                self.sleep(deadline);
                Ok(Left::ToGoOn)
            }
            hypercall::PAGE_FAULT => {
                self.has_faulted = true;
                let address = self.fault_address()?;
                let answer = if self.give_around(address)? { hypercall::MEMORY_GIVEN } else { address };
                self.mailbox.set_host_word(offset_of!(HostWords, fault_address), answer);
                Ok(Left::ToGoOn)
            }
            // As in NEXT: no kernel ends so.
            hypercall::EXIT | hypercall::PANIC if self.vcpu.sync_regs().regs.rflags & TRAP_FLAG != 0 => {
                Ok(Left::Ended(Stop::Violation("the guest has ended with the trap flag set".into())))
            }
            hypercall::EXIT => Ok(Left::Ended(self.exited())),
            hypercall::PANIC => Ok(Left::Ended(self.last_words()?)),
            other => Ok(Left::Ended(Stop::Violation(format!("unknown hypercall {other}")))),
        }
    }

    /// NEXT counts only from the kernel's own instruction: there, and nowhere else, all registers are in memory. And an
    /// invocation may start only in a guest that has taken its seed.
    fn next_or_violation(&mut self) -> Result<Stop, Error> {
        let next_out = self.kernel()?.next_out;
        let kvm_bindings::kvm_regs { rip, rflags, .. } = self.vcpu.sync_regs().regs;
        // Some KVMs have moved past the two bytes of `out` when they report it, some do that at the next entry.
        if rip != next_out && rip != next_out + 2 {
            return Ok(Stop::Violation(format!("hypercall NEXT from {rip:#x}")));
        }
        // The trap would strike at the next entry, before the stub loads the flags: a reset would not take it back.
        if rflags & TRAP_FLAG != 0 {
            return Ok(Stop::Violation("hypercall NEXT with the trap flag set".into()));
        }
        if self.mailbox.guest_words().seeded_generation != self.generation {
            return Ok(Stop::Violation("the guest has not taken its new seed".into()));
        }
        Ok(Stop::Next)
    }

    fn sleep(&mut self, deadline: Instant) {
        let now = clock_ns(ClockId::Monotonic);
        let wanted = Duration::from_nanos(self.mailbox.guest_words().wake_ns.saturating_sub(now));
        let begun = Instant::now();
        std::thread::sleep(wanted.min(deadline.saturating_duration_since(begun)));
        self.slept += begun.elapsed();
    }

    fn exited(&self) -> Stop {
        let words = self.mailbox.guest_words();
        if words.memory_refused != 0 && words.exit_status >= KILLED {
            return Stop::OutOfMemory;
        }
        match words.exit_status {
            status @ 0..=255 => Stop::Exited { status: status as u8 },
            status @ KILLED..=KILLED_LAST => Stop::Killed { signal: (status - KILLED) as u8, diagnosis: String::new() },
            status => Stop::Violation(format!("impossible exit status {status}")),
        }
    }

    fn last_words(&self) -> Result<Stop, Error> {
        let words = self.mailbox.guest_words();
        let fault_address = self.fault_address()?;
        if words.memory_refused != 0 {
            return Ok(Stop::OutOfMemory);
        }
        let signal = diagnosis::signal(words.last_words.vector);
        Ok(Stop::Killed { signal, diagnosis: diagnosis::describe(&words.last_words, fault_address) })
    }

    /// Only the host can read CR2: at CPL 3 `mov rax, cr2` is not allowed.
    fn fault_address(&self) -> Result<u64, Error> {
        Ok(self.vcpu.get_sregs().map_err(Error::kvm("reading the system registers"))?.cr2)
    }

    fn drain_log(&self, log: &mut Vec<u8>) {
        let mut lines = self.mailbox.take_log();
        debug_assert!(lines.len() as u64 <= LOG_BYTES);
        if let Some(mut output) = self.output.as_ref() {
            // Nobody may be reading any more; the guest's end does not depend on that.
            let _ = output.write_all(&lines);
            return;
        }
        lines.truncate(LOG_MAX_BYTES.saturating_sub(log.len()));
        log.append(&mut lines);
    }
}

fn clock_ns(clock: ClockId) -> u64 {
    let Timespec { tv_sec, tv_nsec } = rustix::time::clock_gettime(clock);
    tv_sec as u64 * 1_000_000_000 + tv_nsec as u64
}
