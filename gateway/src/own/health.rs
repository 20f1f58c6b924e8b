//! `/healthz`, `/readyz` and `/mayfly/v1/status`.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use mayfly_scheduler::{Provision, Provisioned};
use serde_json::json;

use crate::{
    lambda::{Error, json},
    stack::{Call, Reply},
};

pub(super) fn health() -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from_static(b"ok\n")));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    reply
}

pub(super) fn ready(call: &Call) -> Result<Reply, Error> {
    let status = call.gateway.platform.status();
    let is_ready = status.ready && !status.shutting_down;
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let reason = if status.shutting_down { Some("it is being stopped".into()) } else { status.not_ready_reason };
    json(code, &json!({"ready": is_ready, "reason": reason}))
}

pub(super) fn status(call: &Call) -> Result<Reply, Error> {
    let status = call.gateway.platform.status();
    let provisioned: Vec<_> = (status.provisions.iter())
        .map(|Provision { function, provisioned: Provisioned { requested, available, .. }, .. }| {
            json!({"function": function, "requested": requested, "available": available})
        })
        .collect();
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": status.ready,
        "not_ready_reason": status.not_ready_reason,
        "shutting_down": status.shutting_down,
        "functions": status.functions,
        "deploys": status.deploys,
        "shells_ready": status.shells_ready,
        "shells_target": status.shells_target,
        "instances_idle": status.instances_idle,
        "instances_busy": status.instances_busy,
        "invocations_queued": status.invocations_queued,
        "invocations_running": status.invocations_running,
        "invocations_total": status.invocations_total,
        "throttles_total": status.throttles_total,
        "instances_failed_total": status.instances_failed_total,
        "resets_total": status.resets_total,
        "concurrency_limit": status.concurrency_limit,
        "instances_limit": status.instances_limit,
        "memory_available_bytes": status.memory_available_bytes,
        "provisioned": provisioned,
    });
    json(StatusCode::OK, &body)
}
