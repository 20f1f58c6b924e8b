//! `GET /mayfly/v1/functions/{name}/logs?after=&limit=`: log lines, oldest first.

use http::StatusCode;
use mayfly_scheduler::limits::FUNCTION_LOG_LINES;
use serde_json::{Value, json};

use crate::{
    lambda::{Error, json, name::Target},
    stack::{Call, Reply},
    timestamp,
};

/// Lines of an answer, unless asked otherwise.
const LINES: u64 = 1000;

pub(super) fn answer(call: &Call) -> Result<Reply, Error> {
    let target = Target::of(call)?;
    let after = number(call, "after", 0)?;
    let limit = number(call, "limit", LINES)?.min(FUNCTION_LOG_LINES as u64);
    let lines = call.gateway.platform.logs(&target.name, after, limit as usize)?;
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "sequence": line.sequence,
                "time": timestamp::iso8601(line.time_ms),
                "request_id": line.request_id,
                "stream": line.stream,
                "text": line.text,
            })
        })
        .collect();
    json(StatusCode::OK, &json!({"lines": lines}))
}

fn number(call: &Call, name: &str, default: u64) -> Result<u64, Error> {
    let Some(text) = call.query(name) else { return Ok(default) };
    text.parse().map_err(|_| Error::parameter(format!("'{text}' at '{name}' is not a number.")))
}
