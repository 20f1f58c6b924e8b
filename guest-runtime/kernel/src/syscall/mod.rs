//! System calls, one file per family.

mod attributes;
pub mod call;
mod control;
mod copy;
pub mod dispatch;
mod epoll;
mod layout;
pub mod library;
mod list;
pub mod mapping;
pub mod memory;
mod names;
pub mod number;
mod open;
mod pipe;
mod poll;
pub mod process;
pub mod scheduling;
mod segments;
pub mod signal;
mod socket;
mod status;
pub mod thread;
pub mod time;
pub mod timer;
mod timerfd;
mod transfer;
