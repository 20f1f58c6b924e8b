//! An event on its way in, and what came of it.

use std::time::Duration;

use bytes::Bytes;

/// One event for one function.
#[derive(Debug, Clone, Default)]
pub struct Invocation {
    /// Bare name of the function.
    pub function: String,
    /// `context.aws_request_id`, a UUID.
    pub request_id: String,
    /// The event: JSON, checked by the caller.
    pub payload: Bytes,
    /// `context.invoked_function_arn`.
    pub invoked_arn: String,
    /// `context.client_context`.
    pub client_context: Option<serde_json::Value>,
    /// Value of `_X_AMZN_TRACE_ID`.
    pub trace_id: Option<String>,
}

/// What came of an invocation that was accepted.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The version that ran.
    pub executed_version: String,
    /// The answer.
    pub answer: Answer,
    /// The end of the invocation's log.
    pub log_tail: Vec<u8>,
    /// What it was run on.
    pub start: Start,
    /// Where the time went.
    pub timing: Timing,
    /// Milliseconds that Lambda would bill.
    pub billed_ms: u64,
    /// Largest memory of the guest.
    pub memory_peak_bytes: u64,
}

/// An answer, as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What the handler returned.
    Response(Bytes),
    /// Lambda's error object: the handler raised, or the guest ended.
    FunctionError(Bytes),
}

/// What an invocation was run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// An instance that had served before, with its memory as it was left, or that was bound before the invocation came.
    Warm,
    /// An instance that had served before, with its memory put back.
    Fresh,
    /// An instance that was bound for it.
    Bound,
}

/// Where the time of an invocation went.
///
/// One part ends where the next begins, in this order; with `reset` alone, which was before it, they are less than `total`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    /// Waiting for its turn, and for an instance that is free.
    pub queue: Duration,
    /// Waiting for a shell to be bound.
    pub bind: Duration,
    /// From there until the VM process has the event.
    pub handover: Duration,
    /// In the VM process: in the guest, but for a few microseconds.
    pub run: Duration,
    /// From the end of the run until the server has the report of it.
    pub report: Duration,
    /// From there to the [`Outcome`].
    pub answer: Duration,
    /// All of it.
    pub total: Duration,
    /// Of an instance whose memory was put back: how long that took, after the invocation before.
    pub reset: Option<Duration>,
    /// Processor time that the machine had for the run; zero if that is not known.
    pub compute: Duration,
    /// Times that the guest left its vCPU by itself.
    pub exits: u64,
    /// Page faults of the VM process during the run.
    pub faults: u64,
}

/// A line of a function's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Goes up by one with each line of the function, from 1.
    pub sequence: u64,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The invocation, if it is of one.
    pub request_id: Option<String>,
    /// Name of the log stream: one per instance.
    pub stream: String,
    /// Without the line's end.
    pub text: String,
}
