//! `GetLayerVersion`, `GetLayerVersionByArn`, `ListLayers` and `ListLayerVersions`.

use http::StatusCode;
use mayfly_scheduler::{LayerFilter, LayerId};
use serde::Serialize;

use super::{
    document::{Item, Version, arn},
    name,
    publish::is_runtime,
};
use crate::{
    lambda::{
        Error,
        constraint::{ARCHITECTURES, Violations},
        json,
        list_functions::{page_size, read_marker, write_marker},
    },
    stack::{Call, Reply},
};

/// Most that a client may ask for.
const ITEMS_MAX: i64 = 50;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Layer<'a> {
    layer_name: &'a str,
    layer_arn: String,
    latest_matching_version: Item<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Layers<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    layers: Vec<Layer<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LayerVersions<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    layer_versions: Vec<Item<'a>>,
}

pub(in crate::lambda) fn get(call: &Call) -> Result<Reply, Error> {
    answer(call, &name::version(call)?)
}

/// One path for both: `find=LayerVersion` makes the difference.
pub(in crate::lambda) fn list_layers_or_get_by_arn(call: &Call) -> Result<Reply, Error> {
    if call.query("find").as_deref() != Some("LayerVersion") {
        return list_layers(call);
    }
    let arn = call.query("Arn");
    let mut violations = Violations::default();
    violations.required("arn", arn.as_ref());
    violations.check()?;
    answer(call, &name::of_arn(call, arn.as_deref().unwrap_or_default())?)
}

fn answer(call: &Call, id: &LayerId) -> Result<Reply, Error> {
    let version = call.gateway.platform.layer(id)?;
    json(StatusCode::OK, &Version::of(call, &version))
}

fn list_layers(call: &Call) -> Result<Reply, Error> {
    let (filter, limit) = filter(call)?;
    let after = read_marker(call)?;
    let (found, more) = call.gateway.platform.layers(after.as_deref(), limit, &filter);
    let layer = |version| -> Layer<'_> {
        let version: &mayfly_scheduler::LayerVersion = version;
        Layer {
            layer_name: &version.id.name,
            layer_arn: arn(call, version),
            latest_matching_version: Item::of(call, version),
        }
    };
    let layers = found.iter().map(|version| layer(version)).collect();
    json(StatusCode::OK, &Layers { next_marker: more.as_deref().map(write_marker), layers })
}

/// An unknown layer has no versions, as on Lambda.
pub(in crate::lambda) fn list_versions(call: &Call) -> Result<Reply, Error> {
    let name = name::layer(call)?;
    let (filter, limit) = filter(call)?;
    let before = read_marker(call)?.map(|text| {
        let wrong = |_| Error::parameter("The marker is not one that ListLayerVersions has given.");
        text.parse::<u64>().map_err(wrong)
    });
    let (found, more) = call.gateway.platform.layer_versions(&name, before.transpose()?, limit, &filter);
    let layer_versions = found.iter().map(|version| Item::of(call, version)).collect();
    let next_marker = more.map(|version| write_marker(&version.to_string()));
    json(StatusCode::OK, &LayerVersions { next_marker, layer_versions })
}

fn filter(call: &Call) -> Result<(LayerFilter, usize), Error> {
    let given = |name| call.query(name).filter(|text| !text.is_empty());
    let filter = LayerFilter { runtime: given("CompatibleRuntime"), architecture: given("CompatibleArchitecture") };
    let mut violations = Violations::default();
    violations.pattern("compatibleRuntime", filter.runtime.as_deref(), is_runtime, "[a-zA-Z0-9._-]+");
    violations.one_of("compatibleArchitecture", filter.architecture.as_deref(), ARCHITECTURES);
    let limit = page_size(call, violations, ITEMS_MAX)?;
    Ok((filter, limit))
}
