use std::time::Duration;

use bytes::Bytes;
use mayfly_scheduler::{
    Answer, Provision, Provisioned, ProvisionedState, Reservation, Start, Status, ThrottleReason, Timing,
};

use super::*;

fn outcome(start: Start, answer: Answer, total: Duration) -> Outcome {
    Outcome {
        executed_version: "$LATEST".into(),
        answer,
        log_tail: Vec::new(),
        start,
        timing: Timing {
            total,
            queue: Duration::from_micros(10),
            bind: Duration::from_millis(2),
            handover: Duration::from_micros(5),
            compute: Duration::from_millis(1500),
            exits: 1,
            faults: 300,
            ..Timing::default()
        },
        billed_ms: 1,
        memory_peak_bytes: 0,
    }
}

fn lines(metrics: &Arc<Metrics>) -> String {
    let mut registry = Registry::with_prefix("mayfly");
    registry.register_collector(Box::new(metrics.clone()));
    let status = Status {
        instances_idle: 3,
        resets_total: 7,
        memory_available_bytes: Some(1 << 30),
        queue_wait_limit: Duration::from_secs(10),
        reservations: vec![Reservation { function: "hello".into(), limit: 5, in_flight: 2 }],
        provisions: vec![Provision {
            function: "hello".into(),
            provisioned: Provisioned {
                requested: 3,
                allocated: 2,
                available: 1,
                state: ProvisionedState::InProgress,
                modified_ms: 0,
            },
            in_flight: 1,
            spilled_total: 9,
        }],
        ..Status::default()
    };
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
    let answered = |outcome| metrics.answered("hello", || true, &outcome, Duration::from_micros(3));
    answered(outcome(Start::Warm, response(), Duration::from_micros(70)));
    answered(outcome(Start::Warm, response(), Duration::from_micros(40)));
    answered(outcome(Start::Bound, Answer::FunctionError(Bytes::new()), Duration::from_secs(1)));
    let retry_after = Duration::from_secs(1);
    let throttled = Refusal::Throttled { reason: ThrottleReason::QueueFull, limit: 1, present: 1, retry_after };
    metrics.refused("hello", || true, &throttled);
    metrics.refused("nobody", || false, &Refusal::NotFound { arn: String::new() });
    metrics.refused("deleted", || false, &throttled);

    let text = lines(&metrics);
    let labels = "function=\"hello\",qualifier=\"$LATEST\"";
    has(&text, &format!("mayfly_invocations_total{{{labels},start=\"warm\",outcome=\"response\"}} 2"));
    has(&text, &format!("mayfly_invocations_total{{{labels},start=\"bound\",outcome=\"function_error\"}} 1"));
    has(&text, &format!("mayfly_invocation_duration_seconds_bucket{{le=\"0.00005\",{labels},start=\"warm\"}} 1"));
    has(&text, &format!("mayfly_invocation_duration_seconds_count{{{labels},start=\"warm\"}} 2"));
    has(&text, &format!("mayfly_bind_seconds_count{{{labels}}} 1"));
    has(&text, &format!("mayfly_invocation_run_seconds_count{{{labels},start=\"warm\"}} 2"));
    has(&text, &format!("mayfly_invocation_compute_seconds_total{{{labels}}} 4.5"));
    for (part, le, count) in [("receive", "0.000004", 2), ("handover", "0.000004", 0), ("handover", "0.000008", 2)] {
        has(
            &text,
            &format!("mayfly_invocation_part_seconds_bucket{{le=\"{le}\",part=\"{part}\",start=\"warm\"}} {count}"),
        );
    }
    has(&text, "mayfly_invocation_part_seconds_count{part=\"bind\",start=\"bound\"} 1");
    assert!(!text.contains("part=\"bind\",start=\"warm\""), "what is warm is not bound");
    has(&text, "mayfly_invocation_exits_bucket{le=\"1.0\",start=\"warm\"} 2");
    has(&text, "mayfly_invocation_faults_bucket{le=\"256.0\",start=\"bound\"} 0");
    has(&text, "mayfly_invocation_faults_sum{start=\"bound\"} 300.0");
    has(&text, &format!("mayfly_throttles_total{{{labels},reason=\"queue_full\"}} 1"));
    has(&text, "mayfly_instances{state=\"idle\"} 3");
    has(&text, "mayfly_resets_total 7");
    has(&text, "mayfly_queue_wait_limit_seconds 10.0");
    has(&text, &format!("mayfly_reserved_concurrency_limit{{{labels}}} 5"));
    has(&text, &format!("mayfly_reserved_concurrency_in_flight{{{labels}}} 2"));
    for (name, value) in [("requested", 3), ("available", 1), ("in_flight", 1), ("spilled_total", 9)] {
        has(&text, &format!("mayfly_provisioned_concurrency_{name}{{{labels}}} {value}"));
    }
    has(&text, "mayfly_memory_available_bytes 1073741824");
    has(&text, "# EOF");
    assert!(
        !text.contains("nobody") && !text.contains("deleted") && !text.contains("start=\"fresh\",outcome"),
        "{text}"
    );

    metrics.forget("hello");
    assert!(!lines(&metrics).contains("mayfly_invocations_total{"));
}
