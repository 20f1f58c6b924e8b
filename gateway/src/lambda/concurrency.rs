//! `PutFunctionConcurrency`, `GetFunctionConcurrency` and `DeleteFunctionConcurrency`.

use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::{Error, constraint::Violations, empty, json, name::Target, parse};
use crate::stack::{Call, Reply};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Concurrency {
    #[serde(skip_serializing_if = "Option::is_none")]
    reserved_concurrent_executions: Option<i64>,
}

pub(super) fn get(call: &Call) -> Result<Reply, Error> {
    let target = Target::unqualified(call)?;
    let function = call.gateway.platform.function(&target.name)?;
    reply(function.reserved_concurrency)
}

pub(super) async fn put(call: &Call) -> Result<Reply, Error> {
    let target = Target::unqualified(call)?;
    let asked = parse::<Concurrency>(call)?.reserved_concurrent_executions;
    let mut violations = Violations::default();
    violations.required("reservedConcurrentExecutions", asked.as_ref());
    violations.range("reservedConcurrentExecutions", asked, 0..=i64::from(u32::MAX));
    violations.check()?;
    let reserved = asked.and_then(|n| u32::try_from(n).ok());
    let function = call.gateway.platform.set_reserved_concurrency(&target.name, reserved).await?;
    reply(function.reserved_concurrency)
}

pub(super) async fn delete(call: &Call) -> Result<Reply, Error> {
    let target = Target::unqualified(call)?;
    call.gateway.platform.set_reserved_concurrency(&target.name, None).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

fn reply(reserved: Option<u32>) -> Result<Reply, Error> {
    json(StatusCode::OK, &Concurrency { reserved_concurrent_executions: reserved.map(i64::from) })
}
