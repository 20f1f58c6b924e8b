//! Provisioned concurrency as AWS's client sees it, on real machines.

mod support;

use std::time::Duration;

use aws_sdk_lambda::types::ProvisionedConcurrencyStatusEnum as Status;
use serde_json::json;
use support::live::{ARN, Live, raw, refused};

const CODE: &str = "
import os

def handler(event, context):
    if event.get('exit'):
        os._exit(3)
    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']
";
const LATEST: &str = "$LATEST";

/// Asks for `count` machines.
async fn put(live: &Live, name: &str, count: i32) -> (Status, i32) {
    let sent = live.client.put_provisioned_concurrency_config().function_name(name).qualifier(LATEST);
    let put = sent.provisioned_concurrent_executions(count).send().await.unwrap_or_else(|error| panic!("{error:?}"));
    (put.status.expect("a status"), put.requested_provisioned_concurrent_executions.expect("a number"))
}

/// Waits until they are there: requested, allocated, available.
async fn ready(live: &Live, name: &str) -> [i32; 3] {
    for _ in 0..3000 {
        let sent = live.client.get_provisioned_concurrency_config().function_name(name).qualifier(LATEST).send().await;
        let got = sent.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(got.status_reason(), None);
        assert!(got.last_modified().is_some_and(|time| time.ends_with("+0000")));
        if got.status == Some(Status::Ready) {
            return [
                got.requested_provisioned_concurrent_executions,
                got.allocated_provisioned_concurrent_executions,
                got.available_provisioned_concurrent_executions,
            ]
            .map(|count| count.expect("a number"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} does not get ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_are_there_before_anyone_calls() {
    let live = Live::start().await;
    live.create("ahead", CODE).await;
    let (status, requested) = put(&live, "ahead", 2).await;
    assert!(matches!(status, Status::InProgress | Status::Ready) && requested == 2);
    assert_eq!(ready(&live, "ahead").await, [2, 2, 2]);

    let timed = async || {
        let path = "/2015-03-31/functions/ahead/invocations";
        let answer = raw(&live.address, "POST", path, &[("x-mayfly-timing", "1")], b"{}").await;
        (answer.headers["server-timing"].clone(), answer.json())
    };
    let (timing, initialization) = timed().await;
    assert!(timing.contains("start;desc=warm") && !timing.contains("bind;"), "{timing}");
    assert_eq!(initialization, "provisioned-concurrency");
    for _ in 0..4 {
        let exited = live.invoke("ahead", &json!({"exit": true})).await.failed();
        assert_eq!(exited.0, "Runtime.ExitError");
        assert_eq!(ready(&live, "ahead").await, [2, 2, 2], "it is put back");
    }
    let (timing, initialization) = timed().await;
    assert!(timing.contains("start;desc=fresh") && initialization == "provisioned-concurrency", "{timing}");

    // Before the update has ended, what was there is Ready still.
    live.client.update_function_configuration().function_name("ahead").timeout(5).send().await.expect("it begins");
    live.wait_updated("ahead").await;
    assert_eq!(ready(&live, "ahead").await, [2, 2, 2]);
    let (timing, initialization) = timed().await;
    assert!(timing.contains("start;desc=warm") && initialization == "provisioned-concurrency", "{timing}");

    let metrics = String::from_utf8(raw(&live.address, "GET", "/metrics", &[], b"").await.body).expect("text");
    for (name, value) in [("requested", 2), ("available", 2), ("in_flight", 0), ("spilled_total", 0)] {
        let line = format!("mayfly_provisioned_concurrency_{name}{{function=\"ahead\",qualifier=\"$LATEST\"}} {value}");
        assert!(metrics.lines().any(|present| present == line), "no {line} in\n{metrics}");
    }
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_listed_refused_and_deleted_as_on_lambda() {
    let live = Live::start().await;
    live.create("listed", CODE).await;
    let list = async || {
        let sent = live.client.list_provisioned_concurrency_configs().function_name("listed").send().await;
        sent.expect("a list").provisioned_concurrency_configs.expect("a list")
    };
    let get = |qualifier| {
        live.client.get_provisioned_concurrency_config().function_name("listed").qualifier(qualifier).send()
    };
    let delete =
        || live.client.delete_provisioned_concurrency_config().function_name("listed").qualifier(LATEST).send();
    let missing = ("ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found");
    let is = |told: (String, String), (code, text): (&str, &str)| {
        assert!(told.0 == code && told.1.contains(text), "{told:?} is not {code}: {text}");
    };
    assert_eq!(list().await.len(), 0);
    is(refused(get(LATEST).await), missing);
    is(refused(delete().await), missing);
    is(refused(get("7").await), ("ResourceNotFoundException", "function:listed:7"));
    put(&live, "listed", 1).await;
    let [config] = &list().await[..] else { panic!("one is there") };
    assert_eq!(config.function_arn(), Some(&*format!("{ARN}listed:{LATEST}")));
    assert_eq!(config.requested_provisioned_concurrent_executions(), Some(1));

    let parameter = "InvalidParameterValueException";
    for (count, expected) in [
        (0, ("ValidationException", "greater than or equal to 1")),
        (101, (parameter, "at most 100 instances of a function")),
    ] {
        let sent = live.client.put_provisioned_concurrency_config().function_name("listed").qualifier(LATEST);
        is(refused(sent.provisioned_concurrent_executions(count).send().await), expected);
    }
    let reserve =
        |count| live.client.put_function_concurrency().function_name("listed").reserved_concurrent_executions(count);
    is(
        refused(reserve(0).send().await),
        (parameter, "should not be lower than function's total provisioned concurrency [1]"),
    );
    reserve(1).send().await.expect("as much as is provisioned");
    let sent = live.client.put_provisioned_concurrency_config().function_name("listed").qualifier(LATEST);
    let expected = (parameter, "should not be greater than the reservedConcurrentExecution");
    is(refused(sent.provisioned_concurrent_executions(2).send().await), expected);
    let path = "/2019-09-30/functions/listed/provisioned-concurrency";
    let unqualified = raw(&live.address, "GET", path, &[], b"").await;
    assert_eq!((unqualified.status, &*unqualified.headers["x-amzn-errortype"]), (400, "ValidationException"));

    delete().await.expect("it is there");
    is(refused(get(LATEST).await), missing);
    assert_eq!(list().await.len(), 0);
    live.stop().await;
}
