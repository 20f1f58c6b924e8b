//! `GET /mayfly/v1/packages/{sha256}`: what `Code.Location` of GetFunction points to.

use http::{HeaderValue, Response, header};
use http_body_util::Full;

use crate::{
    lambda::{Error, Kind},
    stack::{Call, Reply},
};

pub(super) async fn answer(call: &Call) -> Result<Reply, Error> {
    let digest = call.argument(0);
    // Checked here because it becomes the name of a file.
    if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(Error::new(
            Kind::ResourceNotFound,
            "A package is named by the 64 hexadecimal digits of its SHA-256.",
        ));
    }
    let package = call.gateway.platform.package(digest).await?;
    let mut reply = Response::new(Full::new(package));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    Ok(reply)
}
