//! `UpdateFunctionCode`.

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;

use super::{
    Error,
    constraint::Violations,
    document::FunctionConfiguration,
    json,
    members::{self, Code, Text},
    name::Target,
};
use crate::stack::{Call, Reply};

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Members<'a> {
    #[serde(borrow)]
    zip_file: Option<Text<'a>>,
    s3_bucket: Option<String>,
    s3_key: Option<String>,
    image_uri: Option<String>,
    publish: Option<bool>,
    publish_to: Option<String>,
    dry_run: Option<bool>,
    revision_id: Option<String>,
    architectures: Option<Vec<String>>,
}

struct Update {
    package: Bytes,
    revision: Option<String>,
    is_dry_run: bool,
}

pub(super) async fn answer(call: Call) -> Result<Reply, Error> {
    let target = Target::unqualified(&call)?;
    // Decoding 50 MiB takes its time: not on a thread that others wait for.
    let reading = members::decode_blocking(call.body.clone(), |body| {
        read(serde_json::from_slice(body).map_err(super::body_error)?)
    });
    let update = reading.await?;

    let platform = &call.gateway.platform;
    let function = platform.update_code(&target.name, update.package, update.revision, update.is_dry_run).await?;
    json(StatusCode::OK, &FunctionConfiguration::of(&function, None, &platform.settings().region))
}

fn read(members: Members<'_>) -> Result<Update, Error> {
    let mut violations = Violations::default();
    members::check_architectures(members.architectures.as_deref(), &mut violations);
    violations.check()?;
    if members.publish == Some(true) || members.publish_to.is_some() {
        return Err(members::not_available("Publish (versions)"));
    }
    if members.architectures.is_some_and(|list| list.iter().any(|name| name != "x86_64")) {
        return Err(Error::parameter("The architecture arm64 is not available: Mayfly runs on x86_64."));
    }
    let Members { zip_file, s3_bucket, s3_key, image_uri, .. } = members;
    let package = Code { zip_file, s3_bucket, s3_key, image_uri }.zip()?;
    Ok(Update { package, revision: members.revision_id, is_dry_run: members.dry_run.unwrap_or(false) })
}
