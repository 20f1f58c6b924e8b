//! `PublishLayerVersion`.

use bytes::Bytes;
use http::StatusCode;
use mayfly_scheduler::{AboutLayer, NewLayer, limits};
use serde::Deserialize;

use super::{document::Version, name};
use crate::{
    lambda::{
        Error,
        constraint::{self, Violations},
        json,
        members::{self, Code},
    },
    stack::{Call, Reply},
};

/// Most runtimes and architectures that a version can name.
const RUNTIMES: usize = 15;
const ARCHITECTURES: usize = 2;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Members<'a> {
    #[serde(borrow)]
    content: Option<Code<'a>>,
    description: Option<String>,
    license_info: Option<String>,
    compatible_runtimes: Option<Vec<String>>,
    compatible_architectures: Option<Vec<String>>,
}

pub(in crate::lambda) async fn answer(call: Call) -> Result<Reply, Error> {
    let (name, body) = (name::layer(&call)?, call.body.clone());
    // Decoding 50 MiB takes its time: not on a thread that others wait for.
    let (about, package) = members::decode_blocking(body, read).await?;
    let version = call.gateway.platform.publish_layer(NewLayer { name, about, package }).await?;
    json(StatusCode::CREATED, &Version::of(&call, &version))
}

fn read(body: &[u8]) -> Result<(AboutLayer, Bytes), Error> {
    let members: Members<'_> = serde_json::from_slice(body).map_err(crate::lambda::body_error)?;
    let mut violations = Violations::default();
    violations.required("content", members.content.as_ref());
    violations.length("description", members.description.as_deref(), limits::DESCRIPTION_CHARS);
    violations.length("licenseInfo", members.license_info.as_deref(), limits::LICENSE_CHARS);
    let runtimes = members.compatible_runtimes.unwrap_or_default();
    check_list(&mut violations, "compatibleRuntimes", &runtimes, RUNTIMES, is_runtime, RUNTIME_RULE);
    let architectures = members.compatible_architectures.unwrap_or_default();
    let rule = "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must not be null]";
    check_list(&mut violations, "compatibleArchitectures", &architectures, ARCHITECTURES, is_architecture, rule);
    violations.check()?;
    let package = members.content.unwrap_or_default().zip()?;
    let description = members.description.unwrap_or_default();
    Ok((AboutLayer { description, license: members.license_info, runtimes, architectures }, package))
}

/// What can be the name of a runtime: those of Lambda, and whatever `mayfly runtime build --name` was given.
const RUNTIME_RULE: &str = "Member must satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z0-9._-]+, Member must not be null]";

pub(super) fn is_runtime(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

fn is_architecture(text: &str) -> bool {
    constraint::ARCHITECTURES.contains(&text)
}

fn check_list(v: &mut Violations, member: &str, list: &[String], most: usize, is_fine: fn(&str) -> bool, rule: &str) {
    let shown = format!("[{}]", list.join(", "));
    if list.len() > most {
        v.add(member, Some(&shown), &format!("Member must have length less than or equal to {most}"));
    }
    if !list.iter().all(|text| is_fine(text)) {
        v.add(member, Some(&shown), rule);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::Kind;
    use serde_json::{Value, json};

    fn asked(body: Value) -> Result<(AboutLayer, Bytes), Error> {
        read(body.to_string().as_bytes())
    }

    #[test]
    fn what_is_kept() {
        let (about, package) = asked(json!({"Content": {"ZipFile": "UEs="}})).expect("it is fine");
        assert_eq!((about, &package[..]), (AboutLayer::default(), &b"PK"[..]));
        let (about, _) = asked(json!({
            "Content": {"ZipFile": "UEs="}, "Description": "d", "LicenseInfo": "MIT",
            "CompatibleRuntimes": ["python3.12", "rustpython"], "CompatibleArchitectures": ["x86_64", "arm64"],
        }))
        .expect("it is fine");
        let list = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let expected = AboutLayer {
            description: "d".into(),
            license: Some("MIT".into()),
            runtimes: list(["python3.12", "rustpython"]),
            architectures: list(["x86_64", "arm64"]),
        };
        assert_eq!(about, expected);
    }

    #[test]
    fn refusals() {
        for (body, kind, text) in [
            (json!({}), Kind::Validation, "Value null at 'content' failed"),
            (json!({"Content": {}}), Kind::InvalidParameterValue, "Please provide a source for function code."),
            (json!({"Content": {"S3Bucket": "b", "S3Key": "k"}}), Kind::InvalidParameterValue, "S3"),
            (json!({"Content": {"ZipFile": ""}, "Description": "x".repeat(257)}), Kind::Validation, "'description'"),
            (json!({"Content": {"ZipFile": ""}, "LicenseInfo": "x".repeat(513)}), Kind::Validation, "equal to 512"),
            (
                json!({"Content": {"ZipFile": ""}, "CompatibleRuntimes": vec!["python3.12"; 16]}),
                Kind::Validation,
                "at 'compatibleRuntimes' failed to satisfy constraint: Member must have length less than or equal to 15",
            ),
            (
                json!({"Content": {"ZipFile": ""}, "CompatibleRuntimes": ["a b"], "CompatibleArchitectures": ["mips"]}),
                Kind::Validation,
                "2 validation errors detected: Value '[a b]' at 'compatibleRuntimes'",
            ),
            (
                json!({"Content": {"ZipFile": ""}, "CompatibleArchitectures": ["mips"]}),
                Kind::Validation,
                "Member must satisfy enum value set: [x86_64, arm64]",
            ),
        ] {
            let error = asked(body.clone()).err().unwrap_or_else(|| panic!("{body} was taken"));
            assert_eq!(error.kind, kind, "{body}: {}", error.message);
            assert!(error.message.contains(text), "{body}: {}", error.message);
        }
    }
}
