//! Whole runs against a real server that answers, refuses, fails, closes, hangs: every request is counted once, as what it was.
//!
//! No test depends on how fast anything is: bounds in time are those that sleeping guarantees.

mod support;

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mayfly_load::{
    Credentials, Endpoint, LoadError, Pace, Report, Setting, Target, Trace,
    outcome::{Group, Outcome, Reason},
    report,
};
use support::{SERVICE, Server, outcomes, run};

const MS: Duration = Duration::from_millis(1);

#[test]
fn every_request_is_counted_once_as_what_it_was() {
    let server = Server::start();
    let expected = [
        ("ok", Outcome::Ok),
        ("large", Outcome::Ok),
        ("last", Outcome::Ok),
        ("fails", Outcome::FunctionError),
        ("refuses", Outcome::Refused(Reason::ReservedConcurrency)),
        ("malformed", Outcome::Refused(Reason::Malformed)),
        ("missing", Outcome::ClientError),
        ("broken", Outcome::ServerError),
        ("closes", Outcome::Broken),
    ];
    let functions = expected.map(|(function, _)| function);
    let report = run(server.plan(&functions, 400.0, 1000 * MS));
    let counts = &report.totals.counts;
    assert_eq!((report.totals.arrivals, counts.all(), counts.sent()), (400, 400, 400));
    let groups = [Group::Ok, Group::FunctionError, Group::Refused, Group::Error, Group::HungUp, Group::Unsent];
    assert_eq!(groups.map(|group| counts.group(group)).iter().sum::<u64>(), 400);
    let mut seen = 0;
    for (function, outcome) in expected {
        assert_eq!(outcomes(&report, function), [(outcome, server.seen(function))], "{function}");
        assert!(server.seen(function) > 0, "{function}: the weights are equal");
        seen += server.seen(function);
    }
    assert_eq!(seen, 400);
    assert_eq!(server.wrong(), Vec::<bytes::Bytes>::new(), "the event arrives as it is");
    assert_eq!(report.latency.expect("answers").count, counts.of(Outcome::Ok));
    assert_eq!(report.refusal_latency.expect("refusals").count, counts.group(Group::Refused));
    assert!(report.examples["client_error"].contains("404 {\"Message\":\"Function not found\"}"));
    files_say_the_same(&report);
}

/// The same counts in each file; and the requests can be replayed.
fn files_say_the_same(report: &Report) {
    let json = serde_json::to_value(report).expect("JSON");
    assert_eq!(json["totals"]["sent"], 400);
    assert_eq!(json["totals"]["outcomes"]["ok"], report.totals.counts.of(Outcome::Ok));
    let points = json["timeline"]["points"].as_array().expect("points");
    assert_eq!(points.iter().filter_map(|point| point["offered"].as_u64()).sum::<u64>(), 400);

    let mut csv = Vec::new();
    report::csv::timeline(report, &mut csv).expect("written");
    let csv = String::from_utf8(csv).expect("text");
    let columns = csv.lines().next().expect("a header").split(',').count();
    assert!(csv.lines().all(|line| line.split(',').count() == columns), "{csv}");
    let sum = |name: &str| {
        let column = csv.lines().next().expect("a header").split(',').position(|n| n == name).expect(name);
        let cells = csv.lines().skip(1).map(|line| line.split(',').nth(column).expect("a cell"));
        cells.map(|cell| cell.parse::<u64>().expect("a number")).sum::<u64>()
    };
    let parts = ["ok", "function_error", "refused", "error", "hung_up", "unsent"].map(sum);
    assert_eq!((sum("offered"), sum("sent"), parts.iter().sum::<u64>()), (400, 400, 400));

    let mut requests = Vec::new();
    report::csv::requests(report, &mut requests).expect("written");
    let mut targets = Vec::new();
    let text = String::from_utf8(requests).expect("text");
    let trace = Trace::parse(&text, 1.0, &mut targets, &Target::new("")).expect("a trace");
    let times: Vec<u128> = trace.entries.iter().map(|entry| entry.at.as_micros()).collect();
    assert_eq!(times, (0..400).map(|k| 1250 + 2500 * k).collect::<Vec<_>>());

    let page = report::html::render(report);
    for wanted in
        ["<svg", "requests per second", "429 ReservedFunctionConcurrentInvocationLimitExceeded", "prefers-color-scheme"]
    {
        assert!(page.contains(wanted), "{wanted}");
    }
    let elsewhere = ["<script", "<link", "src=", "url(", "@import"];
    assert!(elsewhere.iter().all(|part| !page.contains(part)), "the page needs nothing else");
    assert!(report::text::render(report).contains("connection broken"));
}

