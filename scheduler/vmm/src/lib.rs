//! One virtual machine, and the process that it lives in.
//!
//! - [`machine`]: memory, vCPU, boot, bind, run, save, reset.
//! - [`shell`]: the process around a machine, its zygote, and the server's handle on it.
//! - [`snapshot`]: the file format.
//! - [`mailbox`]: the pages shared with the guest.
//! - [`diagnosis`]: the last words of a guest.
//! - [`dirty`]: which pages diverged.
//! - [`host`]: what this host offers, and how to cure what is missing.
//!
//! Nothing here knows a function's name, JSON, HTTP or an async runtime. Whatever comes from a guest is copied once, checked,
//! then used; a guest that does what ours never do is stopped and its machine thrown away.

pub mod diagnosis;
pub mod dirty;
mod error;
pub mod host;
mod kernel;
pub mod machine;
pub mod mailbox;
mod memory;
pub mod shell;
pub mod snapshot;
mod tables;
mod vcpu;

pub use error::Error;
pub use machine::{Host, ImageFile, Machine, ResetStats, Stop, Usage, WorkingSet};
pub use mailbox::{Answer, BadAnswer, Mailbox};
pub use shell::{Command, Event, Report, Shell, Stopped, Zygote, zygote_main};
pub use snapshot::{Snapshot, SnapshotError};
