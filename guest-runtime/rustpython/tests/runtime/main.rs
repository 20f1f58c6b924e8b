//! The program as the kernel sees it: events in, answers and log out. A Unix socket stands in for the event device.
//!
//! | module | what it holds the program to |
//! |---|---|
//! | [`answers`] | results, exceptions, exits |
//! | [`examples`] | the example functions answer what their folders say |
//! | [`initialization`] | finding the handler, and every way not to |
//! | [`invocation`] | context, environment, state between invocations |
//! | [`json`] | events and results as AWS's runtime reads and writes them |
//! | [`log`] | what is written where, and when |
//! | [`modules`] | the standard library that functions may count on |
//! | [`restore`] | nothing random repeats in a clone |
//! | [`system_calls`] | one read and one write per invocation |

mod answers;
mod driver;
mod examples;
mod initialization;
mod invocation;
mod json;
mod log;
mod modules;
mod restore;
mod system_calls;
