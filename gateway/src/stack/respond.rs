//! The one place where an error becomes a response.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body_util::Full;
use serde::Serialize;

use super::Reply;
use crate::{
    lambda::{Error, Kind, Spelling},
    threads,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const LOAD: HeaderName = HeaderName::from_static("x-mayfly-load");

/// Room for all headers of an error, what HTTP itself adds included.
const HEADERS: usize = 12;

/// Makes the response of a request: what every response has, around what the operation answered.
#[must_use]
pub fn finish(outcome: Result<Reply, Error>, request_id: &str) -> Reply {
    let mut reply = outcome.unwrap_or_else(|error| {
        report(&error, request_id);
        render(&error)
    });
    if let Ok(value) = HeaderValue::from_str(request_id) {
        reply.headers_mut().insert(REQUEST_ID, value);
    }
    reply
}

/// What the operator should see. What callers did wrong is theirs.
fn report(error: &Error, request_id: &str) {
    if let Some(detail) = &error.detail {
        if error.kind.status().is_server_error() {
            tracing::error!(request_id, error = %detail, "request failed");
        } else {
            tracing::debug!(request_id, error = %detail, "request refused");
        }
    }
}

/// An error's body, as Lambda's clients read it.
#[derive(Serialize, Default)]
struct Body<'a> {
    #[serde(rename = "Reason", skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(rename = "Type", skip_serializing_if = "Option::is_none")]
    whose: Option<&'a str>,
    #[serde(rename = "Message", skip_serializing_if = "Option::is_none")]
    upper: Option<&'a str>,
    #[serde(rename = "message", skip_serializing_if = "Option::is_none")]
    lower: Option<&'a str>,
}

fn render(error: &Error) -> Reply {
    let kind = error.kind;
    let mut body = Body { whose: kind.whose(), ..Body::default() };
    match kind.spelling() {
        Spelling::Upper => body.upper = Some(&error.message),
        Spelling::Lower => body.lower = Some(&error.message),
    }
    if kind.status().is_client_error() {
        threads::refused();
    }
    if let Kind::TooManyRequests { reason } = kind {
        body.reason = Some(reason);
    }
    // Texts always can be written as JSON.
    let body = serde_json::to_vec(&body).unwrap_or_default();

    let mut headers = HeaderMap::with_capacity(HEADERS);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ERROR_TYPE, HeaderValue::from_static(kind.name()));
    if let Some(after) = error.retry_after {
        // Whole seconds is all the header can say; "0" would be an invitation.
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs_f64().ceil().max(1.0) as u64));
    }
    if error.closes {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(load) = error.load.as_deref().and_then(|load| HeaderValue::from_str(load).ok()) {
        headers.insert(LOAD, load);
    }
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = kind.status();
    *reply.headers_mut() = headers;
    reply
}
