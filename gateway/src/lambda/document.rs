//! Function records as clients see them.

use std::collections::BTreeMap;

use mayfly_scheduler::{Function, FunctionState, LogFormat, Reason, UpdateStatus, UsedLayer};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::timestamp;

/// `FunctionConfiguration`. What a function does not have is left out, never empty.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FunctionConfiguration<'a> {
    function_name: &'a str,
    function_arn: String,
    runtime: &'a str,
    role: &'a str,
    handler: &'a str,
    code_size: u64,
    description: &'a str,
    timeout: u32,
    memory_size: u32,
    last_modified: String,
    code_sha256: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Environment<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_config: Option<DeadLetterConfig<'a>>,
    #[serde(rename = "KMSKeyArn", skip_serializing_if = "Option::is_none")]
    kms_key_arn: Option<&'a str>,
    tracing_config: TracingConfig<'a>,
    revision_id: &'a str,
    #[serde(flatten)]
    progress: Option<Progress<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Layer<'a>>,
    package_type: &'static str,
    architectures: &'a [String],
    ephemeral_storage: EphemeralStorage,
    snap_start: SnapStart<'a>,
    logging_config: LoggingConfig<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Layer<'a> {
    arn: &'a str,
    code_size: u64,
}

/// How far a deploy is, and what it runs on: what lists leave out.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Progress<'a> {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_reason_code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_update_status_reason_code: Option<&'a str>,
    runtime_version_config: RuntimeVersionConfig,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Environment<'a> {
    variables: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeadLetterConfig<'a> {
    target_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TracingConfig<'a> {
    mode: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EphemeralStorage {
    size: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SnapStart<'a> {
    apply_on: &'a str,
    optimization_status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LoggingConfig<'a> {
    log_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_log_level: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_log_level: Option<&'a str>,
    log_group: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RuntimeVersionConfig {
    runtime_version_arn: String,
}

impl<'a> FunctionConfiguration<'a> {
    /// The record of `function`, its ARN ending in `qualifier` if there is one.
    #[must_use]
    pub fn of(function: &'a Function, qualifier: Option<&str>, region: &str) -> FunctionConfiguration<'a> {
        FunctionConfiguration { progress: Some(Progress::of(function, region)), ..Self::in_list(function, qualifier) }
    }

    /// The same as it stands in lists: without how far a deploy is.
    #[must_use]
    pub fn in_list(function: &'a Function, qualifier: Option<&str>) -> FunctionConfiguration<'a> {
        let configuration = &function.configuration;
        let logging = &configuration.logging;
        FunctionConfiguration {
            function_name: &configuration.name,
            function_arn: qualifier.map_or_else(|| function.arn.clone(), |q| format!("{}:{q}", function.arn)),
            runtime: &configuration.runtime,
            role: &configuration.role,
            handler: &configuration.handler,
            code_size: function.code.bytes,
            description: &configuration.description,
            timeout: configuration.timeout_s,
            memory_size: configuration.memory_mb,
            last_modified: timestamp::iso8601(function.last_modified_ms),
            code_sha256: &function.code.sha256_base64,
            version: &function.version,
            environment: configuration.environment.as_ref().map(|variables| Environment { variables }),
            dead_letter_config: present(&configuration.dead_letter_target_arn)
                .map(|target_arn| DeadLetterConfig { target_arn }),
            kms_key_arn: present(&configuration.kms_key_arn),
            tracing_config: TracingConfig { mode: &configuration.tracing_mode },
            revision_id: &function.revision_id,
            progress: None,
            layers: configuration.layers.iter().map(Layer::of).collect(),
            package_type: "Zip",
            architectures: &configuration.architectures,
            ephemeral_storage: EphemeralStorage { size: configuration.ephemeral_storage_mb },
            snap_start: SnapStart { apply_on: &configuration.snap_start, optimization_status: "Off" },
            logging_config: LoggingConfig {
                log_format: if logging.format == LogFormat::Json { "JSON" } else { "Text" },
                application_log_level: logging.application_level.as_deref(),
                system_log_level: logging.system_level.as_deref(),
                log_group: configuration.log_group(),
            },
        }
    }
}

impl<'a> Layer<'a> {
    fn of(layer: &'a UsedLayer) -> Layer<'a> {
        Layer { arn: &layer.arn, code_size: layer.code.bytes }
    }
}

impl<'a> Progress<'a> {
    fn of(function: &'a Function, region: &str) -> Progress<'a> {
        let text = |reason: &'a Option<Reason>| reason.as_ref().map(|reason| reason.text.as_str());
        let code = |reason: &'a Option<Reason>| reason.as_ref().map(|reason| reason.code.as_str());
        Progress {
            state: match function.state {
                FunctionState::Pending => "Pending",
                FunctionState::Active => "Active",
                FunctionState::Failed => "Failed",
            },
            state_reason: text(&function.state_reason),
            state_reason_code: code(&function.state_reason),
            last_update_status: function.last_update.map(|status| match status {
                UpdateStatus::Successful => "Successful",
                UpdateStatus::InProgress => "InProgress",
                UpdateStatus::Failed => "Failed",
            }),
            last_update_status_reason: text(&function.last_update_reason),
            last_update_status_reason_code: code(&function.last_update_reason),
            runtime_version_config: RuntimeVersionConfig {
                runtime_version_arn: runtime_version_arn(&function.configuration.runtime, region),
            },
        }
    }
}

fn present(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// A name for what the runtime is in this build: another one where it may behave otherwise.
fn runtime_version_arn(runtime: &str, region: &str) -> String {
    let digest = Sha256::digest(format!("{runtime} {}", env!("CARGO_PKG_VERSION")));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("arn:aws:lambda:{region}::runtime:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use mayfly_scheduler::{Code, Configuration};
    use serde_json::json;

    fn function() -> Function {
        Function {
            configuration: Configuration {
                name: "f".into(),
                runtime: "rustpython".into(),
                handler: "h.f".into(),
                role: "arn:aws:iam::000000000000:role/r".into(),
                ..Configuration::default()
            },
            version: "$LATEST".into(),
            arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
            code: Code { sha256_base64: "c2hh".into(), sha256_hex: "736861".into(), bytes: 7, unzipped_bytes: 9 },
            revision_id: "r".into(),
            last_modified_ms: 1_769_860_800_000,
            state: FunctionState::Pending,
            state_reason: Some(Reason { code: "Creating".into(), text: "The function is being created.".into() }),
            last_update: None,
            last_update_reason: None,
            tags: BTreeMap::new(),
            reserved_concurrency: None,
            provisioned_concurrency: None,
        }
    }

    #[test]
    fn defaults_and_what_is_left_out() {
        let function = function();
        let mut document = json!(FunctionConfiguration::of(&function, None, "us-east-1"));
        let arn = document["RuntimeVersionConfig"]["RuntimeVersionArn"].take();
        assert!(arn.as_str().expect("text").starts_with("arn:aws:lambda:us-east-1::runtime:"));
        assert_eq!(
            document,
            json!({
                "FunctionName": "f", "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
                "Runtime": "rustpython", "Role": "arn:aws:iam::000000000000:role/r", "Handler": "h.f",
                "CodeSize": 7, "Description": "", "Timeout": 3, "MemorySize": 128,
                "LastModified": "2026-01-31T12:00:00.000+0000", "CodeSha256": "c2hh", "Version": "$LATEST",
                "TracingConfig": {"Mode": "PassThrough"}, "RevisionId": "r", "State": "Pending",
                "StateReason": "The function is being created.", "StateReasonCode": "Creating",
                "RuntimeVersionConfig": {"RuntimeVersionArn": null}, "PackageType": "Zip",
                "Architectures": ["x86_64"], "EphemeralStorage": {"Size": 512},
                "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
                "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
            })
        );
    }

    #[test]
    fn lists_say_nothing_of_progress() {
        let mut function = function();
        function.configuration.environment = Some(BTreeMap::new());
        let layer = UsedLayer { arn: "arn:…:layer:l:1".into(), code: function.code.clone() };
        function.configuration.layers = vec![layer];
        let document = json!(FunctionConfiguration::in_list(&function, Some("$LATEST")));
        assert_eq!(document["FunctionArn"], "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST");
        assert_eq!(document["Environment"], json!({"Variables": {}}));
        assert_eq!(document["Layers"], json!([{"Arn": "arn:…:layer:l:1", "CodeSize": 7}]));
        for absent in ["State", "StateReason", "LastUpdateStatus", "RuntimeVersionConfig"] {
            assert!(document.get(absent).is_none(), "{absent}");
        }
    }
}
