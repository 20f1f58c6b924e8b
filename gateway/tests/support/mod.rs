//! What the integration tests share.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub mod live;
pub mod wire;
