//! What the benchmarks share.
//!
//! - [`distribution`]: many measurements of one thing, and their quantiles.
//! - [`breakdown`]: where the time of invocations went, as the platform says.
//! - [`platform`]: a platform in a process of its own, with functions deployed over HTTP.
//! - [`baseline`]: what Mayfly is compared with.
//! - [`http`]: a client that adds as little as possible to what it measures.
//! - [`memory`]: what processes have, and what the host has left.
//! - [`paired`]: whether two things that were measured in turns differ.
//! - [`plot`]: plots, as SVG and PNG.
//! - [`report`]: what a figure comes to: text, data, plots, and the page of all of them.

pub mod baseline;
pub mod breakdown;
pub mod distribution;
pub mod http;
pub mod memory;
pub mod paired;
pub mod platform;
pub mod plot;
pub mod report;
