//! Mayfly's guest kernel.
//!
//! A Linux system-call layer for one program in one virtual machine, all of it at CPL 3: no process but one, no
//! paging, no device but the mailbox. This library is the kernel's logic and has no instruction that a host could not
//! run; `main.rs` adds the entry points, the vectors and the hypercalls.
#![no_std]

extern crate alloc;

pub mod clock;
pub mod elf;
pub mod errno;
pub mod files;
pub mod frame;
pub mod memory;
pub mod random;
pub mod signals;
pub mod sites;
pub mod syscall;
pub mod system;
pub mod threads;
pub mod timers;
pub mod user;
pub mod vectors;
