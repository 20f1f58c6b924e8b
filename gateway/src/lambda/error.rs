//! Every way to be refused, with Lambda's names and spellings.

use std::{borrow::Cow, time::Duration};

use http::StatusCode;
use mayfly_scheduler::{PackageError, Refusal};

/// What Lambda says of every refusal for load.
const RATE_EXCEEDED: &str = "Rate Exceeded.";

/// A request that was not carried out.
#[derive(Debug)]
pub struct Error {
    /// What kind it is.
    pub kind: Kind,
    /// For the caller.
    pub message: Cow<'static, str>,
    /// For the log.
    pub detail: Option<String>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// Which limit, and how far it is used: for the caller, beside Lambda's two reasons.
    pub load: Option<String>,
    /// Whether the connection cannot be used any more.
    pub closes: bool,
}

/// Lambda's exceptions, and a few of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Caller: it is someone else's.
    AccessDenied,
    /// Caller: a parameter cannot be used.
    InvalidParameterValue,
    /// Caller: the body is not JSON.
    InvalidRequestContent,
    /// Ours. Caller: Lambda has it, Mayfly has not (yet).
    NotImplemented,
    /// Caller: the function has changed since.
    PreconditionFailed,
    /// Caller: nothing is provisioned for the function.
    ProvisionedConcurrencyConfigNotFound,
    /// Caller: too large.
    RequestEntityTooLarge,
    /// Caller: too slow.
    RequestTimeout,
    /// Caller: not now.
    ResourceConflict,
    /// Caller: there is none.
    ResourceNotFound,
    /// Caller: a member of the body has the wrong type.
    Serialization,
    /// Platform: a bug, or the machine is broken.
    Service,
    /// Platform: it is being stopped.
    ServiceUnavailable,
    /// Overload.
    TooManyRequests {
        /// Lambda's `Reason`.
        reason: &'static str,
    },
    /// Caller: nothing of that name.
    UnknownOperation,
    /// Caller: a member breaks the rules of Lambda's model.
    Validation,
}

/// How an error spells its message. Clients look for exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// `Message`
    Upper,
    /// `message`
    Lower,
}

impl Kind {
    /// Value of `x-amzn-ErrorType`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::AccessDenied => "AccessDeniedException",
            Kind::InvalidParameterValue => "InvalidParameterValueException",
            Kind::InvalidRequestContent => "InvalidRequestContentException",
            Kind::NotImplemented => "NotImplementedException",
            Kind::PreconditionFailed => "PreconditionFailedException",
            Kind::ProvisionedConcurrencyConfigNotFound => "ProvisionedConcurrencyConfigNotFoundException",
            Kind::RequestEntityTooLarge => "RequestEntityTooLargeException",
            Kind::RequestTimeout => "RequestTimeoutException",
            Kind::ResourceConflict => "ResourceConflictException",
            Kind::ResourceNotFound => "ResourceNotFoundException",
            Kind::Serialization => "SerializationException",
            Kind::Service => "ServiceException",
            Kind::ServiceUnavailable => "ServiceUnavailableException",
            Kind::TooManyRequests { .. } => "TooManyRequestsException",
            Kind::UnknownOperation => "UnknownOperationException",
            Kind::Validation => "ValidationException",
        }
    }

    /// Status of the response.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Kind::InvalidParameterValue | Kind::InvalidRequestContent | Kind::Serialization | Kind::Validation => {
                StatusCode::BAD_REQUEST
            }
            Kind::AccessDenied => StatusCode::FORBIDDEN,
            Kind::ResourceNotFound | Kind::ProvisionedConcurrencyConfigNotFound | Kind::UnknownOperation => {
                StatusCode::NOT_FOUND
            }
            Kind::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Kind::ResourceConflict => StatusCode::CONFLICT,
            Kind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Kind::RequestEntityTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Kind::Service => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Kind::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Name of the member with the message, as in botocore's model.
    #[must_use]
    pub fn spelling(self) -> Spelling {
        match self {
            Kind::AccessDenied | Kind::ResourceNotFound | Kind::Service | Kind::ServiceUnavailable => Spelling::Upper,
            _ => Spelling::Lower,
        }
    }

    /// Value of `Type`, where there is one.
    #[must_use]
    pub fn whose(self) -> Option<&'static str> {
        match self {
            Kind::InvalidParameterValue
            | Kind::InvalidRequestContent
            | Kind::PreconditionFailed
            | Kind::ProvisionedConcurrencyConfigNotFound
            | Kind::ResourceConflict
            | Kind::ResourceNotFound
            | Kind::TooManyRequests { .. } => Some("User"),
            Kind::Service | Kind::ServiceUnavailable => Some("Service"),
            _ => None,
        }
    }
}

