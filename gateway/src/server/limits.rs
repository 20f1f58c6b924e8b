//! Every bound on what a client may do to the server.

use std::time::Duration;

/// Bounds, with defaults that suit one machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Open connections. For further ones those are closed that have been silent for longest; if there are none, they wait in the kernel's backlog.
    pub connections: usize,
    /// From the first byte of a request to the last of its headers.
    pub header_timeout: Duration,
    /// A connection without a request.
    pub idle_timeout: Duration,
    /// Request line and headers.
    pub header_bytes: usize,
    /// In each window of this length a body must end or…
    pub body_grace: Duration,
    /// …come at this rate at least.
    pub body_bytes_per_second: u32,
    /// Memory for bodies, all together.
    pub body_memory_bytes: usize,
    /// The beginning of each body that is not counted.
    pub body_small_bytes: usize,
    /// A body that is too large is read on and thrown away, so that the client reads the answer instead of a reset
    /// connection. Up to this size…
    pub drain_bytes: u64,
    /// …and for this time.
    pub drain_timeout: Duration,
    /// A client that takes nothing of its answer.
    pub write_stall: Duration,
    /// Refusals for load that are told a second, for each processor: a tenth of its time. Further ones are told later…
    pub refusals_per_second: u32,
    /// …by this much at most.
    pub refusal_delay: Duration,
    /// The same for requests that are mistakes of their clients, who may need a new connection for each: a tenth again.
    pub mistakes_per_second: u32,
    /// From the signal to stop until what still runs is given up.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 16_384,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            header_bytes: 64 << 10,
            body_grace: Duration::from_secs(10),
            body_bytes_per_second: 16 << 10,
            body_memory_bytes: 512 << 20,
            body_small_bytes: 64 << 10,
            drain_bytes: 128 << 20,
            drain_timeout: Duration::from_secs(15),
            write_stall: Duration::from_secs(30),
            refusals_per_second: 3000,
            mistakes_per_second: 500,
            refusal_delay: Duration::from_secs(2),
            shutdown: Duration::from_secs(30),
        }
    }
}
