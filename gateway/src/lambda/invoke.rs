//! `Invoke`: the one operation that has to be fast.
//!
//! The event is checked to be JSON, not read, and is handed on as it came. Nothing here allocates in proportion to it.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use mayfly_scheduler::{Answer, Invocation, Outcome, Refusal, limits};
use serde::de::IgnoredAny;

use super::{
    Error, Kind,
    constraint::Violations,
    empty,
    name::{FunctionName, LATEST, Target},
    timing::server_timing,
};
use crate::{
    Gateway,
    stack::{Call, Reply},
};

const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How a caller wants it.
struct Options {
    is_dry_run: bool,
    is_tail_wanted: bool,
    is_timing_wanted: bool,
}

/// Refuses an invocation for load before its event is read.
pub(super) fn check_load(gateway: &Gateway, head: &Parts, arguments: &[String]) -> Result<(), Error> {
    if head.headers.get("x-amz-invocation-type").is_some_and(|kind| kind == "DryRun") {
        return Ok(());
    }
    // Anything else that is wrong is told later.
    let Some(Ok(function)) = arguments.first().map(|name| FunctionName::parse(name)) else { return Ok(()) };
    gateway.platform.check_load(&function.name).map_err(|refusal| {
        gateway.metrics.refused(&function.name, || gateway.platform.function(&function.name).is_ok(), &refusal);
        refusal.into()
    })
}

pub(super) async fn answer(call: Call) -> Result<Reply, Error> {
    let options = Options::of(&call)?;
    let target = Target::of(&call)?;
    target.must_be_latest()?;
    let client_context = client_context(&call)?;
    check_json(&call.body)?;
    if options.is_dry_run {
        call.gateway.platform.function(&target.name).map_err(qualified)?;
        return Ok(empty(StatusCode::NO_CONTENT));
    }

    let invocation = Invocation {
        request_id: call.request_id.clone(),
        payload: if call.body.is_empty() { Bytes::from_static(b"{}") } else { call.body.clone() },
        invoked_arn: target.arn_as_called(),
        client_context,
        trace_id: call.header("x-amzn-trace-id").map(str::to_owned),
        function: target.name,
    };
    let (platform, metrics) = (&call.gateway.platform, &call.gateway.metrics);
    let name = invocation.function.clone();
    let exists = || platform.function(&name).is_ok();
    let receive = call.began.elapsed();
    call.gateway.awake.begins();
    let answered = platform.invoke(invocation).await;
    call.gateway.awake.ends();
    match answered {
        Ok(outcome) => {
            metrics.answered(&name, exists, &outcome, receive);
            let timing = options
                .is_timing_wanted
                .then(|| server_timing(&outcome, receive, call.began.elapsed(), SystemTime::now()));
            Ok(reply(outcome, options.is_tail_wanted, timing))
        }
        Err(refusal) => {
            metrics.refused(&name, exists, &refusal);
            Err(qualified(refusal))
        }
    }
}

impl Options {
    fn of(call: &Call) -> Result<Options, Error> {
        let kind = call.header("x-amz-invocation-type");
        let log = call.header("x-amz-log-type");
        let mut violations = Violations::default();
        violations.one_of("invocationType", kind, &["Event", "RequestResponse", "DryRun"]);
        violations.one_of("logType", log, &["None", "Tail"]);
        violations.check()?;
        if kind == Some("Event") {
            return Err(Error::parameter(
                "Asynchronous invocation (InvocationType Event) is not available in Mayfly yet; use RequestResponse.",
            ));
        }
        Ok(Options {
            is_dry_run: kind == Some("DryRun"),
            is_tail_wanted: log == Some("Tail"),
            is_timing_wanted: call.head.headers.contains_key("x-mayfly-timing"),
        })
    }
}

