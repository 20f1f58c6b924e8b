//! What an invocation leaves is never seen by the next one, where functions ask for `fresh`: ten thousand invocations of mixed functions on both
//! interpreters. The vmm has the same for what no Python reaches, and the proof that a reset which misses something would be noticed.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use mayfly_scheduler::{Outcome, Platform, Settings, Start, StateMode};
use serde_json::{Value, json};

use crate::{
    callers::{deploy, error, invoke, response, wait_until_ready},
    cpython::{host_python, runtime_of},
};

const HANDLER: &str = include_str!("canaries.py");
const HELLO: &str = "def handler(event, context):\n    return 'hello ' + event['canary']\n";

const INVOCATIONS: u64 = 10_000;
/// Callers, each of which invokes whatever is next.
const CALLERS: usize = 8;
/// Every so many, one of these. They are primes, so that they meet each function.
const EXITS_EVERY: u64 = 13;
const TIMEOUTS_EVERY: u64 = 997;
const RAISES_EVERY: u64 = 7;
const LARGE_EVERY: u64 = 29;
/// All memory of the guest is searched.
const SEARCHES_EVERY: u64 = 53;

/// Which function the invocation of that number is of, and how it ends.
fn errand(number: u64) -> (&'static str, Value) {
    let name = ["canary-cpython", "canary-rustpython", "canary-cpython", "hello-cpython", "hello-rustpython"]
        [(number % 5) as usize];
    let every = |count: u64| number % count == count - 1;
    let how = match () {
        () if every(TIMEOUTS_EVERY) => "sleep",
        () if every(EXITS_EVERY) => "exit",
        () if every(RAISES_EVERY) => "raise",
        () => "answer",
    };
    let times = if every(LARGE_EVERY) { 10_000 } else { 1 };
    let canary = format!("canary-{number:016x}");
    // In the event too, so that the mailbox has had much of it.
    let pad = canary.repeat(times);
    (name, json!({"canary": canary, "how": how, "times": times, "search": every(SEARCHES_EVERY), "pad": pad}))
}

/// Panics if the answer is not what it should be, or tells of something that was found.
fn check(name: &str, event: &Value, outcome: &Outcome) {
    if name.starts_with("hello") {
        return assert_eq!(response(outcome), format!("hello {}", event["canary"].as_str().expect("a text")));
    }
    let found = match event["how"].as_str().expect("a text") {
        "answer" => response(outcome)["found"].clone(),
        "raise" => {
            let raised = error(outcome);
            serde_json::from_str(raised["errorMessage"].as_str().expect("a text")).expect("what was found")
        }
        "exit" => return assert_eq!(error(outcome)["errorType"], "Runtime.ExitError"),
        _ => return assert_eq!(error(outcome)["errorType"], "Sandbox.Timedout"),
    };
    assert_eq!(found, json!([]), "{name}: something of another invocation's is there; {event:.200}");
}

pub(crate) async fn nothing_is_left_for_the_next(settings: Settings) {
    let Some(version) = host_python() else { return };
    let data = tempfile::tempdir().expect("a directory");
    let settings = Settings { data_dir: data.path().into(), python: Some(PathBuf::from("python3")), ..settings };
    let platform = Platform::open(settings).await.expect("it opens");
    wait_until_ready(&platform).await;
    let interpreters = [("rustpython", "rustpython".to_owned()), ("cpython", runtime_of(&version))];
    for (interpreter, runtime) in &interpreters {
        for (name, source, mode) in
            [("canary", HANDLER, "fresh"), ("hello", HELLO, "fresh"), ("left", HANDLER, "reuse")]
        {
            deploy(&platform, &format!("{name}-{interpreter}"), source, |new| {
                new.tags = BTreeMap::from([(StateMode::TAG.to_owned(), mode.to_owned())]);
                new.configuration.runtime.clone_from(runtime);
                new.configuration.timeout_s = 1;
            })
            .await;
        }
        all_is_found_without_a_reset(&platform, &format!("left-{interpreter}")).await;
    }
    let (next, put_back) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let callers = (0..CALLERS).map(|_| {
        let (platform, next, put_back) = (platform.clone(), next.clone(), put_back.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= INVOCATIONS {
                    return;
                }
                let (name, event) = errand(number);
                let outcome = invoke(&platform, name, event.clone()).await.expect("it runs");
                put_back.fetch_add((outcome.start == Start::Fresh).into(), Ordering::Relaxed);
                check(name, &event, &outcome);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.expect("nothing was found");
    }
    let put_back = put_back.load(Ordering::Relaxed);
    assert!(put_back > INVOCATIONS * 9 / 10, "only {put_back} ran in memory that was put back");
    platform.shutdown(std::time::Duration::from_secs(5)).await;
}

/// Places in which each interpreter can leave something.
const PLACES: &[&str] = &[
    "globals",
    "class",
    "default",
    "builtins",
    "modules",
    "path",
    "recursion",
    "environment",
    "directory",
    "tmp",
    "descriptor",
    "umask",
    "threads",
    "handler",
    "timer",
];
/// In which only native code can, and the canary itself, by the search of all memory. Whether the last XMM register outlives Python is luck.
const NATIVE_PLACES: &[&str] = &["heap", "mxcsr", "x87", "gs", "canary-0000000000000001"];

/// What would be found if nothing were put back: the handler sees each place.
async fn all_is_found_without_a_reset(platform: &Platform, name: &str) {
    let invoked = async |number: u32| {
        let event = json!({"canary": format!("canary-{number:016x}"), "how": "answer", "search": true});
        response(&invoke(platform, name, event).await.expect("it runs"))["found"].clone()
    };
    assert_eq!(invoked(1).await, json!([]), "{name}");
    let found = invoked(2).await;
    let native = if name.ends_with("cpython") { NATIVE_PLACES } else { &[] };
    let is_found = |place: &str| found.as_array().is_some_and(|found| found.iter().any(|found| *found == *place));
    for place in PLACES.iter().chain(native) {
        assert!(is_found(place), "{name}: {place} is not among {found}");
    }
}
