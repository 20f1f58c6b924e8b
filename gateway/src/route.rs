//! Everything that can be asked for, in one table.

use http::{Method, request::Parts};

use crate::{
    Gateway,
    lambda::{Error, Kind, Operation},
    own::Page,
    stack::body::BodyError,
};

/// What answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// AWS Lambda's API.
    Lambda(Operation),
    /// Mayfly's own.
    Own(Page),
}

use Endpoint::{Lambda, Own};
use Operation as Op;

/// Method, path, endpoint. `{}` stands for one segment, an argument of the [`Call`](crate::stack::Call). Looked through from
/// the top, so what is called most comes first.
const ROUTES: &[(Method, &str, Endpoint)] = &[
    (Method::POST, "/2015-03-31/functions/{}/invocations", Lambda(Op::Invoke)),
    (Method::GET, "/2015-03-31/functions/{}", Lambda(Op::GetFunction)),
    (Method::GET, "/2015-03-31/functions/{}/configuration", Lambda(Op::GetFunctionConfiguration)),
    (Method::POST, "/2015-03-31/functions", Lambda(Op::CreateFunction)),
    (Method::GET, "/2015-03-31/functions", Lambda(Op::ListFunctions)),
    (Method::PUT, "/2015-03-31/functions/{}/code", Lambda(Op::UpdateFunctionCode)),
    (Method::PUT, "/2015-03-31/functions/{}/configuration", Lambda(Op::UpdateFunctionConfiguration)),
    (Method::DELETE, "/2015-03-31/functions/{}", Lambda(Op::DeleteFunction)),
    (Method::GET, "/2015-03-31/functions/{}/versions", Lambda(Op::ListVersionsByFunction)),
    (Method::GET, "/2020-06-30/functions/{}/code-signing-config", Lambda(Op::GetFunctionCodeSigningConfig)),
    (Method::PUT, "/2017-10-31/functions/{}/concurrency", Lambda(Op::PutFunctionConcurrency)),
    (Method::GET, "/2019-09-30/functions/{}/concurrency", Lambda(Op::GetFunctionConcurrency)),
    (Method::DELETE, "/2017-10-31/functions/{}/concurrency", Lambda(Op::DeleteFunctionConcurrency)),
    (Method::PUT, "/2019-09-30/functions/{}/provisioned-concurrency", Lambda(Op::PutProvisionedConcurrencyConfig)),
    (Method::GET, "/2019-09-30/functions/{}/provisioned-concurrency", Lambda(Op::GetProvisionedConcurrencyConfig)),
    (
        Method::DELETE,
        "/2019-09-30/functions/{}/provisioned-concurrency",
        Lambda(Op::DeleteProvisionedConcurrencyConfig),
    ),
    (Method::GET, "/2018-10-31/layers", Lambda(Op::ListLayers)),
    (Method::GET, "/2018-10-31/layers/{}/versions", Lambda(Op::ListLayerVersions)),
    (Method::POST, "/2018-10-31/layers/{}/versions", Lambda(Op::PublishLayerVersion)),
    (Method::GET, "/2018-10-31/layers/{}/versions/{}", Lambda(Op::GetLayerVersion)),
    (Method::DELETE, "/2018-10-31/layers/{}/versions/{}", Lambda(Op::DeleteLayerVersion)),
    (Method::GET, "/2018-10-31/layers/{}/versions/{}/policy", Lambda(Op::GetLayerVersionPolicy)),
    (Method::POST, "/2018-10-31/layers/{}/versions/{}/policy", Lambda(Op::AddLayerVersionPermission)),
    (Method::DELETE, "/2018-10-31/layers/{}/versions/{}/policy/{}", Lambda(Op::RemoveLayerVersionPermission)),
    (Method::GET, "/2017-03-31/tags/{}", Lambda(Op::ListTags)),
    (Method::POST, "/2017-03-31/tags/{}", Lambda(Op::TagResource)),
    (Method::DELETE, "/2017-03-31/tags/{}", Lambda(Op::UntagResource)),
    (Method::GET, "/2016-08-19/account-settings", Lambda(Op::GetAccountSettings)),
    (Method::GET, "/healthz", Own(Page::Health)),
    (Method::GET, "/readyz", Own(Page::Ready)),
    (Method::GET, "/metrics", Own(Page::Metrics)),
    (Method::GET, "/mayfly/v1/status", Own(Page::Status)),
    (Method::GET, "/mayfly/v1/functions/{}/logs", Own(Page::Logs)),
    (Method::GET, "/mayfly/v1/packages/{}", Own(Page::Package)),
];

