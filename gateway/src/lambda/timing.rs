//! `Server-Timing` of an invocation: where its time went, as browsers, proxies and `mayfly invoke --timing` read it.

use std::{
    fmt::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mayfly_scheduler::{Outcome, Start};

/// Its parts in their order, one beginning where the one before ends, in milliseconds; then what is no part: the whole, the reset that was before
/// it, the machine's processor time, counts, and when `receive` began. `receive` is the time until the platform had the event; `total` ends at `now`.
pub(super) fn server_timing(outcome: &Outcome, receive: Duration, total: Duration, now: SystemTime) -> String {
    let timing = &outcome.timing;
    let began = now.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(total);
    let bind = (outcome.start == Start::Bound).then_some(timing.bind);
    let durations = [
        ("receive", Some(receive)),
        ("queue", Some(timing.queue)),
        ("bind", bind),
        ("handover", Some(timing.handover)),
        ("run", Some(timing.run)),
        ("report", Some(timing.report)),
        ("answer", Some(timing.answer)),
        ("total", Some(total)),
        ("reset", timing.reset),
        ("compute", Some(timing.compute)),
    ];
    let mut text = String::with_capacity(256);
    for (name, duration) in durations {
        if let Some(duration) = duration {
            let _ = write!(text, "{name};dur={:.4}, ", duration.as_secs_f64() * 1000.0);
        }
    }
    let _ = write!(
        text,
        "exits;desc=\"{}\", faults;desc=\"{}\", start;desc={}, began;desc=\"{}.{:09}\"",
        timing.exits,
        timing.faults,
        start_name(outcome.start),
        began.as_secs(),
        began.subsec_nanos(),
    );
    text
}

/// What an invocation was run on, in a word.
#[must_use]
pub fn start_name(start: Start) -> &'static str {
    match start {
        Start::Warm => "warm",
        Start::Fresh => "fresh",
        Start::Bound => "bound",
    }
}

#[cfg(test)]
mod tests {
    use mayfly_scheduler::{Answer, Timing};

    use super::*;

    #[test]
    fn each_kind_of_start_has_its_parts() {
        let ms = Duration::from_millis;
        let now = UNIX_EPOCH + Duration::new(1_790_000_000, 50_000_000);
        let mut outcome = Outcome {
            executed_version: "$LATEST".into(),
            answer: Answer::Response("{}".into()),
            log_tail: Vec::new(),
            start: Start::Warm,
            timing: Timing {
                queue: ms(2),
                handover: ms(4),
                run: Duration::from_nanos(5_432_100),
                report: ms(6),
                answer: ms(7),
                compute: ms(5),
                exits: 1,
                faults: 12,
                ..Timing::default()
            },
            billed_ms: 1,
            memory_peak_bytes: 0,
        };
        let warm = "receive;dur=1.0000, queue;dur=2.0000, handover;dur=4.0000, run;dur=5.4321, report;dur=6.0000, answer;dur=7.0000, \
                    total;dur=30.0000, compute;dur=5.0000, exits;desc=\"1\", faults;desc=\"12\", start;desc=warm, began;desc=\"1790000000.020000000\"";
        assert_eq!(server_timing(&outcome, ms(1), ms(30), now), warm);
        (outcome.start, outcome.timing.reset) = (Start::Fresh, Some(ms(8)));
        let fresh = server_timing(&outcome, ms(1), ms(30), now);
        assert!(fresh.contains("total;dur=30.0000, reset;dur=8.0000, compute;") && !fresh.contains("bind"), "{fresh}");
        (outcome.start, outcome.timing.reset, outcome.timing.bind) = (Start::Bound, None, ms(3));
        let bound = server_timing(&outcome, ms(1), ms(30), now);
        assert!(bound.contains("queue;dur=2.0000, bind;dur=3.0000, handover;") && !bound.contains("reset"), "{bound}");
    }
}
