//! `CreateFunction`.

use http::StatusCode;
use mayfly_scheduler::{Configuration, NewFunction};

use super::{
    Error, Kind,
    constraint::Violations,
    document::FunctionConfiguration,
    json, layer,
    members::{self, Members},
    name::{FunctionName, LATEST},
    tags,
};
use crate::stack::{Call, Reply};

pub(super) async fn answer(call: Call) -> Result<Reply, Error> {
    let (name, layers, mut new) = members::read_blocking(call.body.clone(), read).await?;
    let target = name.here(&call)?;
    new.configuration.name = target.name;
    new.layers = layer::name::used(&call, &layers)?;
    let function = call.gateway.platform.create_function(new).await?;
    let region = &call.gateway.platform.settings().region;
    json(StatusCode::CREATED, &FunctionConfiguration::of(&function, None, region))
}

/// The function's name, the ARNs of its layers, and the rest.
fn read(mut members: Members<'_>) -> Result<(FunctionName, Vec<String>, NewFunction), Error> {
    let mut violations = Violations::default();
    violations.required("functionName", members.function_name.as_ref());
    violations.required("role", members.role.as_ref());
    violations.required("code", members.code.as_ref());
    members.check(violations)?;

    let name = FunctionName::parse(members.function_name.as_deref().unwrap_or_default())?;
    if name.qualifier.as_deref().is_some_and(|qualifier| qualifier != LATEST) {
        return Err(Error::parameter("A function is created without a qualifier; versions and aliases come later."));
    }
    let (Some(runtime), Some(handler)) = (members.runtime.take(), members.handler.take()) else {
        let text = "Runtime and Handler are mandatory parameters for functions created with deployment packages.";
        return Err(Error::parameter(text));
    };
    let package = members.code.take().unwrap_or_default().zip()?;
    if package.is_empty() {
        return Err(Error::new(Kind::InvalidParameterValue, "Uploaded file must be a non-empty zip"));
    }
    let tags = members.tags.take().unwrap_or_default();
    tags::check(&tags)?;
    let layers = members.layers.take().unwrap_or_default();
    let configuration = configuration(members, runtime, handler);
    Ok((name, layers, NewFunction { configuration, layers: Vec::new(), package, tags, publish: false }))
}

