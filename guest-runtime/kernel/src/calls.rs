//! The table of system calls: who answers which number.

use core::fmt::Write;

use mayfly_kernel::errno::Errno;
use mayfly_kernel::signals::{self, Info, Target};
use mayfly_kernel::syscall::call::{Call, Reply};
use mayfly_kernel::syscall::dispatch::{dispatch, raises_pipe_signal};
use mayfly_kernel::syscall::mapping::Memory;
use mayfly_kernel::syscall::number::{self, *};
use mayfly_kernel::syscall::{memory, process, scheduling, signal, thread, time, timer};
use mayfly_kernel::system::{Action, Answer, System, load};

use crate::machine::device::{self, Host};
use crate::machine::heap;
use crate::machine::{Hardware, mailbox};
use crate::{Kernel, Message, program};

type Handler = fn(&mut System, &mut Hardware, &[u64; 6]) -> Answer;

/// Calls that are not about files: memory and threads first.
fn handler(number: u64) -> Option<Handler> {
    Some(match number {
        BRK => memory::brk,
        MPROTECT => memory::mprotect,
        MADVISE => memory::madvise,
        MSYNC => memory::msync,
        MINCORE => memory::mincore,
        // One node of memory: every policy is kept.
        MBIND | SET_MEMPOLICY => memory::nothing,
        MLOCK | MUNLOCK | MLOCKALL | MUNLOCKALL => memory::nothing,
        CLONE => thread::clone,
        EXIT => thread::exit,
        FUTEX => thread::futex,
        SET_TID_ADDRESS => thread::set_tid_address,
        SET_ROBUST_LIST => thread::set_robust_list,
        GET_ROBUST_LIST => thread::get_robust_list,
        MEMBARRIER => thread::membarrier,
        GETTID => thread::gettid,
        SCHED_YIELD => thread::sched_yield,
        ARCH_PRCTL => thread::arch_prctl,
        _ => return time_handler(number).or_else(|| process_handler(number)).or_else(|| signal_handler(number)),
    })
}

/// Clocks, sleeping, timers.
fn time_handler(number: u64) -> Option<Handler> {
    Some(match number {
        CLOCK_GETTIME => time::clock_gettime,
        CLOCK_SETTIME => time::clock_settime,
        SETTIMEOFDAY | ADJTIMEX | CLOCK_ADJTIME => time::not_permitted,
        CLOCK_GETRES => time::clock_getres,
        GETTIMEOFDAY => time::gettimeofday,
        TIME => time::time,
        NANOSLEEP => time::nanosleep,
        CLOCK_NANOSLEEP => time::clock_nanosleep,
        ALARM => timer::alarm,
        GETITIMER => timer::getitimer,
        SETITIMER => timer::setitimer,
        TIMER_CREATE => timer::timer_create,
        TIMER_SETTIME => timer::timer_settime,
        TIMER_GETTIME => timer::timer_gettime,
        TIMER_GETOVERRUN => timer::timer_getoverrun,
        TIMER_DELETE => timer::timer_delete,
        _ => return None,
    })
}

/// The process, as far as there is one, and its one CPU.
fn process_handler(number: u64) -> Option<Handler> {
    Some(match number {
        EXIT_GROUP => process::exit_group,
        GETPID | GETPGRP | GETPGID | GETSID | SETSID => process::getpid,
        GETPPID | GETUID | GETEUID | GETGID | GETEGID => process::zero,
        SETUID | SETGID | SETREUID | SETREGID | SETRESUID | SETRESGID | SETPGID => process::zero,
        FORK | VFORK => process::no_process,
        EXECVE | EXECVEAT => process::no_exec,
        WAIT4 | WAITID => process::no_children,
        UNAME => process::uname,
        GETRANDOM => process::getrandom,
        PRLIMIT64 => process::prlimit64,
        GETRLIMIT => process::getrlimit,
        SETRLIMIT => process::zero,
        SYSINFO => process::sysinfo,
        GETRUSAGE => process::getrusage,
        TIMES => process::times,
        SCHED_GETAFFINITY => scheduling::sched_getaffinity,
        SCHED_SETAFFINITY => scheduling::sched_setaffinity,
        SCHED_GETSCHEDULER => scheduling::sched_getscheduler,
        SCHED_SETSCHEDULER => scheduling::sched_setscheduler,
        SCHED_GETPARAM => scheduling::sched_getparam,
        SCHED_SETPARAM => scheduling::sched_setparam,
        SCHED_GET_PRIORITY_MIN => scheduling::sched_get_priority_min,
        SCHED_GET_PRIORITY_MAX => scheduling::sched_get_priority_max,
        SCHED_RR_GET_INTERVAL => scheduling::sched_rr_get_interval,
        // As Linux has it: 20 less the nice value.
        GETPRIORITY => process::priority,
        SETPRIORITY => process::zero,
        GETCPU => process::getcpu,
        PRCTL => process::prctl,
        GETRESUID | GETRESGID => process::getresuid,
        SETGROUPS => process::setgroups,
        GETGROUPS => process::getgroups,
        CAPGET => process::capget,
        _ => return None,
    })
}

