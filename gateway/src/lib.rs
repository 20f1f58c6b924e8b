//! Mayfly's HTTP side: the Lambda API on hyper, and the `mayfly` program around it.
//!
//! - [`server`] owns sockets: who is let in, for how long, and how it ends.
//! - [`stack`] is what happens to every request, top to bottom on one screen.
//! - [`route`] is the table of everything that can be asked for.
//! - [`lambda`] answers AWS Lambda's operations, one file each; [`own`] answers Mayfly's own.
//! - [`metrics`] counts what the invocations came to, for Prometheus.
//! - [`cli`] is the program: `serve`, `demo`, `doctor`, and a client for the rest.
//!
//! Rules. Nothing here knows how a machine is made. Only this crate knows status codes, and only [`stack::respond`]
//! turns an error into a response. Every read, write, body and wait has its bound in [`server::Limits`].

pub mod awake;
pub mod cli;
pub mod embedded;
pub mod gateway;
pub mod lambda;
pub mod metrics;
pub mod own;
pub mod route;
pub mod server;
pub mod stack;
pub mod threads;
pub mod timestamp;

pub use gateway::Gateway;
