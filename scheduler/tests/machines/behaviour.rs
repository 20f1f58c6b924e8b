//! Handlers, their answers and their ends, as on Lambda.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use mayfly_scheduler::{ConfigurationChange, Platform, Refusal, Start, StateMode};
use serde_json::json;

use crate::callers::{deploy, error, invoke, response, settled, zip};

pub(crate) async fn a_handler_answers(platform: Platform) {
    let source = r#"
import os, json
print("imported")
def handler(event, context):
    print("hello", event["name"])
    return {"event": event, "id": context.aws_request_id, "region": os.environ["AWS_REGION"], "user": os.environ["COLOUR"],
            "arn": context.invoked_function_arn, "left": context.get_remaining_time_in_millis() > 1000,
            "files": sorted(os.listdir("/var/task")), "data": open("data/x.txt").read(), "stream": context.log_stream_name}
"#;
    let package = zip(&[("handler.py", source), ("data/x.txt", "content")]);
    deploy(&platform, "hello", source, |new| {
        new.package = package;
        new.configuration.environment = Some(BTreeMap::from([("COLOUR".to_owned(), "blue".to_owned())]));
    })
    .await;
    let outcome = invoke(&platform, "hello", json!({"name": "you"})).await.expect("it runs");
    let answer = response(&outcome);
    assert_eq!(answer["event"], json!({"name": "you"}));
    assert_eq!(answer["id"], "8f3f9a5e-0000-4000-8000-000000000001");
    assert_eq!((&answer["region"], &answer["user"]), (&json!("us-east-1"), &json!("blue")));
    assert_eq!(answer["files"], json!(["data", "handler.py"]));
    assert_eq!((&answer["data"], &answer["left"]), (&json!("content"), &json!(true)));
    assert_eq!(outcome.start, Start::Bound);
    let log = platform.logs("hello", 0, 100).expect("it has one");
    let text: Vec<&str> = log.iter().map(|line| line.text.as_str()).collect();
    assert!(text.contains(&"imported") && text.contains(&"hello you"), "{text:?}");
    let tail = String::from_utf8_lossy(&outcome.log_tail).into_owned();
    assert!(tail.starts_with("START RequestId: 8f3f9a5e") && tail.contains("\nhello you\nEND RequestId:"), "{tail}");
    assert!(tail.contains("Memory Size: 128 MB\tMax Memory Used: ") && tail.contains("Restore Duration: "), "{tail}");
    assert_eq!(answer["stream"], log.last().expect("there is one").stream.as_str());
    let warm = invoke(&platform, "hello", json!({"name": "again"})).await.expect("it runs");
    assert_eq!((warm.start, &response(&warm)["event"]["name"]), (Start::Warm, &json!("again")));
}

pub(crate) async fn state_is_kept_or_put_back(platform: Platform) {
    let source = "
import os
count = 0
def handler(event, context):
    global count
    count += 1
    with open('/tmp/marks', 'a') as marks:
        marks.write('x')
    return [count, os.path.getsize('/tmp/marks')]
";
    deploy(&platform, "reuse", source, |_| ()).await;
    deploy(&platform, "fresh", source, |new| {
        new.tags = BTreeMap::from([(StateMode::TAG.to_owned(), "fresh".to_owned())]);
    })
    .await;
    for round in 1..=20 {
        let kept = invoke(&platform, "reuse", json!({})).await.expect("it runs");
        assert_eq!(response(&kept), json!([round, round]));
        let put_back = invoke(&platform, "fresh", json!({})).await.expect("it runs");
        assert_eq!(response(&put_back), json!([1, 1]), "round {round}: something of another caller's is there");
    }
}

