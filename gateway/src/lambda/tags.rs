//! `ListTags`, `TagResource` and `UntagResource`, of functions.

use std::collections::BTreeMap;

use http::StatusCode;
use mayfly_scheduler::limits::TAGS;
use serde::Deserialize;
use serde_json::json;

use super::{
    Error, Kind,
    constraint::{self, Violations},
    empty, json,
    name::{FunctionName, Target},
    parse,
};
use crate::stack::{Call, Reply};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Request {
    tags: Option<BTreeMap<String, String>>,
}

/// As clients see it in messages.
const RESOURCE_PATTERN: &str = r"arn:(aws[a-zA-Z-]*):lambda:[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}:(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?|code-signing-config:csc-[a-z0-9]{17}|event-source-mapping:[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|capacity-provider:[a-zA-Z0-9-_]+)";

pub(super) fn list(call: &Call) -> Result<Reply, Error> {
    let target = resource(call)?;
    let function = call.gateway.platform.function(&target.name)?;
    json(StatusCode::OK, &json!({"Tags": function.tags}))
}

pub(super) async fn tag(call: &Call) -> Result<Reply, Error> {
    let target = resource(call)?;
    let tags = parse::<Request>(call)?.tags;
    let mut violations = Violations::default();
    violations.required("tags", tags.as_ref());
    violations.check()?;
    let tags = tags.unwrap_or_default();
    check(&tags)?;
    call.gateway.platform.change_tags(&target.name, tags, &[]).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) async fn untag(call: &Call) -> Result<Reply, Error> {
    let target = resource(call)?;
    let keys: Vec<String> = call.query_all("tagKeys").collect();
    let mut violations = Violations::default();
    violations.required("tagKeys", keys.first());
    violations.check()?;
    call.gateway.platform.change_tags(&target.name, BTreeMap::new(), &keys).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Checks tags by themselves; how many a function has in the end is the platform's to check.
pub(super) fn check(tags: &BTreeMap<String, String>) -> Result<(), Error> {
    if tags.len() > TAGS {
        return Err(Error::parameter("Number of tags exceeds resource tag limit."));
    }
    let is_too_long =
        |(key, value): (&String, &String)| !(1..=128).contains(&key.chars().count()) || value.chars().count() > 256;
    if tags.iter().any(is_too_long) {
        return Err(Error::parameter("The keys of tags have 1 to 128 characters, their values up to 256."));
    }
    Ok(())
}

/// The function that the ARN in the path names.
fn resource(call: &Call) -> Result<Target, Error> {
    let arn = call.argument(0);
    let name = FunctionName::parse(arn).ok().filter(|_| arn.starts_with("arn:") && arn.contains(":function:"));
    let Some(name) = name else {
        let rule = format!("Member must satisfy regular expression pattern: {RESOURCE_PATTERN}");
        return Err(Error::new(Kind::Validation, constraint::one("resource", Some(arn), &rule)));
    };
    if name.qualifier.is_some() {
        return Err(Error::parameter(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ));
    }
    name.here(call)
}
