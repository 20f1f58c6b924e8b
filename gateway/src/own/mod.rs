//! Mayfly's own pages, beside Lambda's API.

mod health;
mod logs;
mod metrics;
mod package;

use crate::{
    lambda::Error,
    stack::{Call, Reply},
};

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Whether the process answers.
    Health,
    /// Whether it can serve invocations.
    Ready,
    /// What it is doing, in numbers.
    Status,
    /// What happened so far, for Prometheus.
    Metrics,
    /// Log lines of a function.
    Logs,
    /// A package, by its digest.
    Package,
}

/// Answers it.
///
/// # Errors
/// See [`Error`].
pub async fn answer(page: Page, call: Call) -> Result<Reply, Error> {
    match page {
        Page::Health => Ok(health::health()),
        Page::Ready => health::ready(&call),
        Page::Status => health::status(&call),
        Page::Metrics => metrics::answer(&call),
        Page::Logs => logs::answer(&call),
        Page::Package => package::answer(&call).await,
    }
}
