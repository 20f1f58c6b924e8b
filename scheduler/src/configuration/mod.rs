//! What a function was asked to be.

mod check;

use std::collections::BTreeMap;

pub(crate) use check::check_tags;
use serde::{Deserialize, Serialize};

use crate::layer::{LayerId, UsedLayer};

/// Configuration of a function version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configuration {
    /// Bare name.
    pub name: String,
    /// As asked for: `rustpython`, `python3.N`, or whatever else was packed. Which there are, the platform knows.
    pub runtime: String,
    /// `module.function`.
    pub handler: String,
    /// Kept and echoed, not checked.
    pub role: String,
    /// Free text.
    pub description: String,
    /// Longest invocation.
    pub timeout_s: u32,
    /// Memory of an instance.
    pub memory_mb: u32,
    /// The user's variables. `None` if never given; given and empty is something else on the wire.
    pub environment: Option<BTreeMap<String, String>>,
    /// Size of `/tmp`.
    pub ephemeral_storage_mb: u32,
    /// `x86_64`.
    pub architectures: Vec<String>,
    /// `PassThrough` or `Active`; echoed.
    pub tracing_mode: String,
    /// Where log lines go.
    pub logging: Logging,
    /// Later ones hide files of earlier ones. The platform's to fill in.
    pub layers: Vec<UsedLayer>,
    /// `None` or `PublishedVersions`; echoed.
    pub snap_start: String,
    /// Where asynchronous events that failed go.
    pub dead_letter_target_arn: Option<String>,
    /// Echoed.
    pub kms_key_arn: Option<String>,
}

impl Default for Configuration {
    fn default() -> Configuration {
        Configuration {
            name: String::new(),
            runtime: String::new(),
            handler: String::new(),
            role: String::new(),
            description: String::new(),
            timeout_s: 3,
            memory_mb: 128,
            environment: None,
            ephemeral_storage_mb: 512,
            architectures: vec!["x86_64".into()],
            tracing_mode: "PassThrough".into(),
            logging: Logging::default(),
            layers: Vec::new(),
            snap_start: "None".into(),
            dead_letter_target_arn: None,
            kms_key_arn: None,
        }
    }
}

/// How a function logs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Logging {
    /// Form of the lines.
    pub format: LogFormat,
    /// Name of the group; empty: `/aws/lambda/<function>`. See [`Configuration::log_group`].
    pub group: String,
    /// Level of the function's own lines; only with [`LogFormat::Json`].
    pub application_level: Option<String>,
    /// Level of the platform's lines; only with [`LogFormat::Json`].
    pub system_level: Option<String>,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LogFormat {
    /// Plain lines.
    #[default]
    Text,
    /// One JSON object per line.
    #[serde(rename = "JSON")]
    Json,
}

/// A change: what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct ConfigurationChange {
    /// See [`Configuration::runtime`].
    pub runtime: Option<String>,
    /// See [`Configuration::handler`].
    pub handler: Option<String>,
    /// See [`Configuration::role`].
    pub role: Option<String>,
    /// See [`Configuration::description`].
    pub description: Option<String>,
    /// See [`Configuration::timeout_s`].
    pub timeout_s: Option<u32>,
    /// See [`Configuration::memory_mb`].
    pub memory_mb: Option<u32>,
    /// See [`Configuration::environment`].
    pub environment: Option<BTreeMap<String, String>>,
    /// See [`Configuration::ephemeral_storage_mb`].
    pub ephemeral_storage_mb: Option<u32>,
    /// See [`Configuration::tracing_mode`].
    pub tracing_mode: Option<String>,
    /// See [`Configuration::logging`].
    pub logging: Option<Logging>,
    /// See [`NewFunction::layers`](crate::NewFunction::layers).
    pub layers: Option<Vec<LayerId>>,
    /// See [`Configuration::snap_start`].
    pub snap_start: Option<String>,
    /// See [`Configuration::dead_letter_target_arn`]; an empty string takes it away.
    pub dead_letter_target_arn: Option<String>,
    /// See [`Configuration::kms_key_arn`]; an empty string takes it away.
    pub kms_key_arn: Option<String>,
}

impl Configuration {
    /// Name of the log group.
    #[must_use]
    pub fn log_group(&self) -> String {
        if self.logging.group.is_empty() { format!("/aws/lambda/{}", self.name) } else { self.logging.group.clone() }
    }
}
