//! `ListVersionsByFunction`. There is one version so far; Terraform asks with every read.

use http::StatusCode;
use serde::Serialize;

use super::{
    Error,
    constraint::Violations,
    document::FunctionConfiguration,
    json,
    list_functions::{ITEMS_MAX, page_size},
    name::{LATEST, Target},
};
use crate::stack::{Call, Reply};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Page<'a> {
    versions: Vec<FunctionConfiguration<'a>>,
}

pub(super) fn answer(call: &Call) -> Result<Reply, Error> {
    page_size(call, Violations::default(), ITEMS_MAX)?;
    let target = Target::of(call)?;
    let function = call.gateway.platform.function(&target.name)?;
    let is_past_the_end = call.query("Marker").is_some_and(|marker| !marker.is_empty());
    let versions =
        if is_past_the_end { Vec::new() } else { vec![FunctionConfiguration::in_list(&function, Some(LATEST))] };
    json(StatusCode::OK, &Page { versions })
}