impl Error {
    /// An error of that kind, with a text for the caller.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Error {
        Error { kind, message: message.into(), detail: None, retry_after: None, load: None, closes: false }
    }

    /// A parameter that cannot be used.
    #[must_use]
    pub fn parameter(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(Kind::InvalidParameterValue, message)
    }

    /// A function that is not there. The ARN is qualified as the caller did.
    #[must_use]
    pub fn function_not_found(arn: &str) -> Error {
        Error::new(Kind::ResourceNotFound, format!("Function not found: {arn}"))
    }

    /// Our fault. The caller gets the request id to ask with, the log gets the reason.
    #[must_use]
    pub fn internal(detail: impl Into<String>) -> Error {
        let message = "The service could not complete the request. Its log has the reason under this request id.";
        Error::new(Kind::Service, message).with_detail(detail)
    }

    /// Too much at once.
    #[must_use]
    pub fn overloaded(reason: &'static str, limit: &str) -> Error {
        let error = Error::new(Kind::TooManyRequests { reason }, RATE_EXCEEDED);
        Error { retry_after: Some(Duration::from_secs(1)), load: Some(format!("limit={limit}")), ..error }
    }

    /// The same, with something for the log.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Error {
        Error { detail: Some(detail.into()), ..self }
    }

    /// The same, and the connection ends with it.
    #[must_use]
    pub fn closing(self) -> Error {
        Error { closes: true, ..self }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        let message = match &refusal {
            // A refusal for load must cost next to nothing.
            Refusal::Throttled { .. } => Cow::Borrowed(RATE_EXCEEDED),
            other => other.to_string().into(),
        };
        match refusal {
            Refusal::NotFound { .. } | Refusal::PackageNotFound(_) | Refusal::LayerNotFound(_) => {
                Error::new(Kind::ResourceNotFound, message)
            }
            Refusal::AlreadyExists { .. } | Refusal::UpdateInProgress { .. } | Refusal::StatementExists(_) => {
                Error::new(Kind::ResourceConflict, message)
            }
            Refusal::NotActive { reason, .. } => {
                let why = reason.map(|reason| format!("{}: {}", reason.code, reason.text));
                Error { detail: why, ..Error::new(Kind::ResourceConflict, message) }
            }
            Refusal::Validation(_) => Error::new(Kind::Validation, message),
            Refusal::RevisionMismatch | Refusal::PolicyRevisionMismatch => {
                Error::new(Kind::PreconditionFailed, message)
            }
            Refusal::InvalidPackage(PackageError::ZippedSize) => Error::new(Kind::RequestEntityTooLarge, message),
            Refusal::InvalidPackage(PackageError::Unreadable { detail }) => {
                Error::parameter(message).with_detail(detail)
            }
            Refusal::InvalidPackage(_) | Refusal::InvalidParameter(_) => Error::parameter(message),
            Refusal::PayloadTooLarge { .. } => Error::new(Kind::RequestEntityTooLarge, message),
            Refusal::Throttled { reason, limit, present, retry_after } => {
                let kind = Kind::TooManyRequests { reason: reason.lambda_reason() };
                Error {
                    retry_after: Some(retry_after),
                    load: Some(format!("reason={reason:?}; limit={limit}; present={present}")),
                    ..Error::new(kind, message)
                }
            }
            Refusal::ShuttingDown => {
                let error = Error::new(Kind::ServiceUnavailable, "The service is shutting down.");
                Error { retry_after: Some(Duration::from_secs(1)), closes: true, ..error }
            }
            Refusal::Platform(detail) => Error::internal(detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::respond;
    use http_body_util::BodyExt;
    use mayfly_scheduler::ThrottleReason;
    use serde_json::{Value, json};

    async fn rendered(error: Error) -> (u16, http::HeaderMap, Value) {
        let (head, body) = respond::finish(Err(error), "the-id").into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        (head.status.as_u16(), head.headers, serde_json::from_slice(&body).expect("JSON"))
    }

    /// The error rows of the wire contract.
    #[tokio::test]
    async fn shapes() {
        for (kind, status, name, body) in [
            (Kind::ResourceNotFound, 404, "ResourceNotFoundException", json!({"Message": "m", "Type": "User"})),
            (
                Kind::InvalidParameterValue,
                400,
                "InvalidParameterValueException",
                json!({"message": "m", "Type": "User"}),
            ),
            (Kind::ResourceConflict, 409, "ResourceConflictException", json!({"message": "m", "Type": "User"})),
            (Kind::PreconditionFailed, 412, "PreconditionFailedException", json!({"message": "m", "Type": "User"})),
            (
                Kind::InvalidRequestContent,
                400,
                "InvalidRequestContentException",
                json!({"message": "m", "Type": "User"}),
            ),
            (Kind::Validation, 400, "ValidationException", json!({"message": "m"})),
            (Kind::RequestEntityTooLarge, 413, "RequestEntityTooLargeException", json!({"message": "m"})),
            (Kind::Service, 500, "ServiceException", json!({"Message": "m", "Type": "Service"})),
        ] {
            let (got, headers, text) = rendered(Error::new(kind, "m")).await;
            assert_eq!((got, text), (status, body), "{name}");
            assert_eq!(headers["x-amzn-errortype"], name);
            assert_eq!(headers["x-amzn-requestid"], "the-id");
        }
    }

    #[tokio::test]
    async fn throttles_say_why_and_until_when() {
        let refusal = Refusal::Throttled {
            reason: ThrottleReason::ReservedConcurrency,
            limit: 2,
            present: 2,
            retry_after: Duration::from_millis(1200),
        };
        let (status, headers, body) = rendered(refusal.into()).await;
        let reason = "ReservedFunctionConcurrentInvocationLimitExceeded";
        assert_eq!(status, 429);
        assert_eq!(body, json!({"message": "Rate Exceeded.", "Type": "User", "Reason": reason}));
        assert_eq!(headers["retry-after"], "2");
        assert_eq!(headers["x-mayfly-load"], "reason=ReservedConcurrency; limit=2; present=2");
    }

    #[tokio::test]
    async fn what_broke_is_for_the_log() {
        let (status, _, body) = rendered(Refusal::Platform("/var/lib/secret is full".into()).into()).await;
        assert_eq!(status, 500);
        assert!(!body.to_string().contains("secret"));
    }
}
