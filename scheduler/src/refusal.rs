//! What is not done, and whose fault that is.

use std::{path::PathBuf, time::Duration};

use crate::{function::FunctionState, function::Reason, package::PackageError};

/// A request that was not carried out. Except for [`Refusal::Platform`], nothing has happened.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Refusal {
    /// Caller: no such function.
    #[error("Function not found: {arn}")]
    NotFound {
        /// Unqualified.
        arn: String,
    },
    /// Caller: no such version of a layer, or no policy of it.
    #[error("{0}")]
    LayerNotFound(String),
    /// Caller: no such package.
    #[error("no package with SHA-256 {0}")]
    PackageNotFound(String),
    /// Caller: the name is taken.
    #[error("Function already exist: {name}")]
    AlreadyExists {
        /// Bare name.
        name: String,
    },
    /// Caller: one update at a time.
    #[error("The operation cannot be performed at this time. An update is in progress for resource: {arn}")]
    UpdateInProgress {
        /// Unqualified.
        arn: String,
    },
    /// Caller: the policy has that statement already.
    #[error(
        "The statement id ({0}) provided already exists. Please provide a new statement id, or remove the existing statement."
    )]
    StatementExists(String),
    /// Caller: the function has changed since.
    #[error(
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve \
         the latest Revision Id"
    )]
    RevisionMismatch,
    /// Caller: the policy has changed since.
    #[error(
        "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the latest \
         Revision Id"
    )]
    PolicyRevisionMismatch,
    /// Caller: the zip cannot be used.
    #[error(transparent)]
    InvalidPackage(#[from] PackageError),
    /// Caller: a parameter cannot be used.
    #[error("{0}")]
    InvalidParameter(String),
    /// Caller: a parameter is outside of what the API's model allows: "1 validation error detected: …".
    #[error("{0}")]
    Validation(String),
    /// Overload: it did not run, and may be tried again.
    #[error("Rate Exceeded.")]
    Throttled {
        /// Which limit.
        reason: ThrottleReason,
        /// The limit.
        limit: u64,
        /// How much of it is in use.
        present: u64,
        /// When to try again.
        retry_after: Duration,
    },
    /// Caller or function: it is not deployed (yet).
    #[error(
        "The operation cannot be performed at this time. The function is currently in the following state: {state:?}"
    )]
    NotActive {
        /// Unqualified.
        arn: String,
        /// Its state.
        state: FunctionState,
        /// Why.
        reason: Option<Reason>,
    },
    /// Caller: the event is too large.
    #[error("{bytes} byte payload is too large for the Invoke operation (limit {limit} bytes)")]
    PayloadTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Platform: it is being stopped.
    #[error("the platform is shutting down")]
    ShuttingDown,
    /// Platform: what went wrong, for the log and the operator.
    #[error("{0}")]
    Platform(String),
}

/// Sooner, the same would happen again.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);

impl Refusal {
    /// For load: try again after that, and not at once.
    pub(crate) fn throttled(reason: ThrottleReason, limit: u64, present: u64, retry_after: Duration) -> Refusal {
        Refusal::Throttled { reason, limit, present, retry_after: retry_after.max(RETRY_AFTER_MIN) }
    }
}

/// Which limit throttles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleReason {
    /// The function's reserved concurrency.
    ReservedConcurrency,
    /// The account's concurrency, less what others have reserved.
    AccountConcurrency,
    /// More environments in 10 s than a function may start.
    ScalingRate,
    /// The function's queue is full.
    QueueFull,
    /// The function gets more invocations than can be carried out, and this one would wait for too long: milliseconds.
    Overload,
    /// It waited as long as it may: milliseconds.
    QueueTimeout,
    /// The host cannot back another instance of that size: MiB.
    Memory,
}

impl ThrottleReason {
    /// Lambda's `Reason`: it knows two.
    #[must_use]
    pub fn lambda_reason(self) -> &'static str {
        match self {
            ThrottleReason::ReservedConcurrency => "ReservedFunctionConcurrentInvocationLimitExceeded",
            _ => "ConcurrentInvocationLimitExceeded",
        }
    }
}

/// Why a platform cannot be opened. One sentence, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Operator: the directory cannot be used.
    #[error("the data directory {} cannot be used ({source}); give one that this user may write with --data-dir", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Operator: another process has it.
    #[error("the data directory {} is in use by another mayfly; stop that one or give another with --data-dir", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// Operator: made by a newer version.
    #[error(
        "the data directory {} has format {found}, this mayfly knows up to {known}; run the newer mayfly that wrote it, or give another with --data-dir",
        path.display()
    )]
    NewerFormat {
        /// The directory.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// Operator: damaged.
    #[error("the catalog in {} cannot be read ({detail}); restore it from a backup or remove it to start empty", path.display())]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Host: no virtual machines here.
    #[error("no virtual machine can be started here: {0}")]
    Machines(String),
}
