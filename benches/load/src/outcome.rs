//! What became of a request.

use http::{HeaderMap, StatusCode};
use serde::Deserialize;

/// What became of a request. Each request has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Answered by the function.
    Ok,
    /// The function failed: status 200 with `X-Amz-Function-Error`.
    FunctionError,
    /// Status 429.
    Refused(Reason),
    /// Another status from 300 to 499: the request is at fault.
    ClientError,
    /// A status from 500.
    ServerError,
    /// No connection could be made.
    NoConnection,
    /// The connection ended before the answer did, or what came was no HTTP.
    Broken,
    /// No answer within the tool's own limit (`--timeout`).
    TimedOut,
    /// We hung up, because we were asked to (`--hang-up-after`).
    HungUp,
    /// Never sent: all connections that the tool may have were waiting for answers.
    Unsent,
}

/// Why a request was refused: `Reason` of the 429, from Lambda's model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The account's concurrency, or what the machine can bear.
    Concurrency,
    /// The function's reserved concurrency.
    ReservedConcurrency,
    /// The account's rate.
    Rate,
    /// The function's reserved rate.
    ReservedRate,
    /// The caller's rate.
    CallerRate,
    /// Too many snapshots are being made.
    Snapshots,
    /// Well-formed, with a reason that Lambda does not have.
    Other,
    /// Not Lambda's shape: `x-amzn-ErrorType`, `Type`, `Reason` or a message is missing.
    Malformed,
}

/// Outcomes that are shown together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Goodput.
    Ok,
    /// The function's fault.
    FunctionError,
    /// 429.
    Refused,
    /// Neither answered nor refused.
    Error,
    /// The tool's doing.
    HungUp,
    /// The tool's limit.
    Unsent,
}

impl Outcome {
    /// All of them, in the order in which they are shown. [`Outcome::index`] is the position.
    pub const ALL: [Outcome; 17] = [
        Outcome::Ok,
        Outcome::FunctionError,
        Outcome::Refused(Reason::Concurrency),
        Outcome::Refused(Reason::ReservedConcurrency),
        Outcome::Refused(Reason::Rate),
        Outcome::Refused(Reason::ReservedRate),
        Outcome::Refused(Reason::CallerRate),
        Outcome::Refused(Reason::Snapshots),
        Outcome::Refused(Reason::Other),
        Outcome::Refused(Reason::Malformed),
        Outcome::ClientError,
        Outcome::ServerError,
        Outcome::NoConnection,
        Outcome::Broken,
        Outcome::TimedOut,
        Outcome::HungUp,
        Outcome::Unsent,
    ];

    /// Position in [`Outcome::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Outcome::Ok => 0,
            Outcome::FunctionError => 1,
            Outcome::Refused(reason) => 2 + reason as usize,
            Outcome::ClientError => 10,
            Outcome::ServerError => 11,
            Outcome::NoConnection => 12,
            Outcome::Broken => 13,
            Outcome::TimedOut => 14,
            Outcome::HungUp => 15,
            Outcome::Unsent => 16,
        }
    }

    /// Its name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 17] = [
            "ok",
            "function_error",
            "ConcurrentInvocationLimitExceeded",
            "ReservedFunctionConcurrentInvocationLimitExceeded",
            "FunctionInvocationRateLimitExceeded",
            "ReservedFunctionInvocationRateLimitExceeded",
            "CallerRateLimitExceeded",
            "ConcurrentSnapshotCreateLimitExceeded",
            "refused_other_reason",
            "refused_malformed",
            "client_error",
            "server_error",
            "no_connection",
            "connection_broken",
            "timed_out",
            "hung_up",
            "unsent",
        ];
        NAMES[self.index()]
    }

    /// What people read.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::FunctionError => "function error",
            Outcome::Refused(Reason::Other) => "429, a reason that Lambda does not have",
            Outcome::Refused(Reason::Malformed) => "429, not in Lambda's shape",
            Outcome::Refused(Reason::Concurrency) => "429 ConcurrentInvocationLimitExceeded",
            Outcome::Refused(Reason::ReservedConcurrency) => "429 ReservedFunctionConcurrentInvocationLimitExceeded",
            Outcome::Refused(Reason::Rate) => "429 FunctionInvocationRateLimitExceeded",
            Outcome::Refused(Reason::ReservedRate) => "429 ReservedFunctionInvocationRateLimitExceeded",
            Outcome::Refused(Reason::CallerRate) => "429 CallerRateLimitExceeded",
            Outcome::Refused(Reason::Snapshots) => "429 ConcurrentSnapshotCreateLimitExceeded",
            Outcome::ClientError => "status 3xx or 4xx",
            Outcome::ServerError => "status 5xx",
            Outcome::NoConnection => "no connection",
            Outcome::Broken => "connection broken",
            Outcome::TimedOut => "no answer in time",
            Outcome::HungUp => "hung up by us",
            Outcome::Unsent => "unsent: out of connections",
        }
    }

    /// What it is shown with.
    #[must_use]
    pub fn group(self) -> Group {
        match self {
            Outcome::Ok => Group::Ok,
            Outcome::FunctionError => Group::FunctionError,
            Outcome::Refused(_) => Group::Refused,
            Outcome::HungUp => Group::HungUp,
            Outcome::Unsent => Group::Unsent,
            _ => Group::Error,
        }
    }

    /// Whether a client that does not give up would send the same request again.
    #[must_use]
    pub fn may_be_retried(self) -> bool {
        matches!(self, Outcome::Refused(_) | Outcome::ServerError | Outcome::NoConnection | Outcome::Broken)
    }

    /// That of an answer. `body` is its beginning, if it is not 200.
    pub(crate) fn of_answer(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Outcome {
        match status.as_u16() {
            200..300 if headers.contains_key("x-amz-function-error") => Outcome::FunctionError,
            200..300 => Outcome::Ok,
            429 => Outcome::Refused(reason(headers, body)),
            300..500 => Outcome::ClientError,
            _ => Outcome::ServerError,
        }
    }
}

