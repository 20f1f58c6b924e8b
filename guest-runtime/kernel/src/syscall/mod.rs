//! System calls, one file per family.

pub mod memory;
pub mod process;
pub mod signal;
pub mod thread;
pub mod time;
