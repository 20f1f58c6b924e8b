//! What is known of layers.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::function::Code;

/// Names a version of a layer of this account and region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayerId {
    /// Bare name of the layer.
    pub name: String,
    /// Counted up from 1, and never given again.
    pub version: u64,
}

/// A version of a layer. It is what it was published as, but for its policy, until it is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerVersion {
    /// Its name.
    pub id: LayerId,
    /// What was published.
    pub about: AboutLayer,
    /// The zip.
    pub code: Code,
    /// Milliseconds since 1970.
    pub created_ms: u64,
    /// Kept and given back: whoever reaches Mayfly may use its layers.
    pub policy: LayerPolicy,
}

/// What the author says of a version. Nothing of it decides anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AboutLayer {
    /// Free text.
    pub description: String,
    /// An identifier, an address or a text.
    pub license: Option<String>,
    /// Runtimes that it is for, if they were named.
    pub runtimes: Vec<String>,
    /// Architectures that it is for, if they were named.
    pub architectures: Vec<String>,
}

/// Who may use a version, if others than the account itself: statements by their name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerPolicy {
    /// Another one after each change; empty before the first.
    pub revision_id: String,
    /// What is allowed.
    pub statements: BTreeMap<String, LayerStatement>,
}

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerStatement {
    /// `lambda:GetLayerVersion`.
    pub action: String,
    /// An account, or `*`.
    pub principal: String,
    /// With `*`: only accounts of that organization.
    pub organization_id: Option<String>,
}

/// A version to be published.
#[derive(Debug, Clone)]
pub struct NewLayer {
    /// Bare name of the layer.
    pub name: String,
    /// What is said of it.
    pub about: AboutLayer,
    /// The zip.
    pub package: Bytes,
}

/// A layer as the function has it that uses it: all that is needed, even when the version is deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedLayer {
    /// Of the version.
    pub arn: String,
    /// Its zip.
    pub code: Code,
}

/// Which versions a list shall have.
#[derive(Debug, Clone, Default)]
pub struct LayerFilter {
    /// Those for that runtime.
    pub runtime: Option<String>,
    /// Those for that architecture.
    pub architecture: Option<String>,
}

impl LayerFilter {
    /// Whether that version shall be in it.
    #[must_use]
    pub fn takes(&self, version: &LayerVersion) -> bool {
        let is_in = |list: &[String], wanted: &Option<String>| wanted.as_ref().is_none_or(|name| list.contains(name));
        is_in(&version.about.runtimes, &self.runtime) && is_in(&version.about.architectures, &self.architecture)
    }
}
