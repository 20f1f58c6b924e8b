//! What is known of a function.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{configuration::Configuration, layer::LayerId};

/// A function, as of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// What was asked for.
    pub configuration: Configuration,
    /// `$LATEST`.
    pub version: String,
    /// Unqualified.
    pub arn: String,
    /// The package.
    pub code: Code,
    /// Another one after each step of a deploy or change.
    pub revision_id: String,
    /// Milliseconds since 1970 of the last change that was asked for.
    pub last_modified_ms: u64,
    /// Whether it can be invoked.
    pub state: FunctionState,
    /// Why it is not [`FunctionState::Active`].
    pub state_reason: Option<Reason>,
    /// How the last deploy or change went; `None` while being created.
    pub last_update: Option<UpdateStatus>,
    /// Why the last update failed.
    pub last_update_reason: Option<Reason>,
    /// The user's tags.
    pub tags: BTreeMap<String, String>,
    /// Concurrency kept for this function, and its limit.
    pub reserved_concurrency: Option<u32>,
    /// Instances that shall always be there.
    #[serde(default)]
    pub provisioned_concurrency: Option<ProvisionedRequest>,
}

impl Function {
    /// Whether it is being created.
    pub(crate) fn is_pending(&self) -> bool {
        self.state == FunctionState::Pending
    }
}

/// What was asked for of provisioned concurrency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionedRequest {
    /// Instances.
    pub requested: u32,
    /// Milliseconds since 1970, when.
    pub modified_ms: u64,
}

/// The package of a function or layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// SHA-256 of the zip, as Lambda shows it.
    pub sha256_base64: String,
    /// The same, as files are named.
    pub sha256_hex: String,
    /// Size of the zip.
    pub bytes: u64,
    /// Sum of the sizes of its files. Of packages recorded in format 1 of the data directory it is not known, and counted as 0.
    #[serde(default)]
    pub unzipped_bytes: u64,
}

/// Whether a function can be invoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FunctionState {
    /// Being created.
    Pending,
    /// Yes.
    Active,
    /// No, and it will not become so by itself.
    Failed,
}

/// How an update went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateStatus {
    /// Done.
    Successful,
    /// Going on; what was there before answers until then.
    InProgress,
    /// What was there before answers still.
    Failed,
}

/// Why something is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// One of Lambda's codes.
    pub code: String,
    /// For people.
    pub text: String,
}

/// A function to be created.
#[derive(Debug, Clone)]
pub struct NewFunction {
    /// What it shall be, but for its layers.
    pub configuration: Configuration,
    /// Those, in the order in which later ones hide files of earlier ones.
    pub layers: Vec<LayerId>,
    /// The zip.
    pub package: Bytes,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Whether to publish a version at once.
    pub publish: bool,
}
