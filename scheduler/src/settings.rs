//! What an operator can choose.

use std::{path::PathBuf, time::Duration};

use crate::shares::Cpus;

/// What happens to the memory of an instance after an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StateMode {
    /// It stays: Lambda's own behaviour.
    #[default]
    Reuse,
    /// It is put back to what it was when the handler had been imported.
    Fresh,
}

impl StateMode {
    /// Name of the tag with which a function chooses.
    pub const TAG: &'static str = "mayfly:state";

    /// The mode called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<StateMode> {
        match name {
            "reuse" => Some(StateMode::Reuse),
            "fresh" => Some(StateMode::Fresh),
            _ => None,
        }
    }
}

/// By what functions get their shares of the processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CpuShares {
    /// The best that the host gives.
    #[default]
    Auto,
    /// Nice values.
    Nice,
    /// They get none: the kernel treats all machines alike.
    Off,
}

impl CpuShares {
    /// The one called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<CpuShares> {
        match name {
            "auto" => Some(CpuShares::Auto),
            "nice" => Some(CpuShares::Nice),
            "off" => Some(CpuShares::Off),
            _ => None,
        }
    }
}

/// Settings of a [`Platform`](crate::Platform).
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the catalog, packages, images and snapshots are. One process at a time.
    pub data_dir: PathBuf,
    /// Account in every ARN.
    pub account_id: String,
    /// Region in every ARN and in the functions' environment.
    pub region: String,
    /// For functions without the tag [`StateMode::TAG`].
    pub default_state: StateMode,
    /// Shells that wait, ready to be bound.
    pub shells: usize,
    /// Most instances at a time, busy or idle.
    pub instances_max: usize,
    /// Most instances of one function at a time, busy or idle.
    pub instances_per_function_max: usize,
    /// Most invocations at a time.
    pub account_concurrency: u32,
    /// Most environments that a function may start in 10 s, an environment being what an invocation in flight has on Lambda; `None`: any number.
    pub scaling_rate: Option<u32>,
    /// Whether no more invocations run at a time than the processors can carry out, and those are refused that would wait for too long.
    pub overload_control: bool,
    /// Most invocations of one function that wait for their turn.
    pub queue_per_function: usize,
    /// Longest wait for a turn, or for an instance after that.
    pub queue_wait_max: Duration,
    /// By what functions get their shares of the processors.
    pub cpu_shares: CpuShares,
    /// Processors that machines run on; `None`: those of this process.
    pub vm_cpus: Option<Cpus>,
    /// Age at which an idle instance is given up.
    pub idle_instance_ttl: Duration,
    /// Idle instances are given up while the host has less than this available, and none is bound that would take it.
    pub memory_reserve_bytes: u64,
    /// How many times the host's memory is promised to instances.
    pub memory_overcommit: f64,
    /// The interpreter of this host that functions run on, or a shim of it; `None`: there is none. Those that are called
    /// `python3.N` are found too.
    pub python: Option<PathBuf>,
    /// The program that is started as the zygote of the shells: the `mayfly` binary.
    pub program: PathBuf,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            data_dir: PathBuf::from("mayfly-data"),
            account_id: "000000000000".into(),
            region: "us-east-1".into(),
            default_state: StateMode::Reuse,
            shells: 4,
            instances_max: 1000,
            instances_per_function_max: 100,
            account_concurrency: 1000,
            scaling_rate: None,
            overload_control: true,
            queue_per_function: 1000,
            queue_wait_max: Duration::from_secs(10),
            cpu_shares: CpuShares::default(),
            vm_cpus: None,
            idle_instance_ttl: Duration::from_secs(300),
            memory_reserve_bytes: 512 << 20,
            memory_overcommit: 10.0,
            python: Some(PathBuf::from("python3")),
            program: std::env::current_exe().unwrap_or_else(|_| PathBuf::from("mayfly")),
        }
    }
}
