//! How a guest ended, in Lambda's words.

use serde::Serialize;

use crate::machine::Stop;

/// An end that is not an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Lambda's `errorType`.
    pub(crate) error_type: &'static str,
    /// Without the request id.
    message: String,
    has_request_id: bool,
    /// What only the platform knows, for the log.
    pub(crate) diagnosis: Option<String>,
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "errorType")]
    error_type: &'a str,
    #[serde(rename = "errorMessage")]
    message: &'a str,
}

impl Failure {
    /// The failure that `stop` is; `timeout_s` is the time that the guest had.
    pub(crate) fn of_stop(stop: &Stop, timeout_s: u32) -> Failure {
        let exit = |message: String, diagnosis| Failure {
            error_type: "Runtime.ExitError",
            message,
            has_request_id: true,
            diagnosis,
        };
        match stop {
            Stop::Next => exit(NO_REASON.into(), Some("the runtime asked for the next event without an answer".into())),
            Stop::Exited { status: 0 } => exit(NO_REASON.into(), None),
            Stop::Exited { status } => exit(format!("Runtime exited with error: exit status {status}"), None),
            Stop::Killed { signal, diagnosis } => {
                let message = format!("Runtime exited with error: signal: {}", signal_name(*signal));
                exit(message, Some(diagnosis.clone()).filter(|text| !text.is_empty()))
            }
            Stop::TimedOut => Failure {
                error_type: "Sandbox.Timedout",
                message: format!("Task timed out after {timeout_s}.00 seconds"),
                has_request_id: true,
                diagnosis: None,
            },
            Stop::OutOfMemory => Failure {
                error_type: "Runtime.OutOfMemory",
                message: "Runtime exited with error: signal: killed".into(),
                has_request_id: true,
                diagnosis: Some("the function used up its memory".into()),
            },
            Stop::Violation(what) => exit(
                "Runtime exited with error: signal: killed".into(),
                Some(format!("stopped by the platform: {what}")),
            ),
        }
    }

    /// The host was short of memory, and of all that ran this one had taken most.
    pub(crate) fn host_out_of_memory(taken_bytes: u64) -> Failure {
        let taken_mib = taken_bytes >> 20;
        Failure {
            error_type: "Runtime.ExitError",
            message: format!(
                "Runtime exited with error: signal: killed (the host is short of memory, and of all that run this had taken most: {taken_mib} MB)"
            ),
            has_request_id: true,
            diagnosis: None,
        }
    }

    /// The answer was larger than answers may be.
    pub(crate) fn response_too_large() -> Failure {
        Failure {
            error_type: "Function.ResponseSizeTooLarge",
            message: format!(
                "Response payload size exceeded maximum allowed payload size ({} bytes).",
                crate::limits::RESPONSE_BYTES
            ),
            has_request_id: false,
            diagnosis: None,
        }
    }

    /// The message as callers see it.
    pub(crate) fn message(&self, request_id: &str) -> String {
        if self.has_request_id {
            format!("RequestId: {request_id} Error: {}", self.message)
        } else {
            self.message.clone()
        }
    }

    /// The message without the request.
    pub(crate) fn bare_message(&self) -> &str {
        &self.message
    }

    /// Lambda's error object.
    pub(crate) fn payload(&self, request_id: &str) -> Vec<u8> {
        let message = self.message(request_id);
        serde_json::to_vec(&Payload { error_type: self.error_type, message: &message }).unwrap_or_default()
    }
}

const NO_REASON: &str = "Runtime exited without providing a reason";

/// As Go's `syscall.Signal` calls them, whose words Lambda uses.
fn signal_name(signal: u8) -> String {
    let name = match signal {
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads() {
        let killed = |signal| Stop::Killed { signal, diagnosis: "page fault".into() };
        let cases = [
            (
                Stop::Exited { status: 0 },
                r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: r Error: Runtime exited without providing a reason"}"#,
            ),
            (
                Stop::Exited { status: 7 },
                r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: r Error: Runtime exited with error: exit status 7"}"#,
            ),
            (
                killed(11),
                r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: r Error: Runtime exited with error: signal: segmentation fault"}"#,
            ),
            (
                killed(64),
                r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: r Error: Runtime exited with error: signal: signal 64"}"#,
            ),
            (
                Stop::TimedOut,
                r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: r Error: Task timed out after 3.00 seconds"}"#,
            ),
            (
                Stop::OutOfMemory,
                r#"{"errorType":"Runtime.OutOfMemory","errorMessage":"RequestId: r Error: Runtime exited with error: signal: killed"}"#,
            ),
        ];
        for (stop, wanted) in cases {
            let payload = Failure::of_stop(&stop, 3).payload("r");
            assert_eq!(String::from_utf8_lossy(&payload), wanted, "{stop:?}");
        }
        assert_eq!(
            String::from_utf8_lossy(&Failure::response_too_large().payload("r")),
            r#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}"#
        );
        let violation = Failure::of_stop(&Stop::Violation("port 0x80".into()), 3);
        assert!(violation.diagnosis.is_some_and(|text| text.contains("port 0x80")));
    }
}