#[test]
fn latency_counts_from_the_intended_time() {
    let server = Server::start();
    // One worker that takes 20 ms, asked every 10 ms: the 100th request, due after 995 ms, is answered after 2 s at the soonest.
    let open = run(server.plan(&["queued"], 100.0, 1000 * MS));
    assert_eq!(open.totals.counts.of(Outcome::Ok), 100);
    let longest = Duration::from_nanos(open.latency.expect("answers").max_ns);
    assert!(longest >= 100 * SERVICE - 1000 * MS, "{longest:?}");

    // A client that waits cannot send more than the worker answers, and so cannot see the queue that its like would stand in.
    let pace = Pace::Closed { clients: 1, duration: 400 * MS };
    let closed = run(mayfly_load::Plan { pace, ..server.plan(&["queued"], 1.0, MS) });
    let count = closed.totals.counts.of(Outcome::Ok);
    assert!((1..=21).contains(&count), "{count}");
    assert!(closed.findings.iter().any(|finding| finding.is_warning && finding.text.contains("Closed loop")));
}

#[test]
fn what_is_refused_may_be_asked_again_at_once() {
    let server = Server::start();
    let mut plan = server.plan(&["refuses", "ok"], 100.0, 400 * MS);
    plan.setting.attempts = 3;
    let report = run(plan);
    let arrivals = server.seen("refuses") / 3;
    assert_eq!(server.seen("refuses") % 3, 0);
    assert_eq!(outcomes(&report, "ok"), [(Outcome::Ok, 40 - arrivals)]);
    assert_eq!((report.totals.arrivals, report.totals.counts.all()), (40, 40 + 2 * arrivals));
    assert_eq!(report.timeline.points.iter().map(|point| point.offered).sum::<u64>(), 40);
}

#[test]
fn clients_hang_up_and_the_server_sees_it() {
    let server = Server::start();
    let mut plan = server.plan(&["hangs"], 100.0, 200 * MS);
    plan.setting.hang_up_after = Some(50 * MS);
    let report = run(plan);
    assert_eq!(outcomes(&report, "hangs"), [(Outcome::HungUp, 20)]);
    let mut waits = 0;
    while server.gone() < 20 {
        assert!(waits < 3000, "{} of 20 were seen to go", server.gone());
        std::thread::sleep(10 * MS);
        waits += 1;
    }
    assert_eq!(server.seen("hangs"), 20);
}

#[test]
fn without_a_connection_requests_are_unsent_and_said_to_be() {
    let server = Server::start();
    let mut plan = server.plan(&["hangs"], 200.0, 200 * MS);
    plan.setting = Setting { connections: 5, timeout: 10_000 * MS, ..plan.setting };
    plan.setting.hang_up_after = Some(3000 * MS);
    let report = run(plan);
    assert_eq!(outcomes(&report, "hangs"), [(Outcome::HungUp, 5), (Outcome::Unsent, 35)]);
    assert_eq!((server.seen("hangs"), report.totals.connections), (5, 5));
    let said = report.findings.iter().find(|finding| finding.text.contains("35 requests were not sent"));
    assert!(said.is_some_and(|finding| finding.is_warning && finding.text.contains("--connections")));
}

