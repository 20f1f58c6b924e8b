//! The JSON that goes with an event.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{
    configuration::{Configuration, LogFormat},
    runtime::execution_env,
    settings::Settings,
};

/// What a function is told once, when it is loaded.
#[derive(Debug, Serialize)]
pub(crate) struct InitMeta<'a> {
    handler: &'a str,
    environment: BTreeMap<&'a str, String>,
    function_name: &'a str,
    function_version: &'a str,
    memory_limit_in_mb: String,
    log_group_name: String,
    log_stream_name: &'a str,
}

/// Nothing can be reached with these; programs that look for credentials when they are loaded find some.
const CREDENTIALS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "ASIAMAYFLYNOTAREALKEY"),
    ("AWS_SECRET_ACCESS_KEY", "mayfly-not-a-real-secret"),
    ("AWS_SESSION_TOKEN", "mayfly-not-a-real-token"),
];

impl<'a> InitMeta<'a> {
    /// For a version of a function. Depends on nothing else: the snapshot that comes of it is named by this.
    pub(crate) fn new(configuration: &'a Configuration, version: &'a str, settings: &Settings) -> InitMeta<'a> {
        InitMeta {
            handler: &configuration.handler,
            environment: environment(configuration, version, settings),
            function_name: &configuration.name,
            function_version: version,
            memory_limit_in_mb: configuration.memory_mb.to_string(),
            log_group_name: configuration.log_group(),
            log_stream_name: INIT_STREAM,
        }
    }

    /// As it is sent.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Log stream of what a function says while it is loaded.
pub(crate) const INIT_STREAM: &str = "mayfly/deploy";

fn environment<'a>(configuration: &'a Configuration, version: &str, settings: &Settings) -> BTreeMap<&'a str, String> {
    let mut environment: BTreeMap<&str, String> = BTreeMap::from([
        ("AWS_LAMBDA_FUNCTION_NAME", configuration.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", version.to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", configuration.memory_mb.to_string()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", configuration.log_group()),
        ("AWS_LAMBDA_LOG_STREAM_NAME", INIT_STREAM.to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_EXECUTION_ENV", execution_env(&configuration.runtime)),
        ("AWS_REGION", settings.region.clone()),
        ("AWS_DEFAULT_REGION", settings.region.clone()),
        ("_HANDLER", configuration.handler.clone()),
        ("LAMBDA_TASK_ROOT", "/var/task".to_owned()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
        ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin".to_owned()),
        (
            "LD_LIBRARY_PATH",
            "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib".to_owned(),
        ),
        ("PYTHONPATH", "/var/runtime".to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
    ]);
    environment.extend(CREDENTIALS.map(|(name, value)| (name, value.to_owned())));
    if configuration.logging.format == LogFormat::Json {
        environment.insert("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned());
    }
    if let Some(level) = &configuration.logging.application_level {
        environment.insert("AWS_LAMBDA_LOG_LEVEL", level.clone());
    }
    let users = configuration.environment.iter().flatten();
    environment.extend(users.map(|(name, value)| (name.as_str(), value.clone())));
    environment
}

/// What comes with each event.
#[derive(Debug, Serialize)]
pub(crate) struct InvokeMeta<'a> {
    pub(crate) request_id: &'a str,
    pub(crate) deadline_ms: u64,
    pub(crate) invoked_function_arn: &'a str,
    pub(crate) client_context: Option<&'a Value>,
    pub(crate) identity: Option<&'a Value>,
    pub(crate) trace_id: Option<&'a str>,
    pub(crate) tenant_id: Option<&'a str>,
    /// Only with the first event after a bind or reset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restore: Option<RestoreMeta<'a>>,
}

impl InvokeMeta<'_> {
    /// Of an invocation that nobody asked for.
    pub(crate) fn rehearsal() -> InvokeMeta<'static> {
        InvokeMeta {
            request_id: "00000000-0000-0000-0000-000000000000",
            deadline_ms: 0,
            invoked_function_arn: "",
            client_context: None,
            identity: None,
            trace_id: None,
            tenant_id: None,
            restore: Some(RestoreMeta::new(INIT_STREAM, false)),
        }
    }

    /// As it is sent.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What differs between the instances of a snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct RestoreMeta<'a> {
    environment: BTreeMap<&'static str, &'a str>,
    log_stream_name: &'a str,
}

impl<'a> RestoreMeta<'a> {
    /// For the instance with that log stream.
    pub(crate) fn new(log_stream_name: &'a str, is_provisioned: bool) -> RestoreMeta<'a> {
        let mut environment = BTreeMap::from([("AWS_LAMBDA_LOG_STREAM_NAME", log_stream_name)]);
        if is_provisioned {
            environment.insert("AWS_LAMBDA_INITIALIZATION_TYPE", "provisioned-concurrency");
        }
        RestoreMeta { environment, log_stream_name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_complete() {
        let configuration = Configuration {
            name: "f".into(),
            runtime: "python3.12".into(),
            handler: "m.h".into(),
            environment: Some(
                [("TABLE".to_owned(), "t".to_owned()), ("TZ".to_owned(), "Europe/Paris".to_owned())].into(),
            ),
            ..Configuration::default()
        };
        let meta = InitMeta::new(&configuration, "$LATEST", &Settings::default());
        let json: Value = serde_json::from_slice(&meta.to_json()).expect("JSON");
        let environment = json["environment"].as_object().expect("an object");
        for (name, value) in [
            ("AWS_LAMBDA_FUNCTION_NAME", "f"),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.12"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/f"),
            ("AWS_REGION", "us-east-1"),
            ("_HANDLER", "m.h"),
            ("TABLE", "t"),
            ("TZ", "Europe/Paris"),
        ] {
            assert_eq!(environment[name], value, "{name}");
        }
        assert_eq!(json["memory_limit_in_mb"], "128");
        assert_eq!(json["function_version"], "$LATEST");
    }

    #[test]
    fn restore_is_only_there_when_needed() {
        let mut meta = InvokeMeta {
            request_id: "r",
            deadline_ms: 5,
            invoked_function_arn: "a",
            client_context: None,
            identity: None,
            trace_id: None,
            tenant_id: None,
            restore: None,
        };
        let json = serde_json::to_string(&meta).expect("JSON");
        assert_eq!(
            json,
            r#"{"request_id":"r","deadline_ms":5,"invoked_function_arn":"a","client_context":null,"identity":null,"trace_id":null,"tenant_id":null}"#
        );
        for (is_provisioned, initialization) in [(false, Value::Null), (true, "provisioned-concurrency".into())] {
            meta.restore = Some(RestoreMeta::new("s", is_provisioned));
            let json: Value = serde_json::to_value(&meta).expect("JSON");
            let environment = &json["restore"]["environment"];
            assert_eq!(environment["AWS_LAMBDA_LOG_STREAM_NAME"], "s");
            assert_eq!(environment["AWS_LAMBDA_INITIALIZATION_TYPE"], initialization);
        }
    }
}
