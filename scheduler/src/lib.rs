//! Mayfly's policy: which functions exist, how a package becomes a snapshot, who runs when, and what a caller is told.
//!
//! - [`Platform`] is the whole of it for a gateway: create, change, delete and invoke functions.
//! - [`function`], [`layer`], [`configuration`], [`invocation`] and [`refusal`] are the words in which the two talk.
//! - [`runtime`] packs interpreters of the host, and runs programs of them.
//! - `catalog` keeps what was acknowledged; `package` and `image` make files for guests; `deploy` puts them together.
//! - `pool`, `instance` and `dispatch` hand machines to invocations; `invoke` turns what a machine says into an answer.
//! - [`shares`] gives those that run their part of the processors.
//!
//! Rules. Nothing here knows HTTP, and nothing but `machine` knows how a virtual machine is made. What is acknowledged
//! is on the disk. A shell that served one function is never given to another. Every queue and wait has its bound in
//! [`limits`], every time comes from `clock`.

mod catalog;
mod cgroup;
mod clock;
pub mod configuration;
mod deploy;
mod dispatch;
mod files;
pub mod function;
mod image;
mod instance;
pub mod invocation;
mod invoke;
pub mod layer;
pub mod limits;
mod logs;
mod machine;
mod memory;
pub mod package;
mod platform;
mod pool;
pub mod refusal;
pub mod runtime;
pub mod settings;
pub mod shares;
pub mod status;

pub use configuration::{Configuration, ConfigurationChange, LogFormat, Logging};
pub use function::{Code, Function, FunctionState, NewFunction, ProvisionedRequest, Reason, UpdateStatus};
pub use invocation::{Answer, Invocation, LogLine, Outcome, Start, Timing};
pub use layer::{AboutLayer, LayerFilter, LayerId, LayerStatement, LayerVersion, NewLayer, UsedLayer};
pub use machine::vmm::ZYGOTE_ARGUMENT;
/// What this host offers to machines.
pub use mayfly_vmm::host;
/// What the process does that is started with [`ZYGOTE_ARGUMENT`], before anything else and with one thread.
pub use mayfly_vmm::zygote_main;
pub use package::PackageError;
pub use platform::Platform;
pub use refusal::{OpenError, Refusal, ThrottleReason};
pub use settings::{CpuShares, Settings, StateMode};
pub use status::{Provision, Provisioned, ProvisionedState, Reservation, Status};
