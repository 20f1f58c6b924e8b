//! Which configurations can be, in Lambda's words.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{Configuration, ConfigurationChange};
use crate::{limits, refusal::Refusal};

/// Names that the platform sets itself.
const RESERVED_VARIABLES: &[&str] = &[
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

impl Configuration {
    /// Whether a function can be like this.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(&self) -> Result<(), Refusal> {
        check_name(&self.name)?;
        check_length("handler", &self.handler, limits::HANDLER_CHARS)?;
        if self.handler.is_empty() {
            return Err(Refusal::InvalidParameter("Handler is required for functions of package type Zip".into()));
        }
        if self.handler.chars().any(char::is_whitespace) {
            return Err(constraint(&self.handler, "handler", "satisfy regular expression pattern: [^\\s]+"));
        }
        check_length("description", &self.description, limits::DESCRIPTION_CHARS)?;
        check_range("timeout", self.timeout_s, &limits::TIMEOUT_S)?;
        check_range("memorySize", self.memory_mb, &limits::MEMORY_MB)?;
        check_range("ephemeralStorage.size", self.ephemeral_storage_mb, &limits::EPHEMERAL_STORAGE_MB)?;
        if self.architectures != ["x86_64"] {
            let text = format!("[{}]", self.architectures.join(", "));
            return Err(constraint(
                &text,
                "architectures",
                "satisfy constraint: [Member must satisfy enum value set: [x86_64]]",
            ));
        }
        check_one_of("tracingConfig.mode", &self.tracing_mode, &["Active", "PassThrough"])?;
        check_one_of("snapStart.applyOn", &self.snap_start, &["PublishedVersions", "None"])?;
        self.environment.as_ref().map_or(Ok(()), check_environment)
    }

    /// This configuration with a change, but for that of the layers; not checked.
    #[must_use]
    pub fn with(&self, change: ConfigurationChange) -> Configuration {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        fn set_or_clear(field: &mut Option<String>, value: Option<String>) {
            if let Some(value) = value {
                *field = Some(value).filter(|value| !value.is_empty());
            }
        }
        let mut changed = self.clone();
        set(&mut changed.runtime, change.runtime);
        set(&mut changed.handler, change.handler);
        set(&mut changed.role, change.role);
        set(&mut changed.description, change.description);
        set(&mut changed.timeout_s, change.timeout_s);
        set(&mut changed.memory_mb, change.memory_mb);
        set(&mut changed.environment, change.environment.map(Some));
        set(&mut changed.ephemeral_storage_mb, change.ephemeral_storage_mb);
        set(&mut changed.tracing_mode, change.tracing_mode);
        set(&mut changed.logging, change.logging);
        set(&mut changed.snap_start, change.snap_start);
        set_or_clear(&mut changed.dead_letter_target_arn, change.dead_letter_target_arn);
        set_or_clear(&mut changed.kms_key_arn, change.kms_key_arn);
        changed
    }
}

/// Whether tags can be like this.
pub(crate) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if tags.len() > limits::TAGS {
        return Err(Refusal::InvalidParameter(format!("The number of tags exceeds the limit of {}", limits::TAGS)));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 128 || key.starts_with("aws:") {
            return Err(Refusal::InvalidParameter(format!("The tag key '{key}' is not valid")));
        }
        if value.chars().count() > 256 {
            return Err(Refusal::InvalidParameter(format!("The value of tag '{key}' is longer than 256 characters")));
        }
    }
    match tags.get(crate::StateMode::TAG) {
        Some(mode) if crate::StateMode::from_name(mode).is_none() => Err(Refusal::InvalidParameter(format!(
            "The tag {} is 'fresh' (state put back after every invocation) or 'reuse', not '{mode}'",
            crate::StateMode::TAG
        ))),
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let good = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    if name.is_empty() || !name.chars().all(good) {
        let pattern = "satisfy regular expression pattern: [a-zA-Z0-9-_]+";
        return Err(constraint(name, "functionName", pattern));
    }
    if name.len() > limits::FUNCTION_NAME_CHARS {
        return Err(Refusal::InvalidParameter(format!(
            "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must have \
             length less than or equal to {}",
            limits::FUNCTION_NAME_CHARS
        )));
    }
    Ok(())
}