/// What was asked for, on Lambda's defaults. The numbers are in range: they were checked.
fn configuration(mut members: Members<'_>, runtime: String, handler: String) -> Configuration {
    let default = Configuration::default();
    let number = |value: Option<i64>, default: u32| value.and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
    Configuration {
        name: String::new(),
        runtime,
        handler,
        environment: members.take_environment(),
        role: members.role.unwrap_or_default(),
        description: members.description.unwrap_or_default(),
        timeout_s: number(members.timeout, default.timeout_s),
        memory_mb: number(members.memory_size, default.memory_mb),
        ephemeral_storage_mb: number(members.ephemeral_storage.and_then(|s| s.size), default.ephemeral_storage_mb),
        architectures: default.architectures,
        tracing_mode: members.tracing_config.and_then(|c| c.mode).unwrap_or(default.tracing_mode),
        logging: members.logging_config.map(members::LoggingConfig::into_logging).unwrap_or_default(),
        layers: Vec::new(),
        snap_start: members.snap_start.and_then(|s| s.apply_on).unwrap_or(default.snap_start),
        dead_letter_target_arn: members.dead_letter_config.and_then(|c| c.target_arn).filter(|arn| !arn.is_empty()),
        kms_key_arn: members.kms_key_arn.filter(|arn| !arn.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ROLE: &str = "arn:aws:iam::000000000000:role/r";

    fn asked(change: Value) -> Result<(FunctionName, Vec<String>, NewFunction), Error> {
        let mut body = json!({
            "FunctionName": "f", "Role": ROLE, "Runtime": "rustpython", "Handler": "h.f", "Code": {"ZipFile": "UEs="},
        });
        for (key, value) in change.as_object().expect("an object") {
            body[key] = value.clone();
        }
        read(serde_json::from_str(&body.to_string()).map_err(crate::lambda::body_error)?)
    }

    #[test]
    fn defaults() {
        let (name, _, new) = asked(json!({})).expect("it is fine");
        assert_eq!(name.name, "f");
        assert_eq!(&new.package[..], b"PK");
        let expected = Configuration {
            runtime: "rustpython".into(),
            handler: "h.f".into(),
            role: ROLE.into(),
            ..Configuration::default()
        };
        assert_eq!(new.configuration, expected);
    }

    #[test]
    fn environment_given_empty_is_not_absent() {
        let (_, _, new) = asked(json!({"Environment": {}})).expect("it is fine");
        assert_eq!(new.configuration.environment, Some([].into()));
    }

    #[test]
    fn escaped_base64_is_base64() {
        let body = format!(
            r#"{{"FunctionName":"f","Role":"{ROLE}","Runtime":"r","Handler":"h.f","Code":{{"ZipFile":"\/\/8="}}}}"#
        );
        let (_, _, new) = read(serde_json::from_str(&body).expect("JSON")).expect("it is fine");
        assert_eq!(&new.package[..], &[0xff, 0xff]);
    }

    /// Each error row that the request alone can produce.
    #[test]
    fn refusals() {
        let many: serde_json::Map<String, Value> = (0..51).map(|n| (format!("k{n}"), json!("v"))).collect();
        for (change, kind, text) in [
            (
                json!({"FunctionName": null}),
                Kind::Validation,
                "Value null at 'functionName' failed to satisfy constraint: Member must not be null",
            ),
            (json!({"Role": null}), Kind::Validation, "Value null at 'role' failed"),
            (
                json!({"Role": "r1"}),
                Kind::Validation,
                "1 validation error detected: Value 'r1' at 'role' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:(aws",
            ),
            (json!({"Code": null}), Kind::Validation, "Value null at 'code' failed"),
            (
                json!({"Timeout": 0}),
                Kind::Validation,
                "Value '0' at 'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1",
            ),
            (json!({"Timeout": 901}), Kind::Validation, "Member must have value less than or equal to 900"),
            (json!({"MemorySize": 127}), Kind::Validation, "Value '127' at 'memorySize'"),
            (json!({"MemorySize": 10241}), Kind::Validation, "Value '10241' at 'memorySize'"),
            (json!({"EphemeralStorage": {"Size": 511}}), Kind::Validation, "Value '511' at 'ephemeralStorage.size'"),
            (
                json!({"Handler": "a b"}),
                Kind::Validation,
                r"Value 'a b' at 'handler' failed to satisfy constraint: Member must satisfy regular expression pattern: [^\s]+",
            ),
            (
                json!({"Description": "x".repeat(257)}),
                Kind::Validation,
                "at 'description' failed to satisfy constraint: Member must have length less than or equal to 256",
            ),
            (
                json!({"Architectures": ["X86_64"]}),
                Kind::Validation,
                "1 validation error detected: Value '[X86_64]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
            ),
            (
                json!({"Architectures": ["x86_64", "arm64"]}),
                Kind::Validation,
                "Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: Member must have length less than or equal to 1",
            ),
            (json!({"Architectures": ["arm64"]}), Kind::InvalidParameterValue, "arm64"),
            (
                json!({"SnapStart": {"ApplyOn": "invalidOption"}}),
                Kind::Validation,
                "Value 'invalidOption' at 'snapStart.applyOn' failed to satisfy constraint: Member must satisfy enum value set: [PublishedVersions, None]",
            ),
            (json!({"Timeout": 0, "MemorySize": 1}), Kind::Validation, "2 validation errors detected: "),
            (json!({"Runtime": null}), Kind::InvalidParameterValue, "Runtime and Handler are mandatory"),
            (json!({"FunctionName": "a".repeat(65)}), Kind::InvalidParameterValue, "length less than or equal to 64"),
            (json!({"Code": {}}), Kind::InvalidParameterValue, "Please provide a source for function code."),
            (json!({"Code": {"S3Bucket": "b", "S3Key": "k"}}), Kind::InvalidParameterValue, "S3"),
            (json!({"Code": {"ImageUri": "i"}}), Kind::InvalidParameterValue, "ImageUri"),
            (json!({"Code": {"ZipFile": "%"}}), Kind::InvalidRequestContent, "not base64"),
            (json!({"Code": {"ZipFile": 7}}), Kind::Serialization, "invalid type"),
            (json!({"Timeout": "7"}), Kind::Serialization, "invalid type"),
            (json!({"PackageType": "Image"}), Kind::InvalidParameterValue, "container images"),
            (json!({"Publish": true}), Kind::InvalidParameterValue, "Publish"),
            (
                json!({"Layers": ["arn"]}),
                Kind::Validation,
                "Value '[arn]' at 'layers' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 140, ",
            ),
            (json!({"VpcConfig": {"SubnetIds": ["subnet-1"]}}), Kind::InvalidParameterValue, "VpcConfig"),
            (json!({"Tags": many}), Kind::InvalidParameterValue, "Number of tags exceeds resource tag limit."),
        ] {
            let error = asked(change.clone()).err().unwrap_or_else(|| panic!("{change} was taken"));
            assert_eq!(error.kind, kind, "{change}: {}", error.message);
            assert!(error.message.contains(text), "{change}: {}", error.message);
        }
    }

    /// Terraform and SAM send these with every function.
    #[test]
    fn empty_optional_members_are_fine() {
        asked(json!({
            "Publish": false, "Layers": [], "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}, "PackageType": "Zip",
            "Architectures": ["x86_64"], "FileSystemConfigs": [], "TracingConfig": {"Mode": "Active"}, "SomethingNew": 1,
            "LoggingConfig": {"LogFormat": "JSON", "LogGroup": "/g"}, "DeadLetterConfig": {"TargetArn": ""},
        }))
        .expect("it is fine");
    }
}
