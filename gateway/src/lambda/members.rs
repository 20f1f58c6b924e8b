//! The members that CreateFunction and UpdateFunctionConfiguration share: their shapes, rules and meaning.

use std::{borrow::Cow, collections::BTreeMap};

use mayfly_scheduler::{LogFormat, Logging, limits};
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Error, Kind,
    constraint::{self, Violations},
    layer,
};

/// Either request. What is not there is `None`, and so is `null`; what Lambda does not know is ignored, as Lambda does.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Members<'a> {
    pub(super) function_name: Option<String>,
    #[serde(borrow)]
    pub(super) code: Option<Code<'a>>,
    pub(super) publish: Option<bool>,
    pub(super) publish_to: Option<String>,
    pub(super) tags: Option<BTreeMap<String, String>>,
    pub(super) architectures: Option<Vec<String>>,
    pub(super) revision_id: Option<String>,
    pub(super) runtime: Option<String>,
    pub(super) role: Option<String>,
    pub(super) handler: Option<String>,
    pub(super) description: Option<String>,
    pub(super) timeout: Option<i64>,
    pub(super) memory_size: Option<i64>,
    pub(super) package_type: Option<String>,
    pub(super) environment: Option<Environment>,
    pub(super) ephemeral_storage: Option<EphemeralStorage>,
    pub(super) tracing_config: Option<TracingConfig>,
    pub(super) snap_start: Option<SnapStart>,
    pub(super) logging_config: Option<LoggingConfig>,
    pub(super) dead_letter_config: Option<DeadLetterConfig>,
    #[serde(rename = "KMSKeyArn")]
    pub(super) kms_key_arn: Option<String>,
    pub(super) layers: Option<Vec<String>>,
    vpc_config: Option<VpcConfig>,
    file_system_configs: Option<Vec<IgnoredAny>>,
    image_config: Option<IgnoredAny>,
    code_signing_config_arn: Option<String>,
    capacity_provider_config: Option<IgnoredAny>,
    durable_config: Option<IgnoredAny>,
    tenancy_config: Option<IgnoredAny>,
}

/// A package, or where one would be.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Code<'a> {
    #[serde(borrow)]
    pub(super) zip_file: Option<Text<'a>>,
    pub(super) s3_bucket: Option<String>,
    pub(super) s3_key: Option<String>,
    pub(super) image_uri: Option<String>,
}