fn check_environment(environment: &BTreeMap<String, String>) -> Result<(), Refusal> {
    for name in environment.keys() {
        let good = |character: char| character.is_ascii_alphanumeric() || character == '_';
        if !name.starts_with(|first: char| first.is_ascii_alphabetic()) && !RESERVED_VARIABLES.contains(&name.as_str())
            || name.len() < 2
            || !name.chars().all(good)
        {
            return Err(constraint(
                &format!("{{{name}=…}}"),
                "environment.variables",
                "satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
            ));
        }
    }
    let reserved: Vec<_> = RESERVED_VARIABLES.iter().copied().filter(|name| environment.contains_key(*name)).collect();
    if !reserved.is_empty() {
        return Err(Refusal::InvalidParameter(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided \
             contains reserved keys that are currently not supported for modification. Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    if environment.values().any(|value| value.contains('\0')) {
        return Err(Refusal::InvalidParameter("Environment variables cannot contain zero bytes".into()));
    }
    let json = serde_json::to_string(environment).unwrap_or_default();
    if json.len() > limits::ENVIRONMENT_BYTES {
        return Err(Refusal::InvalidParameter(format!(
            "Lambda was unable to configure your environment variables because the environment variables you have provided \
             exceeded the 4KB limit. String measured: {json}"
        )));
    }
    Ok(())
}

fn check_range(field: &str, value: u32, range: &RangeInclusive<u32>) -> Result<(), Refusal> {
    if value < *range.start() {
        return Err(constraint(
            &value.to_string(),
            field,
            &format!("have value greater than or equal to {}", range.start()),
        ));
    }
    if value > *range.end() {
        return Err(constraint(
            &value.to_string(),
            field,
            &format!("have value less than or equal to {}", range.end()),
        ));
    }
    Ok(())
}

fn check_length(field: &str, value: &str, max_chars: usize) -> Result<(), Refusal> {
    if value.chars().count() > max_chars {
        return Err(constraint(value, field, &format!("have length less than or equal to {max_chars}")));
    }
    Ok(())
}

fn check_one_of(field: &str, value: &str, set: &[&str]) -> Result<(), Refusal> {
    if !set.contains(&value) {
        return Err(constraint(value, field, &format!("satisfy enum value set: [{}]", set.join(", "))));
    }
    Ok(())
}

fn constraint(value: &str, field: &str, must: &str) -> Refusal {
    Refusal::Validation(format!(
        "1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: Member must {must}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Configuration {
        Configuration {
            name: "f".into(),
            runtime: "rustpython".into(),
            handler: "m.h".into(),
            ..Configuration::default()
        }
    }

    fn with(edit: impl FnOnce(&mut Configuration)) -> Result<(), String> {
        let mut configuration = good();
        edit(&mut configuration);
        configuration.check().map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn configurations() {
        assert_eq!(with(|_| ()), Ok(()));
        assert_eq!(
            with(|c| c.timeout_s = 901),
            Err("1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: Member must have value \
                 less than or equal to 900"
                .into())
        );
        type Edit = fn(&mut Configuration);
        let wrong: &[(&str, Edit)] = &[
            ("functionName", |c| c.name = "a b".into()),
            ("functionName", |c| c.name = "x".repeat(65)),
            ("handler", |c| c.handler = "a b".into()),
            ("Handler is required", |c| c.handler = String::new()),
            ("timeout", |c| c.timeout_s = 0),
            ("memorySize", |c| c.memory_mb = 127),
            ("memorySize", |c| c.memory_mb = 10_241),
            ("ephemeralStorage", |c| c.ephemeral_storage_mb = 511),
            ("architectures", |c| c.architectures = vec!["arm64".into()]),
            ("tracingConfig", |c| c.tracing_mode = "Sometimes".into()),
            ("description", |c| c.description = "x".repeat(257)),
            ("environment.variables", |c| c.environment = Some([("1A".into(), "x".into())].into())),
            ("Reserved keys used in this request: AWS_REGION", |c| {
                c.environment = Some([("AWS_REGION".into(), "x".into())].into());
            }),
            ("4KB", |c| c.environment = Some([("BIG".into(), "x".repeat(4090))].into())),
        ];
        for (text, edit) in wrong {
            let refusal = with(edit).expect_err(text);
            assert!(refusal.contains(text), "{refusal} does not name {text}");
        }
    }

    #[test]
    fn changes() {
        let start = Configuration { kms_key_arn: Some("key".into()), ..good() };
        assert_eq!(start.with(ConfigurationChange::default()), start);
        let changed = start.with(ConfigurationChange {
            memory_mb: Some(256),
            environment: Some(BTreeMap::new()),
            kms_key_arn: Some(String::new()),
            ..ConfigurationChange::default()
        });
        assert_eq!((changed.memory_mb, changed.environment, changed.kms_key_arn), (256, Some(BTreeMap::new()), None));
    }

    #[test]
    fn tags() {
        let tags = |key: &str, value: &str| check_tags(&[(key.to_owned(), value.to_owned())].into());
        assert!(tags("team", "blue").is_ok());
        assert!(tags("mayfly:state", "fresh").is_ok());
        assert!(tags("mayfly:state", "stale").is_err());
        assert!(tags("aws:x", "y").is_err());
        assert!(check_tags(&(0..51).map(|index| (index.to_string(), String::new())).collect()).is_err());
    }
}
