//! What the platform is doing, in numbers.

use std::time::Duration;

/// As of one moment.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// Whether invocations can be served: the runtime snapshot is there, and so are shells.
    pub ready: bool,
    /// Why it is not ready.
    pub not_ready_reason: Option<String>,
    /// Whether it is being stopped.
    pub shutting_down: bool,
    /// Functions in the catalog.
    pub functions: usize,
    /// Deploys going on or waiting.
    pub deploys: usize,
    /// Shells that wait to be bound.
    pub shells_ready: usize,
    /// How many there shall be.
    pub shells_target: usize,
    /// Instances that wait for an event.
    pub instances_idle: usize,
    /// Instances that serve one, or are being bound or reset.
    pub instances_busy: usize,
    /// Invocations that wait for their turn to run, or for an instance.
    pub invocations_queued: usize,
    /// Invocations admitted and not answered.
    pub invocations_running: usize,
    /// Invocations whose turn it is to run.
    pub turns: usize,
    /// Processors that they may use together, by what their functions used before; infinite without overload control.
    pub turns_limit: f64,
    /// Since the start: invocations answered.
    pub invocations_total: u64,
    /// Since the start: invocations refused for load.
    pub throttles_total: u64,
    /// Since the start: instances destroyed because an invocation failed.
    pub instances_failed_total: u64,
    /// Since the start: resets.
    pub resets_total: u64,
    /// Most invocations admitted and not answered.
    pub concurrency_limit: u32,
    /// Concurrency that functions have reserved.
    pub reservations: Vec<Reservation>,
    /// Instances that functions have before anyone calls.
    pub provisions: Vec<Provision>,
    /// Most instances.
    pub instances_limit: usize,
    /// Most instances of one function.
    pub instances_per_function_limit: usize,
    /// Most invocations of one function that wait.
    pub queue_per_function_limit: usize,
    /// Longest wait.
    pub queue_wait_limit: Duration,
    /// Memory of the host that idle instances must leave.
    pub memory_reserve_bytes: u64,
    /// Memory that the host has left, if it has been looked at.
    pub memory_available_bytes: Option<u64>,
}

/// The provisioned concurrency of a function, and its use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provision {
    /// Name of the function.
    pub function: String,
    /// What was asked for, and what there is.
    pub provisioned: Provisioned,
    /// Invocations in flight that have a part of it.
    pub in_flight: u32,
    /// Since it was asked for, or since the start: invocations that came when all of it was in use.
    pub spilled_total: u64,
}

/// Provisioned concurrency: what was asked for, and what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisioned {
    /// Instances that shall be there.
    pub requested: u32,
    /// Those that are there or are being bound.
    pub allocated: u32,
    /// Those that are bound, busy or idle.
    pub available: u32,
    /// What that means.
    pub state: ProvisionedState,
    /// Milliseconds since 1970, when it was asked for.
    pub modified_ms: u64,
}

/// How far provisioned concurrency is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProvisionedState {
    /// It takes its time.
    InProgress,
    /// All of it is there.
    Ready,
    /// It is not, for this reason. The platform goes on trying.
    Failed(String),
}

/// The concurrency that a function has to itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Name of the function.
    pub function: String,
    /// Most invocations of it in flight.
    pub limit: u32,
    /// How many there are.
    pub in_flight: u32,
}