/// The body of a 429.
#[derive(Deserialize)]
struct Refusal<'a> {
    #[serde(rename = "Reason", borrow)]
    reason: std::borrow::Cow<'a, str>,
    #[serde(rename = "Type")]
    _fault: std::borrow::Cow<'a, str>,
    #[serde(alias = "Message", rename = "message")]
    _message: std::borrow::Cow<'a, str>,
}

fn reason(headers: &HeaderMap, body: &[u8]) -> Reason {
    let kind = headers.get("x-amzn-errortype").map(|kind| kind.as_bytes());
    if !kind.is_some_and(|kind| kind.starts_with(b"TooManyRequestsException")) {
        return Reason::Malformed;
    }
    let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else { return Reason::Malformed };
    let named = Outcome::ALL.into_iter().find(|outcome| outcome.name() == refusal.reason);
    match named {
        Some(Outcome::Refused(reason)) if !matches!(reason, Reason::Other | Reason::Malformed) => reason,
        _ => Reason::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_the_position_and_names_differ() {
        for (position, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome.index(), position);
            assert_eq!(Outcome::ALL.into_iter().filter(|other| other.name() == outcome.name()).count(), 1);
        }
    }

    type Case = (u16, &'static [(&'static str, &'static str)], &'static [u8], Outcome);

    #[test]
    fn answers() {
        let refusal = br#"{"Reason":"ConcurrentInvocationLimitExceeded","Type":"User","message":"Rate Exceeded."}"#;
        let throttled = &[("x-amzn-errortype", "TooManyRequestsException")][..];
        let failed = &[("x-amz-function-error", "Unhandled")][..];
        let cases: [Case; 12] = [
            (200, &[], b"", Outcome::Ok),
            (204, &[], b"", Outcome::Ok),
            (200, failed, b"", Outcome::FunctionError),
            (429, throttled, refusal, Outcome::Refused(Reason::Concurrency)),
            (429, &[], refusal, Outcome::Refused(Reason::Malformed)),
            (429, throttled, b"slow down", Outcome::Refused(Reason::Malformed)),
            (429, throttled, br#"{"Reason":"x","message":""}"#, Outcome::Refused(Reason::Malformed)),
            (429, throttled, br#"{"Reason":"x","Type":"User","Message":""}"#, Outcome::Refused(Reason::Other)),
            (429, throttled, br#"{"Reason":"ok","Type":"User","Message":""}"#, Outcome::Refused(Reason::Other)),
            (404, &[], b"", Outcome::ClientError),
            (302, &[], b"", Outcome::ClientError),
            (503, &[], b"", Outcome::ServerError),
        ];
        for (status, headers, body, outcome) in cases {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().expect("a value"));
            }
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(Outcome::of_answer(status, &map, body), outcome);
        }
    }
}
