//! What the benchmarks share.
//!
//! - [`distribution`]: many measurements of one thing, and their quantiles.
//! - [`breakdown`]: where the time of invocations went, as the platform says.
//! - [`platform`]: a platform in a process of its own, with functions deployed over HTTP.
//! - [`http`]: a client that adds as little as possible to what it measures.
//! - [`report`]: the table and the JSON file.

pub mod breakdown;
pub mod distribution;
pub mod http;
pub mod platform;
pub mod report;
