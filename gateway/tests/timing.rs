//! Where the time of an invocation went, as a caller can ask and as Prometheus sees it.

mod support;

use std::{
    collections::BTreeMap,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use support::live::{Live, raw};

const CODE: &str = "def handler(event, context):\n    return event\n";
/// They follow each other, and so are less than `total` together.
const PARTS: [&str; 7] = ["receive", "queue", "bind", "handover", "run", "report", "answer"];

/// An invocation over HTTP: the metrics of its `Server-Timing` in their order, and its milliseconds as seen from here. It began in between.
async fn timed(live: &Live, function: &str, value: &str) -> (Vec<String>, BTreeMap<String, String>, f64) {
    let sent = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs_f64();
    let begun = Instant::now();
    let path = format!("/2015-03-31/functions/{function}/invocations");
    let answer = raw(&live.address, "POST", &path, &[("x-mayfly-timing", value)], b"{}").await;
    let ms = begun.elapsed().as_secs_f64() * 1000.0;
    assert_eq!(answer.status, 200);
    let mut names = Vec::new();
    let mut metrics = BTreeMap::new();
    for metric in answer.headers["server-timing"].split(", ") {
        let (name, value) = metric.split_once(';').expect("a parameter");
        let value = value.strip_prefix("dur=").or(value.strip_prefix("desc=")).expect("dur or desc");
        names.push(name.to_owned());
        metrics.insert(name.to_owned(), value.trim_matches('"').to_owned());
    }
    let began = metrics["began"].parse::<f64>().expect("seconds") - sent;
    assert!((-1.0..ms / 1000.0 + 1.0).contains(&began), "{began} s after it was sent");
    (names, metrics, ms)
}

fn check(names: &[String], metrics: &BTreeMap<String, String>, seen_ms: f64, start: &str) {
    let of_start: &[&str] = match start {
        "warm" => &["receive", "queue", "handover", "run", "report", "answer", "total"],
        "fresh" => &["receive", "queue", "handover", "run", "report", "answer", "total", "reset"],
        _ => &["receive", "queue", "bind", "handover", "run", "report", "answer", "total"],
    };
    assert_eq!(names, [of_start, &["compute", "exits", "faults", "start", "began"]].concat(), "{start}");
    assert_eq!(metrics["start"], start);
    let ms = |name: &str| metrics.get(name).map_or(0.0, |text| text.parse::<f64>().expect("milliseconds"));
    let parts: f64 = PARTS.iter().map(|part| ms(part)).sum();
    // Each is rounded to 0.1 µs.
    assert!(parts <= ms("total") + 0.001, "the parts do not overlap: {metrics:?}");
    assert!(ms("total") <= seen_ms, "{metrics:?}, {seen_ms} ms seen from outside");
    for part in ["run", "handover", "report"] {
        assert!(ms(part) > 0.0, "a run is somewhere else, and takes a while: {metrics:?}");
    }
    assert!((0.001..=ms("run")).contains(&ms("compute")), "a run takes a processor: {metrics:?}");
    let count = |name: &str| metrics[name].parse::<u64>().expect("a count");
    assert!((1..1000).contains(&count("exits")), "{metrics:?}");
    if start == "bound" {
        // A small function may have copies of all that it needs.
        assert!(ms("bind") > 0.0 && count("faults") < 10_000, "{metrics:?}");
    }
    assert!(start != "fresh" || ms("reset") > 0.0, "{metrics:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_an_invocation_are_told_to_those_who_ask() {
    let live = Live::start().await;
    live.create_with("kept", CODE, &[("mayfly:state", "reuse")]).await;
    live.create_with("put-back", CODE, &[("mayfly:state", "fresh")]).await;
    for (function, later) in [("kept", "warm"), ("put-back", "fresh")] {
        for (value, start) in [("1", "bound"), ("yes", later), ("", later)] {
            let (names, metrics, ms) = timed(&live, function, value).await;
            check(&names, &metrics, ms, start);
        }
        let path = format!("/2015-03-31/functions/{function}/invocations");
        let answer = raw(&live.address, "POST", &path, &[], b"{}").await;
        assert!(!answer.headers.contains_key("server-timing"), "nobody asked");
    }

    // Of all eight, whether asked for or not.
    let text = String::from_utf8(raw(&live.address, "GET", "/metrics", &[], b"").await.body).expect("text");
    for (start, invocations) in [("bound", 2), ("warm", 3), ("fresh", 3)] {
        for part in PARTS.iter().filter(|&&part| part != "bind" || start == "bound") {
            let line =
                format!("mayfly_invocation_part_seconds_count{{part=\"{part}\",start=\"{start}\"}} {invocations}");
            assert!(text.lines().any(|present| present == line), "no {line} in\n{text}");
        }
    }
    let computed = "mayfly_invocation_compute_seconds_total{function=\"kept\",qualifier=\"$LATEST\"} ";
    let computed = text.lines().find_map(|line| line.strip_prefix(computed)).expect("it is told").parse::<f64>();
    assert!(computed.is_ok_and(|seconds| seconds > 0.0), "{text}");
    let resets = "mayfly_reset_seconds_count{function=\"put-back\",qualifier=\"$LATEST\"} 3";
    assert!(text.lines().any(|line| line == resets), "{text}");
    live.stop().await;
}
