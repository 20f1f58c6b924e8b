//! The built-in Python runtime: RustPython with its standard library, as one static program.
//!
//! The program is an ordinary Linux one. It brings the interpreter up, imports what most functions use, opens the event
//! device and reads: that first `read` is where the runtime snapshot is taken. The first event brings the function
//! (INIT), every later one an invocation; each is answered with one `write`, and the `read` after it is where the machine
//! pauses. Nothing else is asked of the kernel per invocation.
//!
//! What must stay true:
//!
//! - No code of the function runs after a restore before [`_mayfly.entropy`](../../python/_mayfly/entropy.py) did.
//! - All output of an invocation is written before its answer.
//! - No thread is started before a function starts one.
//!
//! | module | |
//! |---|---|
//! | [`device`] | the event device: records in, records out |
//! | [`event_loop`] | from an event to its answer |
//! | [`heap`] | memory, arranged for snapshots |
//! | [`interpreter`] | RustPython with its settings and frozen modules |
//! | [`json`] | events and results to and from Python objects |
//!
//! The half that is Python is in `guest-runtime/python/`, shared with CPython, and compiled into the program.

mod device;
mod event_loop;
mod heap;
mod interpreter;
mod json;

use std::process::ExitCode;

/// Where the kernel puts the event device.
const EVENT_DEVICE: &str = "/dev/mayfly";
/// Names another event device, or a Unix socket in its place. For tests on the host.
const EVENT_DEVICE_VARIABLE: &str = "MAYFLY_EVENT_DEVICE";

fn main() -> ExitCode {
    heap::keep();
    let path = std::env::var_os(EVENT_DEVICE_VARIABLE).unwrap_or_else(|| EVENT_DEVICE.into());
    let status = interpreter::start().run(|vm| {
        let mut device = device::EventDevice::open(path.as_ref())
            .map_err(|error| vm.new_os_error(format!("{}: {error}", path.display())))?;
        event_loop::serve(&mut device, vm)
    });
    // A status has eight bits. Python passes on more and lets the kernel cut them off, as is done here.
    ExitCode::from((status & 0xff) as u8)
}