pub(crate) async fn clones_differ(platform: Platform) {
    let source = "
import random, uuid, os
early = random.random()
def handler(event, context):
    return [random.random(), str(uuid.uuid4()), os.urandom(8).hex(), early]
";
    for mode in ["fresh", "reuse"] {
        deploy(&platform, &format!("random-{mode}"), source, |new| {
            new.tags = BTreeMap::from([(StateMode::TAG.to_owned(), mode.to_owned())]);
        })
        .await;
    }
    let mut seen = std::collections::HashSet::new();
    for _ in 0..10 {
        for name in ["random-fresh", "random-reuse"] {
            let answer = response(&invoke(&platform, name, json!({})).await.expect("it runs"));
            for value in &answer.as_array().expect("an array")[..3] {
                assert!(seen.insert(value.to_string()), "{value} was seen before");
            }
        }
    }
}

pub(crate) async fn errors_are_as_on_lambda(platform: Platform) {
    deploy(&platform, "raises", "def handler(event, context):\n    raise ValueError('no ' + event['what'])\n", |_| ())
        .await;
    let outcome = invoke(&platform, "raises", json!({"what": "way"})).await.expect("an answer");
    let raised = error(&outcome);
    assert_eq!((&raised["errorType"], &raised["errorMessage"]), (&json!("ValueError"), &json!("no way")));
    assert_eq!(raised["requestId"], "8f3f9a5e-0000-4000-8000-000000000001");
    assert_eq!(
        raised["stackTrace"][0],
        "  File \"/var/task/handler.py\", line 2, in handler\n    raise ValueError('no ' + event['what'])\n"
    );
    let again = invoke(&platform, "raises", json!({"what": "way"})).await.expect("an answer");
    assert_eq!(again.start, Start::Warm, "the instance lives");

    deploy(&platform, "imports", "import nothing_of_that_name\n", |_| ()).await;
    let outcome = invoke(&platform, "imports", json!({})).await.expect("an answer");
    let failed = error(&outcome);
    assert_eq!(failed["errorType"], "Runtime.ImportModuleError");
    assert_eq!(failed["errorMessage"], "Unable to import module 'handler': No module named 'nothing_of_that_name'");

    deploy(&platform, "set", "def handler(event, context):\n    return {1, 2}\n", |_| ()).await;
    let outcome = invoke(&platform, "set", json!({})).await.expect("an answer");
    assert_eq!(error(&outcome)["errorType"], "Runtime.MarshalError");
}

pub(crate) async fn ends_are_as_on_lambda(platform: Platform) {
    let source = "
import os, sys
def handler(event, context):
    if event['how'] == 'exit':
        os._exit(event['status'])
    if event['how'] == 'memory':
        hold = []
        while True:
            hold.append(bytearray(1 << 20))
    return 'alive'
";
    deploy(&platform, "ends", source, |new| new.configuration.timeout_s = 30).await;
    let exit = |status: u32| json!({"how": "exit", "status": status});
    let cases = [
        (exit(0), "Runtime.ExitError", "Runtime exited without providing a reason"),
        (exit(7), "Runtime.ExitError", "Runtime exited with error: exit status 7"),
    ];
    for (event, kind, message) in cases {
        let outcome = invoke(&platform, "ends", event).await.expect("an answer");
        let ended = error(&outcome);
        assert_eq!(ended["errorType"], kind);
        assert_eq!(ended["errorMessage"], format!("RequestId: 8f3f9a5e-0000-4000-8000-000000000001 Error: {message}"));
        let alive = invoke(&platform, "ends", json!({"how": "not"})).await.expect("the next one runs");
        assert_eq!((response(&alive), alive.start), (json!("alive"), Start::Fresh), "in memory that was put back");
    }
    let outcome = invoke(&platform, "ends", json!({"how": "memory"})).await.expect("an answer");
    let kind = error(&outcome)["errorType"].clone();
    assert!(kind == "MemoryError" || kind == "Runtime.OutOfMemory", "{kind}");
    let alive = invoke(&platform, "ends", json!({"how": "not"})).await.expect("the next one runs");
    assert_eq!(response(&alive), json!("alive"));
}

