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
mod schedule;

use core::fmt::Write;
use core::ptr::addr_of_mut;
use core::sync::atomic::{AtomicBool, Ordering};

use mayfly_abi::layout::{IMAGES_MAX, KERNEL_DATA, KERNEL_TEXT};
use mayfly_abi::mailbox::{KERNEL_PANIC, LastWords};
use mayfly_kernel::files::Files;
use mayfly_kernel::sites::Sites;
use mayfly_kernel::system::System;

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
    /// Places in the program that make many calls.
    pub(crate) sites: Sites,
    /// Sizes of the images, by which new ones are noticed.
    pub(crate) image_bytes: [u64; IMAGES_MAX],
    /// The thread whose vector registers and segment bases are in the CPU; `None` once it has ended.
    pub(crate) loaded: Option<u32>,
    /// Has the thread that ran last ended?
    pub(crate) has_ended: bool,
    /// The host's count of ticks, as far as they were seen to.
    pub(crate) ticks: u64,
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
    with_kernel(Kernel::serve);
}

/// The host interrupted the program; its registers are in the current frame.
pub(crate) extern "C" fn ticked() {
    with_kernel(Kernel::leave);
}

/// An exception of the program; its vector registers are in the current frame, the others on the exception stack.
pub(crate) extern "C" fn program_fault(exception: &ExceptionFrame) {
    // Another fault, of the kernel at memory that it is given only then, would overwrite it there.
    let exception = *exception;
    with_kernel(|kernel| kernel.fault(&exception));
}

/// Enters the kernel; afterwards the current frame is that of the thread that goes on.
fn with_kernel(serve: impl FnOnce(&mut Kernel)) {
    // SAFETY: the kernel is entered only from the program, one at a time, after `started`.
    let Some(kernel) = (unsafe { (*addr_of_mut!(KERNEL)).as_mut() }) else { panic!("no program") };
    serve(kernel);
    // SAFETY: as above; the frame's box does not move.
    unsafe { entry::CURRENT = &raw mut *kernel.system.threads.current_mut().frame };
}

/// An exception of the kernel itself: these are the last words. Another one meanwhile leaves out what may have caused it.
pub(crate) extern "C" fn kernel_fault(exception: &ExceptionFrame) -> ! {
    static IS_FIRST: AtomicBool = AtomicBool::new(true);
    if IS_FIRST.swap(false, Ordering::Relaxed) {
        // SAFETY: the guest ends here; whatever was borrowed is not used again.
        if let Some(kernel) = unsafe { (*addr_of_mut!(KERNEL)).as_ref() } {
            device::report_memory(&kernel.system);
        }
    }
    die(exception)
}

/// The guest ends for an exception.
pub(crate) fn die(exception: &ExceptionFrame) -> ! {
    hypercall::die(LastWords {
        vector: exception.vector,
        error_code: exception.error_code,
        in_kernel: u64::from((KERNEL_TEXT..KERNEL_DATA).contains(&exception.rip)),
        rip: exception.rip,
        rsp: exception.rsp,
        rflags: exception.rflags,
        registers: exception.registers,
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