/// A string that is borrowed from the request where it can be: packages are large.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Environment {
    #[serde(default)]
    pub(super) variables: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EphemeralStorage {
    pub(super) size: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TracingConfig {
    pub(super) mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SnapStart {
    pub(super) apply_on: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LoggingConfig {
    log_format: Option<String>,
    log_group: Option<String>,
    application_log_level: Option<String>,
    system_log_level: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeadLetterConfig {
    pub(super) target_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct VpcConfig {
    subnet_ids: Option<Vec<String>>,
    security_group_ids: Option<Vec<String>>,
}

impl Members<'_> {
    /// Checks what both requests have, first by Lambda's model, then by what Mayfly can do. What a configuration means as
    /// a whole (its environment, its runtime) is the platform's to check.
    ///
    /// # Errors
    /// A member breaks a rule, or asks for something that is not there.
    pub(super) fn check(&self, mut violations: Violations) -> Result<(), Error> {
        self.check_model(&mut violations);
        violations.check()?;
        self.check_available()
    }

    fn check_model(&self, v: &mut Violations) {
        let range = |range: std::ops::RangeInclusive<u32>| i64::from(*range.start())..=i64::from(*range.end());
        v.pattern("role", self.role.as_deref(), constraint::is_role_arn, constraint::ROLE_PATTERN);
        v.length("handler", self.handler.as_deref(), limits::HANDLER_CHARS);
        v.pattern("handler", self.handler.as_deref(), constraint::has_no_space, r"[^\s]+");
        v.length("description", self.description.as_deref(), limits::DESCRIPTION_CHARS);
        v.range("timeout", self.timeout, range(limits::TIMEOUT_S));
        v.range("memorySize", self.memory_size, range(limits::MEMORY_MB));
        v.one_of("packageType", self.package_type.as_deref(), &["Zip", "Image"]);
        if let Some(storage) = &self.ephemeral_storage {
            v.required("ephemeralStorage.size", storage.size.as_ref());
            v.range("ephemeralStorage.size", storage.size, range(limits::EPHEMERAL_STORAGE_MB));
        }
        let mode = self.tracing_config.as_ref().and_then(|config| config.mode.as_deref());
        v.one_of("tracingConfig.mode", mode, &["Active", "PassThrough"]);
        let apply_on = self.snap_start.as_ref().and_then(|config| config.apply_on.as_deref());
        v.one_of("snapStart.applyOn", apply_on, &["PublishedVersions", "None"]);
        if let Some(logging) = &self.logging_config {
            logging.check(v);
        }
        check_architectures(self.architectures.as_deref(), v);
        layer::name::check(self.layers.as_deref(), v);
    }

    /// Refuses what Mayfly does not have. Members that only describe are kept and given back instead.
    fn check_available(&self) -> Result<(), Error> {
        let is_some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let vpc = self.vpc_config.as_ref();
        for (is_asked, what) in [
            (
                self.package_type.as_deref() == Some("Image") || self.image_config.is_some(),
                "container images (PackageType Image, ImageConfig)",
            ),
            (vpc.is_some_and(|vpc| is_some(&vpc.subnet_ids) || is_some(&vpc.security_group_ids)), "VpcConfig"),
            (self.file_system_configs.as_ref().is_some_and(|list| !list.is_empty()), "FileSystemConfigs"),
            (self.code_signing_config_arn.is_some(), "CodeSigningConfigArn"),
            (self.capacity_provider_config.is_some(), "CapacityProviderConfig"),
            (self.durable_config.is_some(), "DurableConfig"),
            (self.tenancy_config.is_some(), "TenancyConfig"),
            (self.publish == Some(true) || self.publish_to.is_some(), "Publish (versions)"),
        ] {
            if is_asked {
                return Err(not_available(what));
            }
        }
        if self.architectures.as_ref().is_some_and(|list| list.iter().any(|name| name != "x86_64")) {
            return Err(Error::parameter("The architecture arm64 is not available: Mayfly runs on x86_64."));
        }
        Ok(())
    }

    /// The variables as they are kept: given and empty is something else than not given.
    pub(super) fn take_environment(&mut self) -> Option<BTreeMap<String, String>> {
        self.environment.take().map(|environment| environment.variables.unwrap_or_default())
    }
}

impl LoggingConfig {
    fn check(&self, v: &mut Violations) {
        let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
        v.one_of("loggingConfig.logFormat", self.log_format.as_deref(), &["JSON", "Text"]);
        v.one_of("loggingConfig.applicationLogLevel", self.application_log_level.as_deref(), &levels);
        v.one_of("loggingConfig.systemLogLevel", self.system_log_level.as_deref(), &["DEBUG", "INFO", "WARN"]);
        v.pattern(
            "loggingConfig.logGroup",
            self.log_group.as_deref(),
            constraint::is_log_group,
            r"[\.\-_/#A-Za-z0-9]+",
        );
    }

    /// What it means.
    pub(super) fn into_logging(self) -> Logging {
        let format = if self.log_format.as_deref() == Some("JSON") { LogFormat::Json } else { LogFormat::Text };
        Logging {
            format,
            group: self.log_group.unwrap_or_default(),
            application_level: self.application_log_level,
            system_level: self.system_log_level,
        }
    }
}

/// Checks the one member that UpdateFunctionCode has too.
pub(super) fn check_architectures(list: Option<&[String]>, v: &mut Violations) {
    let Some(list) = list else { return };
    let shown = format!("[{}]", list.join(", "));
    if list.iter().any(|name| name != "x86_64" && name != "arm64") {
        let rule = "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must \
                    not be null]";
        v.add("architectures", Some(&shown), rule);
    } else if list.len() > 1 {
        v.add("architectures", Some(&shown), "Member must have length less than or equal to 1");
    } else if list.is_empty() {
        v.add("architectures", Some(&shown), "Member must have length greater than or equal to 1");
    }
}

/// The refusal of something that Lambda has and Mayfly has not.
pub(super) fn not_available(what: &str) -> Error {
    Error::parameter(format!("{what}: not available in Mayfly yet."))
}

impl Code<'_> {
    /// The zip, decoded.
    ///
    /// # Errors
    /// There is none, or it is somewhere else than in the request.
    pub(super) fn zip(&self) -> Result<bytes::Bytes, Error> {
        use base64::Engine as _;
        if self.s3_bucket.is_some() || self.s3_key.is_some() {
            return Err(not_available("Code in S3 (S3Bucket, S3Key); send the package itself as ZipFile"));
        }
        if self.image_uri.is_some() {
            return Err(not_available("Container images (ImageUri); send a zip package as ZipFile"));
        }
        let Some(Text(text)) = &self.zip_file else {
            return Err(Error::parameter("Please provide a source for function code."));
        };
        base64::engine::general_purpose::STANDARD.decode(text.as_bytes()).map(Into::into).map_err(|error| {
            let text = format!("Could not parse request body into json: ZipFile is not base64 ({error})");
            Error::new(Kind::InvalidRequestContent, text)
        })
    }
}

/// Parses a request that may carry a package; on a thread where that may take its time.
///
/// # Errors
/// It is not JSON, or `read` finds something.
pub(super) async fn read_blocking<T: Send + 'static>(
    body: bytes::Bytes,
    read: impl FnOnce(Members<'_>) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    decode_blocking(body, |body| read(serde_json::from_slice(body).map_err(super::body_error)?)).await
}

/// Reads a body that may carry a package; one that is not there counts as one without members.
///
/// # Errors
/// `read` finds something.
pub(super) async fn decode_blocking<T: Send + 'static>(
    body: bytes::Bytes,
    read: impl FnOnce(&[u8]) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let reading = tokio::task::spawn_blocking(move || read(if body.is_empty() { b"{}" } else { &body }));
    reading.await.map_err(|error| Error::internal(error.to_string()))?
}
