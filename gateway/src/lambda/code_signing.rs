//! `GetFunctionCodeSigningConfig`: no function has one. Terraform asks with every read.

use http::StatusCode;
use serde_json::json;

use super::{Error, json, name::Target};
use crate::stack::{Call, Reply};

pub(super) fn answer(call: &Call) -> Result<Reply, Error> {
    let target = Target::of(call)?;
    call.gateway.platform.function(&target.name)?;
    // As recorded from Lambda, though its model calls both members required.
    json(StatusCode::OK, &json!({}))
}
