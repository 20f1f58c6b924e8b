use std::time::Duration;

use bytes::Bytes;
use mayfly_scheduler::{Answer, Start, Status, ThrottleReason, Timing};

use super::*;

fn outcome(start: Start, answer: Answer, total: Duration) -> Outcome {
    Outcome {
        executed_version: "$LATEST".into(),
        answer,
        log_tail: Vec::new(),
        start,
        timing: Timing { total, queue: Duration::from_micros(10), bind: Duration::from_millis(2), ..Timing::default() },
        billed_ms: 1,
        memory_peak_bytes: 0,
    }
}

fn lines(metrics: &Arc<Metrics>) -> String {
    let mut registry = Registry::with_prefix("mayfly");
    registry.register_collector(Box::new(metrics.clone()));
    let status =
        Status { instances_idle: 3, resets_total: 7, memory_available_bytes: Some(1 << 30), ..Status::default() };
    present::register(&mut registry, &status);
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("a string");
    out
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|present| present == line), "no line {line} in\n{text}");
}

#[test]
fn what_happened_is_told_by_function_and_start() {
    let metrics = Arc::new(Metrics::default());
    let response = || Answer::Response(Bytes::from_static(b"{}"));
    metrics.answered("hello", &outcome(Start::Warm, response(), Duration::from_micros(70)));
    metrics.answered("hello", &outcome(Start::Warm, response(), Duration::from_micros(40)));
    metrics.answered("hello", &outcome(Start::Bound, Answer::FunctionError(Bytes::new()), Duration::from_secs(1)));
    let retry_after = Duration::from_secs(1);
    let throttled = Refusal::Throttled { reason: ThrottleReason::QueueFull, limit: 1, present: 1, retry_after };
    metrics.refused("hello", &throttled);
    metrics.refused("nobody", &Refusal::NotFound { arn: String::new() });

    let text = lines(&metrics);
    let labels = "function=\"hello\",qualifier=\"$LATEST\"";
    has(&text, &format!("mayfly_invocations_total{{{labels},start=\"warm\",outcome=\"response\"}} 2"));
    has(&text, &format!("mayfly_invocations_total{{{labels},start=\"bound\",outcome=\"function_error\"}} 1"));
    has(&text, &format!("mayfly_invocation_duration_seconds_bucket{{le=\"0.00005\",{labels},start=\"warm\"}} 1"));
    has(&text, &format!("mayfly_invocation_duration_seconds_count{{{labels},start=\"warm\"}} 2"));
    has(&text, &format!("mayfly_bind_seconds_count{{{labels}}} 1"));
    has(&text, &format!("mayfly_throttles_total{{{labels},reason=\"queue_full\"}} 1"));
    has(&text, "mayfly_instances{state=\"idle\"} 3");
    has(&text, "mayfly_resets_total 7");
    has(&text, "mayfly_memory_available_bytes 1073741824");
    has(&text, "# EOF");
    assert!(!text.contains("nobody") && !text.contains("start=\"fresh\""), "{text}");

    metrics.forget("hello");
    assert!(!lines(&metrics).contains("hello"));
}