/// Operations of Lambda's that are not there yet, so that a caller is told which one it was. Only what tools really call.
const NOT_YET: &[(Method, &str, &str)] = &[
    (Method::POST, "/2015-03-31/functions/{}/versions", "PublishVersion"),
    (Method::POST, "/2021-11-15/functions/{}/response-streaming-invocations", "InvokeWithResponseStream"),
    (Method::POST, "/2014-11-13/functions/{}/invoke-async", "InvokeAsync"),
    (Method::POST, "/2015-03-31/functions/{}/aliases", "CreateAlias"),
    (Method::GET, "/2015-03-31/functions/{}/aliases", "ListAliases"),
    (Method::GET, "/2015-03-31/functions/{}/aliases/{}", "GetAlias"),
    (Method::PUT, "/2015-03-31/functions/{}/aliases/{}", "UpdateAlias"),
    (Method::DELETE, "/2015-03-31/functions/{}/aliases/{}", "DeleteAlias"),
    (Method::POST, "/2015-03-31/functions/{}/policy", "AddPermission"),
    (Method::GET, "/2015-03-31/functions/{}/policy", "GetPolicy"),
    (Method::DELETE, "/2015-03-31/functions/{}/policy/{}", "RemovePermission"),
    (Method::PUT, "/2019-09-25/functions/{}/event-invoke-config", "PutFunctionEventInvokeConfig"),
    (Method::POST, "/2019-09-25/functions/{}/event-invoke-config", "UpdateFunctionEventInvokeConfig"),
    (Method::GET, "/2019-09-25/functions/{}/event-invoke-config", "GetFunctionEventInvokeConfig"),
    (Method::DELETE, "/2019-09-25/functions/{}/event-invoke-config", "DeleteFunctionEventInvokeConfig"),
    (Method::GET, "/2019-09-25/functions/{}/event-invoke-config/list", "ListFunctionEventInvokeConfigs"),
    (Method::POST, "/2021-10-31/functions/{}/url", "CreateFunctionUrlConfig"),
    (Method::GET, "/2021-10-31/functions/{}/url", "GetFunctionUrlConfig"),
    (Method::PUT, "/2021-10-31/functions/{}/url", "UpdateFunctionUrlConfig"),
    (Method::DELETE, "/2021-10-31/functions/{}/url", "DeleteFunctionUrlConfig"),
    (Method::GET, "/2021-10-31/functions/{}/urls", "ListFunctionUrlConfigs"),
    (Method::POST, "/2015-03-31/event-source-mappings", "CreateEventSourceMapping"),
    (Method::GET, "/2015-03-31/event-source-mappings", "ListEventSourceMappings"),
    (Method::GET, "/2015-03-31/event-source-mappings/{}", "GetEventSourceMapping"),
    (Method::PUT, "/2015-03-31/event-source-mappings/{}", "UpdateEventSourceMapping"),
    (Method::DELETE, "/2015-03-31/event-source-mappings/{}", "DeleteEventSourceMapping"),
    (Method::PUT, "/2020-06-30/functions/{}/code-signing-config", "PutFunctionCodeSigningConfig"),
    (Method::DELETE, "/2020-06-30/functions/{}/code-signing-config", "DeleteFunctionCodeSigningConfig"),
    (Method::GET, "/2021-07-20/functions/{}/runtime-management-config", "GetRuntimeManagementConfig"),
    (Method::PUT, "/2021-07-20/functions/{}/runtime-management-config", "PutRuntimeManagementConfig"),
    (Method::GET, "/2024-08-31/functions/{}/recursion-config", "GetFunctionRecursionConfig"),
    (Method::PUT, "/2024-08-31/functions/{}/recursion-config", "PutFunctionRecursionConfig"),
];

/// What answers `method` on `path`, and the path's arguments.
///
/// # Errors
/// Nothing does, or not yet.
pub fn find(method: &Method, path: &str) -> Result<(Endpoint, Vec<String>), Error> {
    for (candidate, pattern, endpoint) in ROUTES {
        if method == candidate
            && let Some(arguments) = matches(pattern, path)
        {
            let arguments = arguments.into_iter().map(|argument| decode(argument, false)).collect::<Option<_>>();
            return Ok((*endpoint, arguments.ok_or_else(|| unknown(method, path))?));
        }
    }
    if let Some((_, _, name)) = NOT_YET.iter().find(|(m, p, _)| m == method && matches(p, path).is_some()) {
        return Err(Error::new(Kind::NotImplemented, format!("{name} is not available in Mayfly yet.")));
    }
    Err(unknown(method, path))
}

