//! The contract between a Mayfly host and its guest, in one crate that knows nothing else.
//!
//! - [`layout`]: where things are in the guest's memory (virtual address = physical address).
//! - [`hypercall`]: the one instruction that leaves the guest, and what it can ask for.
//! - [`mailbox`]: the pages that host and guest share, through which events, answers and log lines travel.
//! - [`image`]: read-only file trees as the guest sees them.
//! - [`record`]: how a guest program talks to its kernel over the event device.
//!
//! Rules. Every structure here is plain data with a fixed size, checked at compile time. The host reads anything that
//! the guest can write exactly once, checks it, and uses only the copy. The guest trusts what the host wrote.
//! There is no negotiation: both sides are built from the same source, and [`VERSION`] is part of every snapshot.
//!
//! Not here, and on purpose: no shared queue, no interrupts, no device registers, no pointer that the host follows.
#![no_std]

pub mod hypercall;
pub mod image;
pub mod layout;
pub mod mailbox;
pub mod record;

/// Version of everything in this crate. A snapshot of another version is rebuilt, never loaded.
pub const VERSION: u32 = 2;
