//! The table of system calls: who answers which number.

use core::fmt::Write;

use mayfly_abi::layout::{IMAGE_STRIDE_BYTES, IMAGES};
use mayfly_kernel::errno::Errno;
use mayfly_kernel::files::Mappable;
use mayfly_kernel::syscall::call::{Call, Reply};
use mayfly_kernel::syscall::dispatch::dispatch;
use mayfly_kernel::syscall::number::{self, *};
use mayfly_kernel::syscall::{memory, process, signal, thread, time};
use mayfly_kernel::system::{Action, Answer, System};
use mayfly_kernel::user::UserMemory;

use crate::machine::device::{self, Host};
use crate::machine::heap;
use crate::machine::{Hardware, mailbox};
use crate::{Kernel, Message, program};

const MAP_ANONYMOUS: u64 = 0x20;
const MAP_FIXED: u64 = 0x10;
const MAP_SHARED: u64 = 1;
const PROT_WRITE: u64 = 2;

type Handler = fn(&mut System, &mut Hardware, &[u64; 6]) -> Answer;

/// Calls that are not about files.
fn handler(number: u64) -> Option<Handler> {
    Some(match number {
        BRK => memory::brk,
        MUNMAP => memory::munmap,
        MPROTECT => memory::mprotect,
        MREMAP => memory::mremap,
        MADVISE => memory::madvise,
        MSYNC | MLOCK | MUNLOCK | MLOCKALL | MUNLOCKALL => memory::nothing,
        CLONE => thread::clone,
        EXIT => thread::exit,
        FUTEX => thread::futex,
        SET_TID_ADDRESS => thread::set_tid_address,
        GETTID => thread::gettid,
        SCHED_YIELD => thread::sched_yield,
        ARCH_PRCTL => thread::arch_prctl,
        CLOCK_GETTIME => time::clock_gettime,
        CLOCK_GETRES => time::clock_getres,
        GETTIMEOFDAY => time::gettimeofday,
        TIME => time::time,
        NANOSLEEP => time::nanosleep,
        CLOCK_NANOSLEEP => time::clock_nanosleep,
        EXIT_GROUP => process::exit_group,
        GETPID | GETPGRP | GETPGID | GETSID | SETSID => process::getpid,
        GETPPID | GETUID | GETEUID | GETGID | GETEGID | SET_ROBUST_LIST => process::zero,
        SETUID | SETGID | SETPGID => process::zero,
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
        SCHED_GETAFFINITY => process::sched_getaffinity,
        SCHED_SETAFFINITY | SCHED_SETSCHEDULER | SCHED_GETSCHEDULER | GETPRIORITY | SETPRIORITY => process::zero,
        GETCPU => process::getcpu,
        PRCTL => process::prctl,
        GETRESUID | GETRESGID => process::getresuid,
        GETGROUPS => process::getgroups,
        CAPGET => process::capget,
        RT_SIGACTION => signal::rt_sigaction,
        RT_SIGPROCMASK => signal::rt_sigprocmask,
        SIGALTSTACK => signal::sigaltstack,
        KILL => signal::kill,
        TKILL => signal::tkill,
        TGKILL => signal::tgkill,
        _ => return None,
    })
}

impl Kernel {
    /// Answers one system call.
    pub(crate) fn call(&mut self, number: u64, arguments: &[u64; 6]) -> Answer {
        if let Some(handler) = handler(number) {
            heap::reserve(&mut self.system.space, 0);
            return handler(&mut self.system, &mut self.hardware, arguments);
        }
        match number {
            MMAP => {
                heap::reserve(&mut self.system.space, 0);
                self.mmap(arguments)
            }
            // Every C library tries these first and goes on without: not worth a line in each function's log.
            CLONE3 | RSEQ => Err(Errno::NOSYS),
            _ => self.file_call(number, arguments),
        }
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
            let ends = program::image_ends(host);
            self.hardware.memory_bytes = host.memory_bytes;
            self.files.set_tmp_bytes(host.tmp_bytes);
            if ends != self.hardware.image_end {
                self.hardware.image_end = ends;
                program::set_images(&mut self.files, host);
            }
        }
    }

    /// `mmap(address, bytes, protection, flags, fd, offset)`. A file is mapped by copying it: pages of images that are only
    /// read could be used in place, but a program may map them writable and private at any alignment.
    fn mmap(&mut self, arguments: &[u64; 6]) -> Answer {
        let [address, bytes, protection, flags, fd, offset] = *arguments;
        if flags & MAP_ANONYMOUS != 0 {
            return memory::mmap(&mut self.system, &mut self.hardware, arguments);
        }
        if !offset.is_multiple_of(4096) || bytes == 0 {
            return Err(Errno::INVAL);
        }
        let mappable = self.files.mappable(fd)?;
        if let Mappable::InPlace(data) = mappable
            && protection & PROT_WRITE == 0
            && flags & MAP_FIXED == 0
        {
            let start = data.as_ptr() as u64 + offset;
            let rounded = (data.len() as u64).next_multiple_of(4096);
            let in_image = (IMAGES..IMAGES + 8 * IMAGE_STRIDE_BYTES).contains(&start);
            if in_image && start.is_multiple_of(4096) && offset.checked_add(bytes).is_some_and(|end| end <= rounded) {
                return Ok(Action::Value(start));
            }
        }
        if let Mappable::Copy { is_writable: true, .. } = mappable
            && flags & MAP_SHARED != 0
            && protection & PROT_WRITE != 0
        {
            // Stores to the mapping would have to appear in the file.
            return Err(Errno::NODEV);
        }
        let Action::Value(start) = memory::mmap(&mut self.system, &mut self.hardware, arguments)? else {
            return Err(Errno::NOMEM);
        };
        let _ = address;
        if mappable != Mappable::Zeros {
            let target = self.hardware.write(start, bytes)?;
            self.files.copy_file(fd, offset, target)?;
        }
        Ok(Action::Value(start))
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