pub(crate) async fn a_timeout_ends_the_instance(platform: Platform) {
    let source = "
import time
def handler(event, context):
    if event == 'sleep':
        time.sleep(60)
    while event == 'spin':
        pass
    return 'alive'
";
    deploy(&platform, "slow", source, |new| new.configuration.timeout_s = 1).await;
    for how in ["sleep", "spin"] {
        let start = Instant::now();
        let outcome = invoke(&platform, "slow", json!(how)).await.expect("an answer");
        let ended = error(&outcome);
        assert_eq!(ended["errorType"], "Sandbox.Timedout");
        let wanted = "RequestId: 8f3f9a5e-0000-4000-8000-000000000001 Error: Task timed out after 1.00 seconds";
        assert_eq!(ended["errorMessage"], wanted);
        assert!(start.elapsed() < Duration::from_millis(1500), "{how}: {:?}", start.elapsed());
        assert_eq!(response(&invoke(&platform, "slow", json!("")).await.expect("the next one runs")), json!("alive"));
    }
}

pub(crate) async fn many_at_once(platform: Platform) {
    let source = "
import time
def handler(event, context):
    time.sleep(0.02)
    return event
";
    deploy(&platform, "many", source, |_| ()).await;
    let callers: Vec<_> = (0..100)
        .map(|index| {
            let platform = platform.clone();
            tokio::spawn(async move { (index, invoke(&platform, "many", json!({"index": index})).await) })
        })
        .collect();
    for caller in callers {
        let (index, outcome) = caller.await.expect("no panic");
        assert_eq!(response(&outcome.expect("it runs")), json!({"index": index}), "everyone has his own answer");
    }
    let status = platform.status();
    assert_eq!((status.invocations_running, status.invocations_queued), (0, 0), "{status:?}");
}

pub(crate) async fn an_update_replaces_what_serves(platform: Platform) {
    let source = |version: u32| format!("def handler(event, context):\n    return {version}\n");
    deploy(&platform, "updated", &source(1), |_| ()).await;
    assert_eq!(response(&invoke(&platform, "updated", json!({})).await.expect("it runs")), 1);
    platform.update_code("updated", zip(&[("handler.py", &source(2))]), None, false).await.expect("it begins");
    let during = invoke(&platform, "updated", json!({})).await.expect("it serves all the time");
    assert!(response(&during) == 1 || response(&during) == 2);
    settled(&platform, "updated").await;
    assert_eq!(response(&invoke(&platform, "updated", json!({})).await.expect("it runs")), 2);
    let change = ConfigurationChange { memory_mb: Some(512), ..ConfigurationChange::default() };
    platform.update_configuration("updated", change, None).await.expect("it begins");
    settled(&platform, "updated").await;
    let outcome = invoke(&platform, "updated", json!({})).await.expect("it runs");
    assert!(String::from_utf8_lossy(&outcome.log_tail).contains("Memory Size: 512 MB"));
    platform.delete_function("updated").await.expect("it is there");
    assert!(matches!(invoke(&platform, "updated", json!({})).await, Err(Refusal::NotFound { .. })));
}

pub(crate) async fn what_it_costs(platform: Platform) {
    for mode in ["reuse", "fresh"] {
        let name = format!("cost-{mode}");
        deploy(&platform, &name, "def handler(event, context):\n    return event\n", |new| {
            new.tags = BTreeMap::from([(StateMode::TAG.to_owned(), mode.to_owned())]);
        })
        .await;
        let mut totals = Vec::new();
        let mut bind = Duration::ZERO;
        for _ in 0..200 {
            let outcome = invoke(&platform, &name, json!({"a": 1})).await.expect("it runs");
            match outcome.start {
                Start::Bound => bind = outcome.timing.bind,
                _ => totals.push(outcome.timing.total),
            }
            // So that a reset is off the path, as it is for callers that are not in such a hurry.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        totals.sort();
        println!(
            "  {mode}: bind {bind:?}, p50 {:?}, p99 {:?}",
            totals[totals.len() / 2],
            totals[totals.len() * 99 / 100]
        );
        assert!(totals[totals.len() / 2] < Duration::from_millis(20));
    }
}