fn unknown(method: &Method, path: &str) -> Error {
    let shown: String = path.chars().take(200).collect();
    Error::new(Kind::UnknownOperation, format!("There is no operation {method} {shown}."))
}

/// The arguments if `path` is of the form `pattern`. A slash at the end is ignored:
/// some of Lambda's older clients write one.
fn matches<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (mut expected, mut given) = (pattern.split('/'), path.split('/'));
    let mut arguments = Vec::new();
    loop {
        match (expected.next(), given.next()) {
            (None, None) => return Some(arguments),
            (Some("{}"), Some(segment)) if !segment.is_empty() => arguments.push(segment),
            (Some(a), Some(b)) if a == b => {}
            _ => return None,
        }
    }
}

/// Undoes percent-encoding, and in queries the plus sign; `None` if what comes out is not text.
#[must_use]
pub fn decode(text: &str, is_query: bool) -> Option<String> {
    let is_plain = |byte| byte != b'%' && (byte != b'+' || !is_query);
    if text.bytes().all(is_plain) {
        return Some(text.to_owned());
    }
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            b'+' if is_query => b' ',
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

impl Endpoint {
    /// Refuses, for load, what need not be read any further.
    ///
    /// # Errors
    /// Overload.
    pub fn check_load(self, gateway: &Gateway, head: &Parts, arguments: &[String]) -> Result<(), Error> {
        match self {
            Lambda(operation) => operation.check_load(gateway, head, arguments),
            Own(_) => Ok(()),
        }
    }

    /// Largest body of a request.
    #[must_use]
    pub fn body_bytes_max(self) -> usize {
        match self {
            Lambda(operation) => operation.body_bytes_max(),
            Own(_) => 4096,
        }
    }

    /// What a caller is told whose body could not be read.
    #[must_use]
    pub fn body_error(self, fault: BodyError) -> Error {
        match fault {
            BodyError::TooLarge { bytes } => {
                let text = match self {
                    Lambda(operation) => operation.too_large(bytes),
                    Own(_) => "This request takes no body.".into(),
                };
                Error::new(Kind::RequestEntityTooLarge, text).closing()
            }
            BodyError::TooSlow => {
                Error::new(Kind::RequestTimeout, "The body of the request came too slowly.").closing()
            }
            BodyError::Broken(error) => Error::new(Kind::InvalidRequestContent, "The body of the request broke off.")
                .with_detail(error.to_string())
                .closing(),
            BodyError::NoMemory => Error::overloaded("CallerRateLimitExceeded", "body-memory").closing(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> (Endpoint, Vec<String>) {
        find(&method, path).unwrap_or_else(|error| panic!("{method} {path}: {}", error.message))
    }

    #[test]
    fn arguments_are_decoded() {
        let arn = "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST";
        let encoded = "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af%3A%24LATEST";
        for name in [arn, encoded] {
            let path = format!("/2015-03-31/functions/{name}/invocations");
            assert_eq!(found(Method::POST, &path), (Lambda(Op::Invoke), vec![arn.to_owned()]));
        }
    }

    #[test]
    fn arguments_are_in_order() {
        let (endpoint, arguments) = found(Method::DELETE, "/2018-10-31/layers/l/versions/7/policy/all");
        assert_eq!(endpoint, Lambda(Op::RemoveLayerVersionPermission));
        assert_eq!(arguments, ["l", "7", "all"]);
    }

    #[test]
    fn slash_at_the_end() {
        assert_eq!(found(Method::GET, "/2015-03-31/functions/").0, Lambda(Op::ListFunctions));
        assert_eq!(found(Method::GET, "/2015-03-31/functions").0, Lambda(Op::ListFunctions));
    }

    #[test]
    fn not_yet_and_never() {
        let name = |method, path: &str| {
            let error = find(&method, path).expect_err(path);
            (error.kind, error.message)
        };
        let (kind, text) = name(Method::POST, "/2015-03-31/functions/f/versions");
        assert_eq!((kind, &*text), (Kind::NotImplemented, "PublishVersion is not available in Mayfly yet."));
        assert_eq!(name(Method::PATCH, "/2015-03-31/functions/f").0, Kind::UnknownOperation);
        assert_eq!(name(Method::GET, "/").0, Kind::UnknownOperation);
        assert_eq!(name(Method::GET, "/2015-03-31/functions//configuration").0, Kind::UnknownOperation);
        assert_eq!(name(Method::GET, "/2015-03-31/functions/%ff").0, Kind::UnknownOperation);
        assert_eq!(name(Method::GET, "/2015-03-31/functions/%2").0, Kind::UnknownOperation);
    }
}
