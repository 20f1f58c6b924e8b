//! Lambda's operations through AWS's own client, on real guests.

mod support;

use std::time::Duration;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Environment, FunctionCode, InvocationType, LastUpdateStatus, LogType, Runtime, State};
use base64::Engine;
use serde_json::{Value, json};
use support::live::{ARN, Answer, Live, ROLE, package, raw, refused, zip_code};

const HELLO: &str = "def handler(event, context):\n    print('hi')\n    return {'hello': event.get('name', 'world')}\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_function_lives_from_create_to_delete() {
    let live = Live::start().await;
    let created = live
        .client
        .create_function()
        .function_name("life")
        .role(ROLE)
        .runtime(Runtime::from("rustpython"))
        .handler("handler.handler")
        .environment(Environment::builder().variables("STAGE", "test").build())
        .code(zip_code(&package(&[("handler.py", HELLO)])))
        .send()
        .await
        .expect("created");
    assert_eq!(created.state(), Some(&State::Pending));
    assert_eq!(created.state_reason(), Some("The function is being created."));
    assert_eq!(created.last_update_status(), None);
    assert_eq!(created.function_arn(), Some(format!("{ARN}life").as_str()));
    assert_eq!((created.memory_size(), created.timeout(), created.version()), (Some(128), Some(3), Some("$LATEST")));
    live.wait_active("life").await;

    let configuration = live.client.get_function_configuration().function_name("life").send().await.expect("there");
    assert_eq!(configuration.state(), Some(&State::Active));
    assert_eq!(configuration.last_update_status(), Some(&LastUpdateStatus::Successful));
    assert_ne!(configuration.revision_id(), created.revision_id());
    assert_eq!(configuration.code_sha256(), created.code_sha256());

    let found = live.client.get_function().function_name(format!("{ARN}life")).send().await.expect("there");
    let location = found.code().and_then(|code| code.location()).expect("a location").to_owned();
    let path = location.split_once(&live.address).expect("on this server").1;
    let downloaded = raw(&live.address, "GET", path, &[], b"").await;
    assert_eq!((downloaded.status, &downloaded.body[..2]), (200, &b"PK"[..]));

    assert_eq!(live.invoke("life", &json!({"name": "you"})).await.good(), json!({"hello": "you"}));

    let changed = "def handler(event, context):\n    import os\n    return os.environ['STAGE'] + os.environ['AWS_LAMBDA_FUNCTION_MEMORY_SIZE']\n";
    let updated = live
        .client
        .update_function_code()
        .function_name("life")
        .zip_file(Blob::new(package(&[("handler.py", changed)])));
    let updated = updated.send().await.expect("updated");
    assert_ne!(updated.code_sha256(), created.code_sha256());
    live.wait_updated("life").await;
    assert_eq!(live.invoke("life", &json!({})).await.good(), json!("test128"));
    live.client
        .update_function_configuration()
        .function_name("life")
        .memory_size(256)
        .environment(Environment::builder().variables("STAGE", "prod").build())
        .send()
        .await
        .expect("updated");
    live.wait_updated("life").await;
    assert_eq!(live.invoke("life", &json!({})).await.good(), json!("prod256"));

    live.client.delete_function().function_name("life").send().await.expect("deleted");
    let (code, message) = refused(live.client.get_function().function_name("life").send().await);
    assert_eq!(code, "ResourceNotFoundException");
    assert_eq!(message, format!("Function not found: {ARN}life"));
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_listed_in_pages() {
    let live = Live::start().await;
    for name in ["one", "two", "three"] {
        live.create(name, HELLO).await;
    }
    let pages = live.client.list_functions().max_items(2).into_paginator().items().send();
    let functions: Vec<_> = pages.collect::<Result<Vec<_>, _>>().await.expect("listed");
    let mut names: Vec<_> = functions.iter().filter_map(|function| function.function_name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["one", "three", "two"]);
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invocations_tell_what_lambda_tells() {
    let live = Live::start().await;
    live.create("tail", HELLO).await;
    let sent = live.client.invoke().function_name("tail").log_type(LogType::Tail).payload(Blob::new("{}")).send().await;
    let output = sent.expect("invoked");
    assert_eq!((output.status_code(), output.executed_version()), (200, Some("$LATEST")));
    let log = base64::engine::general_purpose::STANDARD.decode(output.log_result().expect("a log")).expect("base64");
    let log = String::from_utf8(log).expect("text");
    let lines: Vec<&str> = log.lines().collect();
    assert!(lines[0].starts_with("START RequestId: ") && lines[0].ends_with(" Version: $LATEST"), "{log}");
    assert!(lines.contains(&"hi"), "{log}");
    let report = lines.last().expect("lines");
    assert!(
        report.starts_with("REPORT RequestId: ") && report.contains("\tMemory Size: 128 MB\tMax Memory Used: "),
        "{log}"
    );

    let dry = live.client.invoke().function_name("tail").invocation_type(InvocationType::DryRun).send().await;
    assert_eq!(dry.expect("allowed").status_code(), 204);
    let later = live.client.invoke().function_name("tail").invocation_type(InvocationType::Event).send().await;
    assert!(!refused(later).1.is_empty());

    let (code, message) = refused(live.client.invoke().function_name("nobody").send().await);
    assert_eq!(
        (code.as_str(), message),
        ("ResourceNotFoundException", format!("Function not found: {ARN}nobody:$LATEST"))
    );
    let bad = raw(&live.address, "POST", "/2015-03-31/functions/tail/invocations", &[], b"{not json").await;
    assert_eq!((bad.status, bad.headers["x-amzn-errortype"].as_str()), (400, "InvalidRequestContentException"));
    assert!(
        bad.json()["message"].as_str().is_some_and(|text| text.starts_with("Could not parse request body into json"))
    );
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_context_is_lambdas() {
    let code = "def handler(event, context):\n    return [context.function_name, context.function_version, \
                context.invoked_function_arn, context.memory_limit_in_mb, context.log_group_name, \
                0 < context.get_remaining_time_in_millis() <= 3000, context.client_context.custom]\n";
    let live = Live::start().await;
    live.create("context", code).await;
    let client_context = base64::engine::general_purpose::STANDARD.encode(r#"{"custom":{"a":"b"}}"#);
    let sent =
        live.client.invoke().function_name("context").client_context(client_context).payload(Blob::new("{}")).send();
    let answer = Answer::of(sent.await.expect("invoked")).good();
    let arn = format!("{ARN}context");
    assert_eq!(answer, json!(["context", "$LATEST", arn, "128", "/aws/lambda/context", true, {"a": "b"}]));
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_import_says_so_when_invoked() {
    let live = Live::start().await;
    let cases = [
        ("missing", "import nowhere_to_be_found\n", "Runtime.ImportModuleError", "Unable to import module 'handler': "),
        ("nohandler", "x = 1\n", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'handler'"),
        ("syntax", "def handler(:\n", "Runtime.UserCodeSyntaxError", "Syntax error in module 'handler': "),
        ("raises", "raise KeyError('k')\n", "KeyError", "'k'"),
    ];
    for (name, code, kind, message) in cases {
        live.create(name, code).await;
        let (found_kind, found_message) = live.invoke(name, &json!({})).await.failed();
        assert_eq!(found_kind, kind);
        assert!(found_message.starts_with(message), "{found_message}");
    }
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_crash_ends_alone() {
    let live = Live::start().await;
    let exit = "Runtime.ExitError";
    let cases: &[(Value, &str, &str)] = &[
        (json!({"how": "exception", "message": "m"}), "RuntimeError", "m"),
        (json!({"how": "unserializable"}), "Runtime.MarshalError", "Unable to marshal response: "),
        (json!({"how": "exit"}), exit, "Runtime exited without providing a reason"),
        (json!({"how": "exit_code", "code": 3}), exit, "Runtime exited with error: exit status 3"),
        (json!({"how": "abort"}), exit, "signal: aborted"),
        (json!({"how": "wild_pointer"}), exit, "signal: segmentation fault"),
        (json!({"how": "deep_json"}), exit, "signal: segmentation fault"),
        (json!({"how": "memory"}), "Runtime.OutOfMemory", "signal: killed"),
        (json!({"how": "loop"}), "Sandbox.Timedout", "Task timed out after 3.00 seconds"),
    ];
    for state in ["reuse", "fresh"] {
        let name = format!("crash-{state}");
        let code =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../functions/crash/handler.py")).unwrap();
        live.create_with(&name, &code, &[("mayfly:state", state)]).await;
        for (event, kind, message) in cases {
            let (found_kind, found_message) = live.invoke(&name, event).await.failed();
            assert_eq!(&found_kind, kind, "{state} {event}: {found_message}");
            assert!(found_message.contains(message), "{state} {event}: {found_message}");
            assert_eq!(
                live.invoke(&name, &json!({})).await.good(),
                json!({"survived": true}),
                "after {event}, {state}"
            );
        }
    }
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_counter_counts_in_reuse_and_never_leaves_one_in_fresh() {
    let code = "n = 0\ndef handler(event, context):\n    global n\n    n += 1\n    return n\n";
    let live = Live::start().await;
    live.create_with("counts", code, &[("mayfly:state", "reuse")]).await;
    live.create_with("forgets", code, &[("mayfly:state", "fresh")]).await;
    for expected in 1..=20 {
        assert_eq!(live.invoke("counts", &json!({})).await.good(), json!(expected));
        assert_eq!(live.invoke("forgets", &json!({})).await.good(), json!(1));
    }
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_packages_are_refused() {
    let live = Live::start().await;
    let climbing = package(&[("../../etc/passwd", "x"), ("handler.py", HELLO)]);
    let absolute = package(&[("/etc/passwd", "x")]);
    let mut cut = package(&[("handler.py", HELLO)]);
    cut.truncate(40);
    for bytes in [climbing, absolute, cut, b"not a zip".to_vec(), Vec::new()] {
        let sent = live
            .client
            .create_function()
            .function_name("hostile")
            .role(ROLE)
            .runtime(Runtime::from("rustpython"))
            .handler("handler.handler")
            .code(zip_code(&bytes))
            .send();
        let (code, message) = refused(sent.await);
        assert!(
            ["InvalidParameterValueException", "ValidationException"].contains(&code.as_str()),
            "{code}: {message}"
        );
    }
    let (code, _) = refused(live.client.get_function().function_name("hostile").send().await);
    assert_eq!(code, "ResourceNotFoundException");
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_lambdas_words() {
    let live = Live::start().await;
    live.create("twice", HELLO).await;
    let create = |name: &str, runtime: &str, code: FunctionCode| {
        live.client
            .create_function()
            .function_name(name)
            .role(ROLE)
            .runtime(Runtime::from(runtime))
            .handler("handler.handler")
            .code(code)
            .send()
    };
    let good = || zip_code(&package(&[("handler.py", HELLO)]));
    let (code, message) = refused(create("twice", "rustpython", good()).await);
    assert_eq!((code.as_str(), message.as_str()), ("ResourceConflictException", "Function already exist: twice"));
    let (code, message) = refused(create("other", "cobol", good()).await);
    assert_eq!(code, "InvalidParameterValueException");
    assert!(message.contains("cobol") && message.contains("rustpython"), "{message}");
    let s3 = FunctionCode::builder().s3_bucket("b").s3_key("k").build();
    assert_eq!(refused(create("other", "rustpython", s3).await).0, "InvalidParameterValueException");
    let (code, message) = refused(create("not a name", "rustpython", good()).await);
    assert_eq!(code, "ValidationException");
    assert!(message.starts_with("1 validation error detected: Value 'not a name' at 'functionName'"), "{message}");
    let stale = live.client.update_function_code().function_name("twice").revision_id("stale");
    let stale = stale.zip_file(Blob::new(package(&[("handler.py", HELLO)]))).send();
    assert_eq!(refused(stale.await).0, "PreconditionFailedException");
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invocation_that_waits_does_not_hold_up_others() {
    let code = "import time\ndef handler(event, context):\n    time.sleep(event.get('s', 0))\n    return True\n";
    let live = Live::start().await;
    live.create("sleeper", code).await;
    let long = json!({"s": 2});
    let slow = live.invoke("sleeper", &long);
    let quick = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        live.invoke("sleeper", &json!({})).await.good()
    };
    let mut slow = Box::pin(slow);
    tokio::select! {
        answer = &mut slow => panic!("the slow one was first: {answer:?}"),
        answer = quick => assert_eq!(answer, json!(true)),
    }
    assert_eq!(slow.await.good(), json!(true));
    live.stop().await;
}

/// Far more than the machine can carry out, for seconds: all of it is answered or refused as Lambda refuses, what was refused has not run,
/// and another function does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_refused_and_never_runs() {
    let work = "def handler(event, context):\n    return sum(i * i for i in range(event['n']))\n";
    let live = Live::start().await;
    live.create("flooded", work).await;
    live.create_example("hello", &[]).await;
    let begun = std::time::Instant::now();
    let refused_at_all = std::sync::atomic::AtomicBool::new(false);
    // Callers who call again at once, for two seconds, and for longer if nothing was refused by then.
    let callers = (0..80).map(|_| async {
        let (mut answered, mut refusals) = (0, 0);
        while begun.elapsed() < Duration::from_secs(2) || !refused_at_all.load(std::sync::atomic::Ordering::Relaxed) {
            assert!(begun.elapsed() < Duration::from_secs(100), "nothing was refused");
            let event = Blob::new(json!({"n": 100_000}).to_string());
            match live.client.invoke().function_name("flooded").payload(event).send().await {
                Ok(_) => answered += 1,
                Err(error) => {
                    let error = error.into_service_error();
                    assert!(error.is_too_many_requests_exception(), "{error:?}");
                    refused_at_all.store(true, std::sync::atomic::Ordering::Relaxed);
                    refusals += 1;
                }
            }
        }
        (answered, refusals)
    });
    let neighbour = async {
        while begun.elapsed() < Duration::from_secs(2) {
            live.invoke("hello", &json!({"name": "you"})).await.good();
        }
    };
    let (counts, ()) = tokio::join!(at_once(callers), neighbour);
    let (answered, refusals) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    assert!(answered > 0 && refusals > 0, "{answered} answered, {refusals} refused");
    assert_eq!(live.starts_of("flooded").await, answered, "what was refused has not run");
    live.invoke("flooded", &json!({"n": 1})).await.good();
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_never_repeat_what_should_be_random() {
    let live = Live::start().await;
    live.create_example("random", &[("mayfly:state", "fresh")]).await;
    let mut seen = std::collections::HashSet::new();
    // Fifty at a time, so that there are many machines of the same snapshot, each put back to it again and again.
    for _ in 0..4 {
        let answers = (0..50).map(|_| async { live.invoke("random", &json!({})).await.good() });
        for answer in at_once(answers).await {
            for value in ["float", "uuid1", "uuid4", "token", "file_name"].map(|key| answer[key].to_string()) {
                assert!(seen.insert(value.clone()), "{value} came twice");
            }
            assert!(seen.insert(answer["integers"].to_string()), "{answer} came twice");
        }
    }
    assert_eq!(seen.len(), 200 * 6);
    live.stop().await;
}

/// Runs them all at the same time.
async fn at_once<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(move |cx| {
        for (future, answer) in &mut running {
            if answer.is_none()
                && let std::task::Poll::Ready(done) = future.as_mut().poll(cx)
            {
                *answer = Some(done);
            }
        }
        if running.iter().all(|(_, answer)| answer.is_some()) {
            return std::task::Poll::Ready(running.drain(..).filter_map(|(_, answer)| answer).collect());
        }
        std::task::Poll::Pending
    })
    .await
}
