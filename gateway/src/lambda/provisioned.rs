//! `PutProvisionedConcurrencyConfig`, `GetProvisionedConcurrencyConfig`, `ListProvisionedConcurrencyConfigs` and
//! `DeleteProvisionedConcurrencyConfig`.
//!
//! Lambda provisions published versions and aliases, and refuses `$LATEST`. Here `$LATEST` is the one version that there is.

use http::StatusCode;
use mayfly_scheduler::{Function, Provisioned, ProvisionedState};
use serde::{Deserialize, Serialize};

use super::{
    Error, Kind,
    constraint::Violations,
    empty, json,
    list_functions::{page_size, read_marker},
    name::{LATEST, Target},
    parse,
};
use crate::{
    stack::{Call, Reply},
    timestamp::iso8601,
};

/// Most that a client may ask for.
const ITEMS_MAX: i64 = 50;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wanted {
    provisioned_concurrent_executions: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    /// Only in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    function_arn: Option<String>,
    requested_provisioned_concurrent_executions: u32,
    available_provisioned_concurrent_executions: u32,
    allocated_provisioned_concurrent_executions: u32,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    last_modified: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    provisioned_concurrency_configs: Vec<Config>,
}

pub(super) async fn put(call: &Call) -> Result<Reply, Error> {
    let asked = parse::<Wanted>(call)?.provisioned_concurrent_executions;
    let mut violations = Violations::default();
    violations.required("provisionedConcurrentExecutions", asked.as_ref());
    violations.range("provisionedConcurrentExecutions", asked, 1..=i64::from(u32::MAX));
    let target = qualified(call, violations)?;
    let wanted = asked.and_then(|count| u32::try_from(count).ok());
    let function = call.gateway.platform.set_provisioned_concurrency(&target.name, wanted).await?;
    json(StatusCode::ACCEPTED, &config(call, &function)?)
}

/// One path for both: `List=ALL` makes the difference.
pub(super) fn get_or_list(call: &Call) -> Result<Reply, Error> {
    if let Some(list) = call.query("List") {
        return list_all(call, &list);
    }
    let target = qualified(call, Violations::default())?;
    let function = call.gateway.platform.function(&target.name)?;
    json(StatusCode::OK, &config(call, &function)?)
}

fn list_all(call: &Call, list: &str) -> Result<Reply, Error> {
    let mut violations = Violations::default();
    violations.one_of("list", Some(list), &["ALL"]);
    page_size(call, violations, ITEMS_MAX)?;
    let target = Target::unqualified(call)?;
    let function = call.gateway.platform.function(&target.name)?;
    // There is one version, so there is one page.
    let found = if read_marker(call)?.is_some() { None } else { present(call, &function) };
    let function_arn = Some(format!("{}:{LATEST}", function.arn));
    let configs = found.map(|config| Config { function_arn, ..config }).into_iter().collect();
    json(StatusCode::OK, &Page { provisioned_concurrency_configs: configs })
}

pub(super) async fn delete(call: &Call) -> Result<Reply, Error> {
    let target = qualified(call, Violations::default())?;
    let function = call.gateway.platform.function(&target.name)?;
    config(call, &function)?;
    call.gateway.platform.set_provisioned_concurrency(&target.name, None).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// The function that the call names, with a version of it that there is.
fn qualified(call: &Call, mut violations: Violations) -> Result<Target, Error> {
    let target = Target::of(call)?;
    violations.required("qualifier", target.qualifier.as_ref());
    violations.check()?;
    target.must_be_latest()?;
    Ok(target)
}

/// What is provisioned now; an error if nothing is.
fn config(call: &Call, function: &Function) -> Result<Config, Error> {
    let text = "No Provisioned Concurrency Config found for this function";
    present(call, function).ok_or_else(|| Error::new(Kind::ProvisionedConcurrencyConfigNotFound, text))
}

fn present(call: &Call, function: &Function) -> Option<Config> {
    let Provisioned { requested, allocated, available, state, modified_ms } =
        call.gateway.platform.provisioned_concurrency(function)?;
    let (status, status_reason) = match state {
        ProvisionedState::InProgress => ("IN_PROGRESS", None),
        ProvisionedState::Ready => ("READY", None),
        ProvisionedState::Failed(why) => ("FAILED", Some(why)),
    };
    Some(Config {
        function_arn: None,
        requested_provisioned_concurrent_executions: requested,
        available_provisioned_concurrent_executions: available,
        allocated_provisioned_concurrent_executions: allocated,
        status,
        status_reason,
        last_modified: iso8601(modified_ms),
    })
}
