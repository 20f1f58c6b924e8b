//! `ListFunctions`, page by page.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use serde::Serialize;

use super::{Error, Kind, constraint::Violations, document::FunctionConfiguration, json, name::LATEST};
use crate::stack::{Call, Reply};

/// Largest page, whatever the client asks for. Lambda's own.
const PAGE: i64 = 50;

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
    let limit = page_size(call, violations)?;
    let after = call.query("Marker").filter(|text| !text.is_empty()).map(|text| read_marker(&text)).transpose()?;

    let (functions, more) = call.gateway.platform.functions(after.as_deref(), limit);
    // With every version listed, `$LATEST` is one of them and is named as such.
    let qualifier = version.is_some().then_some(LATEST);
    let functions = functions.iter().map(|function| FunctionConfiguration::in_list(function, qualifier)).collect();
    json(StatusCode::OK, &Page { next_marker: more.map(|name| URL_SAFE_NO_PAD.encode(name)), functions })
}

/// `MaxItems`, as far as it is followed.
pub(super) fn page_size(call: &Call, mut violations: Violations) -> Result<usize, Error> {
    let asked = match call.query("MaxItems").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(text.parse::<i64>().map_err(|_| {
            Error::new(Kind::Serialization, format!("'{text}' at 'MaxItems' can not be converted to an Integer"))
        })?),
    };
    violations.range("maxItems", asked, 1..=10_000);
    violations.check()?;
    Ok(asked.unwrap_or(PAGE).min(PAGE) as usize)
}

fn read_marker(text: &str) -> Result<String, Error> {
    let name = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    name.ok_or_else(|| Error::parameter(format!("The marker '{text}' is not one that ListFunctions has given.")))
}