#[test]
fn no_answer_in_time_is_an_error() {
    let server = Server::start();
    let mut plan = server.plan(&["hangs"], 100.0, 50 * MS);
    plan.setting.timeout = 30 * MS;
    assert_eq!(outcomes(&run(plan), "hangs"), [(Outcome::TimedOut, 5)]);
}

#[test]
fn a_connection_that_was_closed_while_idle_is_no_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    // Says that connections are kept, and closes each after one answer.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n{}") {
                let mut bytes = [0; 4096];
                let Ok(count @ 1..) = stream.read(&mut bytes) else { break };
                seen.extend_from_slice(&bytes[..count]);
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        }
    });
    let server = Server::start();
    let mut plan = server.plan(&["any"], 4.0, 1000 * MS);
    plan.endpoint = Endpoint::parse(&url).expect("an endpoint");
    assert_eq!(outcomes(&run(plan), "any"), [(Outcome::Ok, 4)]);
}

#[test]
fn several_threads_share_the_arrivals() {
    let server = Server::start();
    let mut plan = server.plan(&["ok", "refuses"], 500.0, 400 * MS);
    let allowed = mayfly_load::run::cpus_allowed();
    plan.setting.cpus = vec![allowed[0], *allowed.last().expect("a CPU"), allowed[0]];
    let report = run(plan);
    assert_eq!(report.totals.counts.all(), 200);
    assert_eq!(server.seen("ok") + server.seen("refuses"), 200);
}

#[test]
fn a_trace_goes_where_and_as_often_as_it_says() {
    let server = Server::start();
    let mut plan = server.plan(&[], 1.0, MS);
    let trace = "at_s,function\n0.05,ok\n0.01,fails\n0.05,ok\n";
    let template = Target { qualifier: Some("live".into()), ..Target::new("") };
    plan.pace = Pace::Replay(Trace::parse(trace, 1.0, &mut plan.targets, &template).expect("a trace"));
    let report = run(plan);
    assert_eq!((server.seen("ok"), server.seen("fails")), (2, 1));
    assert_eq!(report.totals.arrivals, 3);
}

#[test]
fn it_ends_when_it_is_told_to() {
    let server = Server::start();
    let stop = Arc::new(AtomicBool::new(false));
    let mut ticks = 0;
    let flag = Arc::clone(&stop);
    let stop_at_once = |progress: &mayfly_load::Progress| {
        assert_eq!(progress.duration, 3_600_000 * MS);
        ticks += 1;
        flag.store(true, Ordering::Relaxed);
    };
    let report = mayfly_load::run(server.plan(&["ok"], 20.0, 3_600_000 * MS), &stop, stop_at_once);
    let report = report.expect("a report");
    assert!(ticks > 0 && report.about.was_stopped);
    assert_eq!(report.totals.counts.all(), server.seen("ok"));
}

#[test]
fn requests_may_be_signed() {
    let server = Server::start();
    let mut plan = server.plan(&["ok"], 100.0, 100 * MS);
    plan.credentials = Some(Credentials::new("AKID".into(), "SECRET".into(), None, "us-east-1".into()));
    // The name may mean ::1 first, where nobody listens.
    plan.endpoint = Endpoint::parse(&format!("http://localhost:{}", server.address.port())).expect("an endpoint");
    let report = run(plan);
    assert_eq!(outcomes(&report, "ok"), [(Outcome::Ok, 10)]);
    assert!(report.about.is_signed);
}

#[test]
fn without_a_server_there_is_no_run() {
    let server = Server::start();
    let mut plan = server.plan(&["ok"], 10.0, 100 * MS);
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("an address");
    plan.endpoint = Endpoint::parse(&format!("http://{nobody}")).expect("an endpoint");
    let problem = mayfly_load::run(plan, &Arc::default(), |_| {}).expect_err("no report");
    assert!(matches!(problem, LoadError::Unreachable { .. }) && problem.to_string().contains("mayfly serve"));
}
