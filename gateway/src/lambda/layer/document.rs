//! Layer versions as clients see them. What a version does not have is left out.

use mayfly_scheduler::LayerVersion;
use serde::Serialize;

use crate::{stack::Call, timestamp};

/// `LayerVersionsListItem`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Item<'a> {
    layer_version_arn: String,
    version: u64,
    description: &'a str,
    created_date: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    compatible_runtimes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    license_info: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    compatible_architectures: &'a [String],
}

/// `GetLayerVersionResponse` and `PublishLayerVersionResponse`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Version<'a> {
    content: Content<'a>,
    layer_arn: String,
    #[serde(flatten)]
    item: Item<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content<'a> {
    location: String,
    code_sha256: &'a str,
    code_size: u64,
}

impl<'a> Item<'a> {
    pub(super) fn of(call: &Call, version: &'a LayerVersion) -> Item<'a> {
        let about = &version.about;
        Item {
            layer_version_arn: format!("{}:{}", arn(call, version), version.id.version),
            version: version.id.version,
            description: &about.description,
            created_date: timestamp::iso8601(version.created_ms),
            compatible_runtimes: &about.runtimes,
            license_info: about.license.as_deref(),
            compatible_architectures: &about.architectures,
        }
    }
}

impl<'a> Version<'a> {
    pub(super) fn of(call: &Call, version: &'a LayerVersion) -> Version<'a> {
        let code = &version.code;
        Version {
            content: Content {
                location: call.package_location(&code.sha256_hex),
                code_sha256: &code.sha256_base64,
                code_size: code.bytes,
            },
            layer_arn: arn(call, version),
            item: Item::of(call, version),
        }
    }
}

/// ARN of the layer of a version.
pub(super) fn arn(call: &Call, version: &LayerVersion) -> String {
    call.gateway.platform.layer_arn(&version.id.name)
}
