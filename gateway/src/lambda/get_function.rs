//! `GetFunction` and `GetFunctionConfiguration`.

use std::collections::BTreeMap;

use http::StatusCode;
use mayfly_scheduler::{Function, Refusal};
use serde::Serialize;

use super::{Error, document::FunctionConfiguration, json, name::Target};
use crate::stack::{Call, Reply};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    configuration: FunctionConfiguration<'a>,
    code: CodeLocation,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<Concurrency>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CodeLocation {
    repository_type: &'static str,
    location: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Concurrency {
    reserved_concurrent_executions: u32,
}

pub(super) fn function(call: &Call) -> Result<Reply, Error> {
    let (target, function) = find(call)?;
    let answer = Answer {
        configuration: document(call, &target, &function),
        code: CodeLocation { repository_type: "S3", location: call.package_location(&function.code.sha256_hex) },
        tags: &function.tags,
        concurrency: function.reserved_concurrency.map(|n| Concurrency { reserved_concurrent_executions: n }),
    };
    json(StatusCode::OK, &answer)
}

pub(super) fn configuration(call: &Call) -> Result<Reply, Error> {
    let (target, function) = find(call)?;
    json(StatusCode::OK, &document(call, &target, &function))
}

/// The function that the call names. If there is none, its ARN is repeated as the caller qualified it.
fn find(call: &Call) -> Result<(Target, Function), Error> {
    let target = Target::of(call)?;
    target.must_be_latest()?;
    let function = call.gateway.platform.function(&target.name).map_err(|refusal| match refusal {
        Refusal::NotFound { .. } => Error::function_not_found(&target.arn_as_called()),
        other => other.into(),
    })?;
    Ok((target, function))
}

fn document<'a>(call: &Call, target: &Target, function: &'a Function) -> FunctionConfiguration<'a> {
    let region = &call.gateway.platform.settings().region;
    FunctionConfiguration::of(function, target.qualifier.as_deref(), region)
}
