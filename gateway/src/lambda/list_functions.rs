//! `ListFunctions`, page by page.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde::Serialize;

use super::{Error, Kind, constraint::Violations, document::FunctionConfiguration, json, name::LATEST};
use crate::stack::{Call, Reply};

/// Largest page, whatever the client asks for. Lambda's own.
const PAGE: i64 = 50;
/// Most that a client may ask for, where the model sets no other bound.
pub(super) const ITEMS_MAX: i64 = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Page<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    next_marker: Option<String>,
    functions: Vec<FunctionConfiguration<'a>>,
}

pub(super) fn answer(call: &Call) -> Result<Reply, Error> {
    let version = call.query("FunctionVersion");
    let mut violations = Violations::default();
    violations.one_of("functionVersion", version.as_deref(), &["ALL"]);
    let limit = page_size(call, violations, ITEMS_MAX)?;
    let after = read_marker(call)?;

    let (functions, more) = call.gateway.platform.functions(after.as_deref(), limit);
    // With every version listed, `$LATEST` is one of them and is named as such.
    let qualifier = version.is_some().then_some(LATEST);
    let functions = functions.iter().map(|function| FunctionConfiguration::in_list(function, qualifier)).collect();
    json(StatusCode::OK, &Page { next_marker: more.as_deref().map(write_marker), functions })
}

/// `MaxItems`, as far as it is followed; more than `items_max` may not be asked for.
pub(super) fn page_size(call: &Call, mut violations: Violations, items_max: i64) -> Result<usize, Error> {
    let asked = match call.query("MaxItems").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(text.parse::<i64>().map_err(|_| {
            Error::new(Kind::Serialization, format!("'{text}' at 'MaxItems' can not be converted to an Integer"))
        })?),
    };
    violations.range("maxItems", asked, 1..=items_max);
    violations.check()?;
    Ok(asked.unwrap_or(PAGE).min(PAGE) as usize)
}

/// A marker for the page after `last`.
pub(super) fn write_marker(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

/// What was the last of the page before the one that is asked for.
pub(super) fn read_marker(call: &Call) -> Result<Option<String>, Error> {
    let Some(text) = call.query("Marker").filter(|text| !text.is_empty()) else { return Ok(None) };
    let last = URL_SAFE_NO_PAD.decode(&text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    last.map(Some).ok_or_else(|| Error::parameter(format!("The marker '{text}' is not one that a list has given.")))
}
