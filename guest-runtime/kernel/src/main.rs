//! The guest kernel as a program: what happens at start, at a system call, at an exception.
//!
//! Everything runs at CPL 3. There is one stack for the kernel and no state of a system call across a switch of threads; the library
//! next to this file has the logic, `machine` has the hardware.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "entry points and hardware; the logic is in the library, which has none")]

extern crate alloc;

mod calls;
mod machine;
mod program;

use core::fmt::Write;
use core::ptr::addr_of_mut;

use mayfly_abi::layout::{KERNEL_DATA, KERNEL_TEXT};
use mayfly_abi::mailbox::{KERNEL_PANIC, LastWords};
use mayfly_kernel::files::Files;
use mayfly_kernel::frame::{Frame, register};
use mayfly_kernel::system::{Action, Machine, System};
use mayfly_kernel::threads::Next;

use machine::device::{self, Device};
use machine::entry::{self, ExceptionFrame};
use machine::{Hardware, hypercall, mailbox};

/// All that the kernel knows.
pub(crate) struct Kernel {
    pub(crate) system: System,
    pub(crate) files: Files,
    pub(crate) hardware: Hardware,
    pub(crate) device: Device,
    /// System calls that were reported as not supported, one bit each.
    pub(crate) reported: [u64; 8],
}

static mut KERNEL: Option<Kernel> = None;

/// First code of a fresh guest: loads the program that the host named.
pub(crate) extern "C" fn started() {
    // SAFETY: nothing else runs yet.
    unsafe { entry::XCR0 = mailbox::host().xcr0 };
    match program::load() {
        // SAFETY: nothing else runs; the frame lives on the heap, in the kernel's thread table.
        Ok(kernel) => unsafe {
            *addr_of_mut!(KERNEL) = Some(kernel);
            if let Some(kernel) = (*addr_of_mut!(KERNEL)).as_mut() {
                entry::CURRENT = &raw mut *kernel.system.threads.current_mut().frame;
            }
        },
        Err(error) => panic!("the program cannot be loaded: errno {}", error.0),
    }
}

/// A system call of the program; its registers are in the current frame.
pub(crate) extern "C" fn system_call_entered() {
    // SAFETY: the kernel is entered only from the program, one at a time, after `started`.
    let Some(kernel) = (unsafe { (*addr_of_mut!(KERNEL)).as_mut() }) else { panic!("no program") };
    kernel.serve();
    // SAFETY: as above; the frame's box does not move.
    unsafe { entry::CURRENT = &raw mut *kernel.system.threads.current_mut().frame };
}

impl Kernel {
    /// Makes the running thread's call, and lets others run until one returns to the program.
    fn serve(&mut self) {
        loop {
            self.device.system_calls += 1;
            let (number, arguments) = self.system.threads.current().frame.system_call();
            let result = match self.call(number, &arguments) {
                Ok(Action::Value(value)) => value,
                Err(error) => (-i64::from(error.0)) as u64,
                Ok(Action::Resume) => return,
                Ok(Action::End(status)) => self.end(status),
                Ok(Action::Wait(waiting, until_ns)) => {
                    // The result of a wait that nothing interrupts; whoever wakes it may set another.
                    self.system.threads.current_mut().frame.registers[register::RAX] =
                        if matches!(waiting, mayfly_kernel::threads::Waiting::Io { .. }) { number } else { 0 };
                    self.system.threads.block(waiting, until_ns);
                    if self.switch(true) {
                        continue;
                    }
                    return;
                }
                Ok(Action::Yield) => {
                    self.system.threads.current_mut().frame.registers[register::RAX] = 0;
                    if self.switch(true) {
                        continue;
                    }
                    return;
                }
                Ok(Action::EndThread) => {
                    self.system.threads.exit();
                    if self.switch(false) {
                        continue;
                    }
                    return;
                }
            };
            let thread = self.system.threads.current_mut();
            thread.frame.registers[register::RAX] = result;
            thread.resume = mayfly_kernel::syscall::call::Resume::default();
            return;
        }
    }

    /// Finds a thread that can go on, waiting if there is none; `true` if its system call has to be made again.
    fn switch(&mut self, save: bool) -> bool {
        let before = save.then(|| self.system.threads.running());
        loop {
            let now = self.system.now_ns(&self.hardware);
            self.system.threads.expire(now);
            let (index, again) = match self.system.threads.next() {
                Next::Resume(index) => (index, false),
                Next::Retry(index) => (index, true),
                Next::Sleep(_) if self.system.threads.any_waits_for_event() => {
                    self.device.next(&mut self.system);
                    self.take_new_generation();
                    self.system.threads.happened();
                    continue;
                }
                Next::Sleep(until_ns) => {
                    device::report_memory(&self.system);
                    let until =
                        if until_ns == u64::MAX { until_ns } else { self.system.clock.to_host_monotonic_ns(until_ns) };
                    hypercall::sleep_until(until);
                    continue;
                }
            };
            if before != Some(index) {
                self.exchange(before, index);
            }
            self.system.threads.run(index);
            return again;
        }
    }

    /// Registers that are not in a frame: to the old thread, from the new one.
    fn exchange(&mut self, old: Option<usize>, new: usize) {
        if let Some(old) = old {
            let (fs_base, gs_base, vectors) =
                (self.hardware.fs_base(), self.hardware.gs_base(), self.hardware.vectors());
            let thread = self.system.threads.at_mut(old);
            (thread.frame.fs_base, thread.frame.gs_base) = (fs_base, gs_base);
            *thread.vectors = vectors;
        }
        let thread = self.system.threads.at_mut(new);
        let Frame { fs_base, gs_base, .. } = *thread.frame;
        self.hardware.set_vectors(&thread.vectors);
        self.hardware.set_gs_base(gs_base);
        self.hardware.set_fs_base(fs_base);
    }

    fn end(&mut self, status: u64) -> ! {
        device::report_memory(&self.system);
        mailbox::guest().system_calls = self.device.system_calls;
        hypercall::exit(status)
    }
}

/// An exception. Nobody handles any yet: these are the last words.
pub(crate) extern "C" fn exception_entered(frame: &ExceptionFrame) -> ! {
    // SAFETY: the guest ends here; whatever was borrowed is not used again.
    if let Some(kernel) = unsafe { (*addr_of_mut!(KERNEL)).as_ref() } {
        device::report_memory(&kernel.system);
    }
    let in_kernel = (KERNEL_TEXT..KERNEL_DATA).contains(&frame.rip);
    hypercall::die(LastWords {
        vector: frame.vector,
        error_code: frame.error_code,
        in_kernel: u64::from(in_kernel),
        rip: frame.rip,
        rsp: frame.rsp,
        rflags: frame.rflags,
        registers: frame.registers,
        message_bytes: 0,
        message: [0; 128],
    })
}

/// Text of bounded length.
struct Message {
    bytes: [u8; 128],
    used: usize,
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let bytes = text.len().min(self.bytes.len() - self.used);
        self.bytes[self.used..self.used + bytes].copy_from_slice(&text.as_bytes()[..bytes]);
        self.used += bytes;
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let mut message = Message { bytes: [0; 128], used: 0 };
    let line = info.location().map_or(0, core::panic::Location::line);
    let _ = write!(message, "{} (line {line})", info.message());
    hypercall::die(LastWords {
        vector: KERNEL_PANIC,
        error_code: 0,
        in_kernel: 1,
        rip: 0,
        rsp: 0,
        rflags: 0,
        registers: [0; 15],
        message_bytes: message.used as u64,
        message: message.bytes,
    })
}