/// An event is any JSON text, or nothing. It is looked through once, with no memory of its own and no recursion, so that
/// neither its size nor its depth can hurt.
fn check_json(body: &[u8]) -> Result<(), Error> {
    if body.is_empty() {
        return Ok(());
    }
    let refuse = |what: String| {
        Error::new(Kind::InvalidRequestContent, format!("Could not parse request body into json: {what}"))
    };
    let text =
        std::str::from_utf8(body).map_err(|error| refuse(format!("Could not parse payload into json: {error}")))?;
    serde_json::from_str::<IgnoredAny>(text)
        .map(drop)
        .map_err(|error| refuse(format!("Could not parse payload into json: {error}")))
}

/// `X-Amz-Client-Context`, out of base64.
fn client_context(call: &Call) -> Result<Option<serde_json::Value>, Error> {
    let Some(encoded) = call.header("x-amz-client-context") else { return Ok(None) };
    let refuse = || {
        let text = format!(
            "Client context must be a valid Base64-encoded JSON object of at most {} bytes.",
            limits::CLIENT_CONTEXT_BYTES
        );
        Error::new(Kind::InvalidRequestContent, text)
    };
    let decoded = STANDARD.decode(encoded).map_err(|_| refuse())?;
    let context: serde_json::Value = serde_json::from_slice(&decoded).map_err(|_| refuse())?;
    if decoded.len() > limits::CLIENT_CONTEXT_BYTES || !context.is_object() {
        return Err(refuse());
    }
    Ok(Some(context))
}

/// Invoke, unlike every other operation, names the version that it did not find.
fn qualified(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NotFound { arn } => Error::function_not_found(&format!("{arn}:{LATEST}")),
        other => other.into(),
    }
}

fn reply(outcome: Outcome, is_tail_wanted: bool, timing: Option<String>) -> Reply {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut add = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    add(EXECUTED_VERSION, &outcome.executed_version);
    if is_tail_wanted {
        add(LOG_RESULT, &STANDARD.encode(&outcome.log_tail));
    }
    if let Some(timing) = timing {
        add(SERVER_TIMING, &timing);
    }
    let body = match outcome.answer {
        Answer::Response(body) => body,
        Answer::FunctionError(body) => {
            add(FUNCTION_ERROR, "Unhandled");
            body
        }
    };
    let mut reply = Response::new(Full::new(body));
    *reply.headers_mut() = headers;
    reply
}

#[cfg(test)]
mod tests {
    use super::*;
    use mayfly_scheduler::{Start, Timing};

    #[test]
    fn what_is_json() {
        let deep = format!("{}{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        for good in ["", "null", "7", "\"x\"", " {\"a\": [1, 2.5e3, \"\\u00e4\"]} ", &deep] {
            check_json(good.as_bytes()).unwrap_or_else(|error| panic!("{}", error.message));
        }
        for bad in
            [&b"{"[..], b"{}x", b"nul", b"'a'", b" ", b"\"\xff\"", b"\x99\xeb,j", b"[1,]", b"\"a\nb\"", b"01", b"NaN"]
        {
            let error = check_json(bad).expect_err("not JSON");
            assert_eq!(error.kind, Kind::InvalidRequestContent);
            assert!(error.message.starts_with("Could not parse request body into json: "), "{}", error.message);
        }
    }

    #[test]
    fn headers_of_an_answer() {
        let outcome = Outcome {
            executed_version: LATEST.into(),
            answer: Answer::FunctionError(Bytes::from_static(b"{}")),
            log_tail: b"START\n".to_vec(),
            start: Start::Bound,
            timing: Timing::default(),
            billed_ms: 2,
            memory_peak_bytes: 0,
        };
        let headers = reply(outcome.clone(), false, None).headers().clone();
        assert_eq!(headers["x-amz-executed-version"], "$LATEST");
        assert_eq!(headers["x-amz-function-error"], "Unhandled");
        assert!(!headers.contains_key("x-amz-log-result") && !headers.contains_key("server-timing"));

        let headers = reply(outcome, true, Some("run;dur=1".into())).headers().clone();
        assert_eq!(
            (&headers["x-amz-log-result"], &headers["server-timing"]),
            (&"U1RBUlQK".parse().unwrap(), &"run;dur=1".parse().unwrap())
        );
    }
}
