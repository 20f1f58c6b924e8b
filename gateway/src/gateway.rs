//! What every request can reach.

use std::sync::Arc;

use mayfly_scheduler::Platform;
use tokio::sync::Semaphore;

use crate::{awake::Awake, metrics::Metrics, server::Limits, stack::pace::Paces};

/// The platform and the bounds within which it is offered.
pub struct Gateway {
    /// Functions and their machines.
    pub platform: Platform,
    /// Bounds of what clients may do.
    pub limits: Limits,
    /// What became of the invocations.
    pub metrics: Arc<Metrics>,
    /// Memory for large bodies, in KiB: what all clients together may hold.
    pub body_memory: Arc<Semaphore>,
    /// When refusals are told.
    pub paces: Paces,
    /// What keeps processors awake while invocations come.
    pub awake: Awake,
}

impl Gateway {
    /// A gateway to `platform`.
    #[must_use]
    pub fn new(platform: Platform, limits: Limits, awake: Awake) -> Arc<Gateway> {
        let body_memory = Arc::new(Semaphore::new(limits.body_memory_bytes / 1024));
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        let paces = Paces::new(&limits, processors);
        Arc::new(Gateway { platform, limits, metrics: Arc::default(), body_memory, paces, awake })
    }
}
