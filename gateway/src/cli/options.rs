//! What an operator can set, and where from: flags, then `MAYFLY_…` variables, then a file, then defaults.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use mayfly_scheduler::{
    CpuShares, Settings, StateMode,
    shares::{self, Cpus},
};
use serde::Deserialize;

use crate::{awake, server::Limits};

/// Address unless told otherwise.
pub(super) const LISTEN: &str = "127.0.0.1:9000";
/// In place of an interpreter: there is none.
const NO_PYTHON: &str = "none";
/// Directory unless told otherwise.
pub(super) const DATA_DIR: &str = "mayfly-data";

/// Every option. The same names, with underscores, are the keys of the file.
#[derive(Args, Deserialize, Debug, Clone, Default)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Address to serve on [default: 127.0.0.1:9000]
    #[arg(long, env = "MAYFLY_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Directory for functions and snapshots [default: mayfly-data]
    #[arg(long, env = "MAYFLY_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Account in every ARN [default: 000000000000]
    #[arg(long, env = "MAYFLY_ACCOUNT_ID", value_name = "12 DIGITS")]
    pub account_id: Option<String>,
    /// Region in every ARN [default: us-east-1]
    #[arg(long, env = "MAYFLY_REGION", value_name = "NAME")]
    pub region: Option<String>,
    /// Memory after an invocation, for functions without the tag mayfly:state: reuse or fresh [default: reuse]
    #[arg(long, env = "MAYFLY_DEFAULT_STATE", value_name = "MODE")]
    pub default_state: Option<String>,
    /// Empty machines that wait, ready to take a function; as many wait on each runtime in use [default: 4]
    #[arg(long, env = "MAYFLY_SHELLS", value_name = "N")]
    pub shells: Option<usize>,
    /// Most machines at a time, all together [default: 1000]
    #[arg(long, env = "MAYFLY_INSTANCES", value_name = "N")]
    pub instances: Option<usize>,
    /// Most machines of one function at a time [default: 100]
    #[arg(long, env = "MAYFLY_INSTANCES_PER_FUNCTION", value_name = "N")]
    pub instances_per_function: Option<usize>,
    /// Most invocations at a time; more are refused with 429 [default: 1000]
    #[arg(long, env = "MAYFLY_ACCOUNT_CONCURRENCY", value_name = "N")]
    pub account_concurrency: Option<u32>,
    /// Most environments that a function may start in 10 s, as Lambda's burst rule counts them (1000 there) [default: any number]
    #[arg(long, env = "MAYFLY_SCALING_RATE", value_name = "N")]
    pub scaling_rate: Option<u32>,
    /// Run no more at a time than the processors can carry out, and refuse what would wait for too long: on or off [default: on]
    #[arg(long, env = "MAYFLY_OVERLOAD_CONTROL", value_name = "ON|OFF")]
    pub overload_control: Option<String>,
    /// Most invocations of one function that wait for their turn [default: 1000]
    #[arg(long, env = "MAYFLY_QUEUE_PER_FUNCTION", value_name = "N")]
    pub queue_per_function: Option<usize>,
    /// Longest wait for a turn, in milliseconds [default: 10000]
    #[arg(long, env = "MAYFLY_QUEUE_WAIT_MS", value_name = "MS")]
    pub queue_wait_ms: Option<u64>,
    /// By what functions get their shares of the processors: auto (the best that the host gives), nice or off [default: auto]
    #[arg(long, env = "MAYFLY_CPU_SHARES", value_name = "WAY")]
    pub cpu_shares: Option<String>,
    /// Processors for machines, like 0,2-5 [default: those of the server]
    #[arg(long, env = "MAYFLY_VM_CPUS", value_name = "LIST")]
    pub vm_cpus: Option<String>,
    /// Microseconds for which the processors are kept from falling asleep after each step of an invocation; 0: not at all
    /// [default: 300 where there are up to 4 of them and no cgroup counts them, else 0]
    #[arg(long, env = "MAYFLY_KEEP_AWAKE_US", value_name = "US")]
    pub keep_awake_us: Option<u64>,
    /// Seconds after which an idle machine is given up [default: 300]
    #[arg(long, env = "MAYFLY_IDLE_INSTANCE_S", value_name = "SECONDS")]
    pub idle_instance_s: Option<u64>,
    /// MiB of the host's memory that idle machines must leave [default: 512]
    #[arg(long, env = "MAYFLY_MEMORY_RESERVE_MB", value_name = "MIB")]
    pub memory_reserve_mb: Option<u64>,
    /// How many times the host's memory is promised to machines, by their memory sizes [default: 10]
    #[arg(long, env = "MAYFLY_MEMORY_OVERCOMMIT", value_name = "TIMES")]
    pub memory_overcommit: Option<f64>,
    /// Interpreter of this host for functions with runtime python3.N, or none [default: python3]
    #[arg(long, env = "MAYFLY_PYTHON", value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Most open connections; for more, silent ones are closed [default: 16384, or half of the open files that are allowed]
    #[arg(long, env = "MAYFLY_CONNECTIONS", value_name = "N")]
    pub connections: Option<usize>,
    /// Seconds that running invocations get when it is told to stop [default: 30]
    #[arg(long, env = "MAYFLY_SHUTDOWN_S", value_name = "SECONDS")]
    pub shutdown_s: Option<u64>,
}

