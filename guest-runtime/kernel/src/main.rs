//! Bring-up.
#![no_std]
#![no_main]
#![allow(unsafe_code, missing_docs, dead_code, unused_imports)]
extern crate alloc;
mod machine;
use mayfly_kernel::frame::Frame;
use machine::entry::{self, ExceptionFrame};
use machine::{hypercall, mailbox};

pub(crate) extern "C" fn started() {
    loop {
        unsafe { entry::XCR0 = mailbox::host().xcr0; }
        mailbox::guest().seeded_generation = mailbox::host().generation;
        unsafe { entry::next_event() };
        mailbox::guest().seeded_generation = mailbox::host().generation;
        let event = mailbox::event();
        mailbox::answer()[..event.len()].copy_from_slice(event);
        mailbox::guest().answer_bytes = event.len() as u64;
    }
}
pub(crate) extern "C" fn system_call_entered() {}
pub(crate) extern "C" fn exception_entered(frame: &ExceptionFrame) -> ! {
    let mut words = mailbox::guest().last_words; if words.rip != 0 { loop {} }
    words.vector = frame.vector; words.error_code = frame.error_code; words.rip = frame.rip; words.rsp = frame.rsp; words.rflags = frame.rflags; words.registers = frame.registers;
    hypercall::die(words)
}
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! { hypercall::exit(99) }
