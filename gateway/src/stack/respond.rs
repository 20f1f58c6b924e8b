//! The one place where an error becomes a response.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, header};
use http_body_util::Full;
use serde_json::json;

use super::Reply;
use crate::lambda::{Error, Kind, Spelling};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

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

fn render(error: &Error) -> Reply {
    let kind = error.kind;
    let mut body = serde_json::Map::new();
    let spelling = match kind.spelling() {
        Spelling::Upper => "Message",
        Spelling::Lower => "message",
    };
    body.insert(spelling.into(), json!(error.message));
    if let Some(whose) = kind.whose() {
        body.insert("Type".into(), json!(whose));
    }
    if let Kind::TooManyRequests { reason } = kind {
        body.insert("Reason".into(), json!(reason));
    }

    let mut reply = Response::new(Full::new(Bytes::from(serde_json::Value::Object(body).to_string())));
    *reply.status_mut() = kind.status();
    let headers = reply.headers_mut();
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
        headers.insert(HeaderName::from_static("x-mayfly-load"), load);
    }
    reply
}
