//! `GET /metrics`: for Prometheus, in the OpenMetrics text format.

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::Full;

use crate::{
    lambda::{Error, Kind},
    metrics,
    stack::{Call, Reply},
};

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

pub(super) fn answer(call: &Call) -> Result<Reply, Error> {
    let text = metrics::text(&call.gateway.metrics, &call.gateway.platform)
        .map_err(|error| Error::new(Kind::Service, format!("the metrics cannot be written: {error}")))?;
    let mut reply = Response::new(Full::new(Bytes::from(text)));
    reply.headers_mut().insert(header::CONTENT_TYPE, OPEN_METRICS);
    Ok(reply)
}
