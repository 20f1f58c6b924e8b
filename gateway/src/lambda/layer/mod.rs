//! Layers: one file per operation or family, and what they share.
//!
//! - [`name`] reads names and ARNs, [`document`] writes versions.

pub(super) mod delete;
mod document;
pub(super) mod name;
pub(super) mod policy;
pub(super) mod publish;
pub(super) mod read;
