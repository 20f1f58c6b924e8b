//! `UpdateFunctionConfiguration`.

use http::StatusCode;
use mayfly_scheduler::{ConfigurationChange, LayerId};

use super::{
    Error,
    constraint::Violations,
    document::FunctionConfiguration,
    json, layer,
    members::{LoggingConfig, Members},
    name::Target,
};
use crate::stack::{Call, Reply};

pub(super) async fn answer(call: Call) -> Result<Reply, Error> {
    let target = Target::unqualified(&call)?;
    let mut members: Members<'_> =
        serde_json::from_slice(if call.body.is_empty() { b"{}" } else { &call.body }).map_err(super::body_error)?;
    members.check(Violations::default())?;
    let revision = members.revision_id.take();
    let layers = members.layers.take().map(|arns| layer::name::used(&call, &arns)).transpose()?;
    let platform = &call.gateway.platform;
    let function = platform.update_configuration(&target.name, change(members, layers), revision).await?;
    json(StatusCode::OK, &FunctionConfiguration::of(&function, None, &platform.settings().region))
}

/// What is to change. The numbers are in range: they were checked.
fn change(mut members: Members<'_>, layers: Option<Vec<LayerId>>) -> ConfigurationChange {
    let number = |value: Option<i64>| value.and_then(|n| u32::try_from(n).ok());
    ConfigurationChange {
        environment: members.take_environment(),
        runtime: members.runtime,
        handler: members.handler,
        role: members.role,
        description: members.description,
        timeout_s: number(members.timeout),
        memory_mb: number(members.memory_size),
        ephemeral_storage_mb: number(members.ephemeral_storage.and_then(|s| s.size)),
        tracing_mode: members.tracing_config.and_then(|c| c.mode),
        logging: members.logging_config.map(LoggingConfig::into_logging),
        layers,
        snap_start: members.snap_start.and_then(|s| s.apply_on),
        dead_letter_target_arn: members.dead_letter_config.map(|c| c.target_arn.unwrap_or_default()),
        kms_key_arn: members.kms_key_arn,
    }
}