/// Why options cannot be used. One sentence, with its cure.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The file cannot be read.
    #[error("the configuration file {} cannot be read ({source}); check the path given with --config", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file has something in it that is not an option.
    #[error("the configuration file {} is not right: {detail}; its keys are the flags of `mayfly serve --help` with underscores", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        detail: String,
    },
    /// A value is out of its range.
    #[error("{option} cannot be '{value}'; it must be {rule}")]
    Value {
        /// The flag.
        option: &'static str,
        /// What was given.
        value: String,
        /// What could be.
        rule: &'static str,
    },
}

impl Options {
    /// These options, filled up from `file` if there is one.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn with_file(self, file: Option<&Path>) -> Result<Options, OptionsError> {
        let Some(path) = file else { return Ok(self) };
        let text = std::fs::read_to_string(path)
            .map_err(|source| OptionsError::Unreadable { path: path.to_owned(), source })?;
        let below: Options = toml::from_str(&text).map_err(|error| {
            let detail = error.to_string().trim_end().replace('\n', " ");
            OptionsError::File { path: path.to_owned(), detail }
        })?;
        Ok(self.over(below))
    }

    /// These options where they are given, `below` elsewhere.
    fn over(self, below: Options) -> Options {
        Options {
            listen: self.listen.or(below.listen),
            data_dir: self.data_dir.or(below.data_dir),
            account_id: self.account_id.or(below.account_id),
            region: self.region.or(below.region),
            default_state: self.default_state.or(below.default_state),
            shells: self.shells.or(below.shells),
            instances: self.instances.or(below.instances),
            instances_per_function: self.instances_per_function.or(below.instances_per_function),
            account_concurrency: self.account_concurrency.or(below.account_concurrency),
            scaling_rate: self.scaling_rate.or(below.scaling_rate),
            overload_control: self.overload_control.or(below.overload_control),
            queue_per_function: self.queue_per_function.or(below.queue_per_function),
            queue_wait_ms: self.queue_wait_ms.or(below.queue_wait_ms),
            cpu_shares: self.cpu_shares.or(below.cpu_shares),
            vm_cpus: self.vm_cpus.or(below.vm_cpus),
            keep_awake_us: self.keep_awake_us.or(below.keep_awake_us),
            idle_instance_s: self.idle_instance_s.or(below.idle_instance_s),
            memory_reserve_mb: self.memory_reserve_mb.or(below.memory_reserve_mb),
            memory_overcommit: self.memory_overcommit.or(below.memory_overcommit),
            python: self.python.or(below.python),
            connections: self.connections.or(below.connections),
            shutdown_s: self.shutdown_s.or(below.shutdown_s),
        }
    }

    /// Where to serve.
    #[must_use]
    pub fn listen(&self) -> &str {
        self.listen.as_deref().unwrap_or(LISTEN)
    }

    /// Where the data is.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| PathBuf::from(DATA_DIR))
    }

    /// The platform's settings.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn settings(&self) -> Result<Settings, OptionsError> {
        let default = Settings::default();
        let value = |option, value: &str, rule| OptionsError::Value { option, value: value.to_owned(), rule };
        if let Some(id) =
            self.account_id.as_deref().filter(|id| id.len() != 12 || !id.bytes().all(|b| b.is_ascii_digit()))
        {
            return Err(value("--account-id", id, "12 digits"));
        }
        let is_region =
            |name: &str| name.split('-').count() >= 3 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if let Some(name) = self.region.as_deref().filter(|name| !is_region(name)) {
            return Err(value("--region", name, "a name like us-east-1"));
        }
        let default_state = match self.default_state.as_deref() {
            None => default.default_state,
            Some(name) => StateMode::from_name(name).ok_or_else(|| value("--default-state", name, "reuse or fresh"))?,
        };
        let overload_control = match self.overload_control.as_deref() {
            None => default.overload_control,
            Some("on") => true,
            Some("off") => false,
            Some(other) => return Err(value("--overload-control", other, "on or off")),
        };
        let cpu_shares = match self.cpu_shares.as_deref() {
            None => default.cpu_shares,
            Some(way) => CpuShares::from_name(way).ok_or_else(|| value("--cpu-shares", way, "auto, nice or off"))?,
        };
        let cpus =
            |list: &String| list.parse().map_err(|_| value("--vm-cpus", list, "a list of processors like 0,2-5"));
        let vm_cpus = self.vm_cpus.as_ref().map(cpus).transpose()?;
        if let Some(times) = self.memory_overcommit.filter(|times| !(times.is_finite() && *times > 0.0)) {
            return Err(value("--memory-overcommit", &times.to_string(), "a number above 0, like 1.5"));
        }
        if self.account_concurrency == Some(0) || self.instances == Some(0) || self.instances_per_function == Some(0) {
            let options = "--account-concurrency, --instances or --instances-per-function";
            return Err(value(options, "0", "at least 1"));
        }
        if self.scaling_rate == Some(0) {
            return Err(value("--scaling-rate", "0", "at least 1"));
        }
        Ok(Settings {
            data_dir: self.data_dir(),
            account_id: self.account_id.clone().unwrap_or(default.account_id),
            region: self.region.clone().unwrap_or(default.region),
            default_state,
            shells: self.shells.unwrap_or(default.shells),
            instances_max: self.instances.unwrap_or(default.instances_max),
            instances_per_function_max: self.instances_per_function.unwrap_or(default.instances_per_function_max),
            account_concurrency: self.account_concurrency.unwrap_or(default.account_concurrency),
            scaling_rate: self.scaling_rate,
            overload_control,
            queue_per_function: self.queue_per_function.unwrap_or(default.queue_per_function),
            queue_wait_max: self.queue_wait_ms.map_or(default.queue_wait_max, Duration::from_millis),
            cpu_shares,
            vm_cpus,
            idle_instance_ttl: self.idle_instance_s.map_or(default.idle_instance_ttl, Duration::from_secs),
            memory_reserve_bytes: self.memory_reserve_mb.map_or(default.memory_reserve_bytes, |mb| mb << 20),
            memory_overcommit: self.memory_overcommit.unwrap_or(default.memory_overcommit),
            python: self.python.clone().or(default.python).filter(|path| path.as_os_str() != NO_PYTHON),
            ..default
        })
    }

    /// For how long processors are kept awake.
    pub(super) fn keep_awake(&self) -> Duration {
        let is_worth_it = || Cpus::of_this_process().count() <= awake::PROCESSORS_MAX && !shares::are_counted();
        let default = || if is_worth_it() { awake::DEFAULT } else { Duration::ZERO };
        self.keep_awake_us.map_or_else(default, Duration::from_micros)
    }

    /// The server's bounds.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn limits(&self) -> Result<Limits, OptionsError> {
        let default = Limits::default();
        if self.connections == Some(0) {
            return Err(OptionsError::Value { option: "--connections", value: "0".into(), rule: "at least 1" });
        }
        Ok(Limits {
            connections: self.connections.unwrap_or(default.connections),
            shutdown: self.shutdown_s.map_or(default.shutdown, Duration::from_secs),
            ..default
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    #[test]
    fn flags_over_file_over_default() {
        let file = file("listen = '0.0.0.0:1'\nshells = 9\ndefault_state = 'fresh'\n");
        let flags = Options { shells: Some(2), ..Options::default() };
        let options = flags.with_file(Some(file.path())).expect("it is fine");
        let settings = options.settings().expect("it is fine");
        assert_eq!(options.listen(), "0.0.0.0:1");
        assert_eq!((settings.shells, settings.default_state), (2, StateMode::Fresh));
        assert_eq!(settings.account_id, "000000000000");
    }

    #[test]
    fn problems_name_the_cure() {
        let wrong = file("shels = 9\n");
        let text = Options::default().with_file(Some(wrong.path())).expect_err("a typo").to_string();
        assert!(text.contains("shels") && text.contains("mayfly serve --help") && !text.contains('\n'), "{text}");
        for (options, part) in [
            (Options { account_id: Some("12".into()), ..Options::default() }, "12 digits"),
            (Options { default_state: Some("cold".into()), ..Options::default() }, "reuse or fresh"),
            (Options { overload_control: Some("no".into()), ..Options::default() }, "on or off"),
            (Options { cpu_shares: Some("cgroup".into()), ..Options::default() }, "auto, nice or off"),
            (Options { vm_cpus: Some("0-".into()), ..Options::default() }, "0,2-5"),
            (Options { memory_overcommit: Some(0.0), ..Options::default() }, "above 0"),
            (Options { region: Some("mars".into()), ..Options::default() }, "us-east-1"),
        ] {
            let text = options.settings().expect_err(part).to_string();
            assert!(text.contains(part), "{text}");
        }
    }
}