/// Signals.
fn signal_handler(number: u64) -> Option<Handler> {
    Some(match number {
        RT_SIGACTION => signal::rt_sigaction,
        RT_SIGPROCMASK => signal::rt_sigprocmask,
        SIGALTSTACK => signal::sigaltstack,
        KILL => signal::kill,
        TKILL => signal::tkill,
        TGKILL => signal::tgkill,
        RT_SIGPENDING => signal::rt_sigpending,
        RT_SIGSUSPEND => signal::rt_sigsuspend,
        RT_SIGTIMEDWAIT => signal::rt_sigtimedwait,
        RT_SIGQUEUEINFO => signal::rt_sigqueueinfo,
        RT_TGSIGQUEUEINFO => signal::rt_tgsigqueueinfo,
        RT_SIGRETURN => signal::rt_sigreturn,
        PAUSE => signal::pause,
        _ => return None,
    })
}

impl Kernel {
    /// Answers one system call.
    pub(crate) fn call(&mut self, number: u64, arguments: &[u64; 6], is_retry: bool) -> Answer {
        if let Some(handler) = handler(number) {
            heap::reserve(&mut self.system.space, 0);
            return handler(&mut self.system, &mut self.hardware, arguments);
        }
        match number {
            MMAP => self.memory().map(arguments),
            MUNMAP => self.memory().unmap(arguments),
            MREMAP => self.memory().remap(arguments),
            // Every C library tries these first and goes on without: not worth a line in each function's log.
            CLONE3 | RSEQ => Err(Errno::NOSYS),
            _ => {
                if !is_retry {
                    self.mask_for_the_call(number, arguments)?;
                }
                let answer = self.file_call(number, arguments);
                self.tell_of_broken_pipe(number, arguments, &answer);
                answer
            }
        }
    }

    /// Calls that wait for descriptors and block other signals meanwhile.
    fn mask_for_the_call(&mut self, number: u64, arguments: &[u64; 6]) -> Result<(), Errno> {
        let (set, bytes) = match number {
            PPOLL => (arguments[3], arguments[4]),
            EPOLL_PWAIT | EPOLL_PWAIT2 => (arguments[4], arguments[5]),
            PSELECT6 if arguments[5] != 0 => {
                let word = |at| load(&self.hardware, at).map(u64::from_le_bytes);
                (word(arguments[5])?, word(arguments[5].wrapping_add(8))?)
            }
            _ => return Ok(()),
        };
        if set == 0 {
            return Ok(());
        }
        if bytes != 8 {
            return Err(Errno::INVAL);
        }
        let mask = u64::from_le_bytes(load(&self.hardware, set)?);
        self.system.mask_for_the_call(mask);
        Ok(())
    }

    /// Who writes to where nobody reads any more gets a signal, too.
    fn tell_of_broken_pipe(&mut self, number: u64, arguments: &[u64; 6], answer: &Answer) {
        if answer.as_ref().is_err_and(|error| raises_pipe_signal(number, arguments, *error)) {
            let thread = self.system.threads.current().id;
            // The call fails in any case.
            let _ = self.system.send(Target::Thread(thread), Info::sent(signals::number::PIPE, signals::code::USER));
        }
    }

    fn memory(&mut self) -> Memory<'_, Hardware> {
        heap::reserve(&mut self.system.space, 0);
        Memory { files: &mut self.files, system: &mut self.system, machine: &mut self.hardware }
    }

    fn file_call(&mut self, number: u64, arguments: &[u64; 6]) -> Answer {
        heap::reserve(&mut self.system.space, 0);
        let changes = self.files.changes();
        let mut resume = self.system.threads.current().resume;
        let mut environment = Host { device: &mut self.device, system: &mut self.system };
        let mut call = Call {
            files: &mut self.files,
            memory: &mut self.hardware,
            environment: &mut environment,
            arguments: *arguments,
            resume: &mut resume,
        };
        let Some(answer) = dispatch(number, &mut call) else {
            self.report_unsupported(number);
            return Err(Errno::NOSYS);
        };
        self.take_new_generation();
        for span in self.files.take_released() {
            self.system.space.release(span);
        }
        if self.files.changes() != changes {
            self.system.threads.happened();
        }
        match answer? {
            Reply::Value(value) => Ok(Action::Value(value)),
            Reply::Block(wait) => {
                let waiting = self.system.threads.io();
                let thread = self.system.threads.current_mut();
                thread.resume = resume;
                thread.waits_for_event = wait.for_event;
                Ok(Action::Wait(waiting, wait.until_ns))
            }
        }
    }

    /// After a bind or reset: the host may have mapped more images and more memory.
    pub(crate) fn take_new_generation(&mut self) {
        if core::mem::take(&mut self.device.is_new_generation) {
            let host = mailbox::host();
            self.hardware.memory_bytes = host.memory_bytes;
            self.files.set_tmp_bytes(host.tmp_bytes);
            if host.image_bytes != self.image_bytes {
                self.image_bytes = host.image_bytes;
                program::set_images(&mut self.files, &mut self.hardware, host);
            }
        }
    }

    /// Says once per number that a call is not supported.
    fn report_unsupported(&mut self, number: u64) {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        let Some(reported) = self.reported.get_mut(word).filter(|reported| **reported & bit == 0) else { return };
        *reported |= bit;
        let mut message = Message { bytes: [0; 128], used: 0 };
        let name = number::name(number).unwrap_or("unknown");
        let _ = writeln!(message, "[mayfly] system call {name} ({number}) is not supported: ENOSYS");
        device::append_log(&message.bytes[..message.used]);
    }
}
