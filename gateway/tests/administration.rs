//! What surrounds functions: names, tags, concurrency, versions, packages, pages of our own; and what is refused.

mod support;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::live::{ARN, Live, package, raw};

const FUNCTIONS: &str = "/2015-03-31/functions";
const CODE: &str = "def handler(event, context):\n    print('a line')\n    return event\n";

/// Asks, and expects that status; the body is JSON or nothing.
async fn ask(live: &Live, method: &str, path: &str, body: Value, status: u16) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = raw(&live.address, method, path, &[], body.as_bytes()).await;
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{method} {path}: {text}");
    assert_eq!(answer.headers["x-amzn-requestid"].len(), 36, "every answer has one");
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

/// Asks, and expects to be refused like that.
async fn refused(live: &Live, method: &str, path: &str, body: Value, expected: (u16, &str, &str)) {
    let (status, kind, message) = expected;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = raw(&live.address, method, path, &[], body.as_bytes()).await;
    let found = answer.json();
    assert_eq!(
        (answer.status, answer.headers["x-amzn-errortype"].as_str()),
        (status, kind),
        "{method} {path}: {found}"
    );
    let text = found["message"].as_str().or(found["Message"].as_str()).expect("a message");
    assert!(text.contains(message), "{method} {path}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_has_many_names() {
    let live = Live::start().await;
    live.create("named", CODE).await;
    let whole = format!("{ARN}named");
    for name in
        ["named", "named:$LATEST", "named%3A%24LATEST", "000000000000:named", "000000000000:function:named", &whole]
    {
        let found = ask(&live, "GET", &format!("{FUNCTIONS}/{name}/configuration"), Value::Null, 200).await;
        assert_eq!(found["FunctionName"], "named", "{name}");
        assert_eq!(ask(&live, "POST", &format!("{FUNCTIONS}/{name}/invocations"), json!([1]), 200).await, json!([1]));
    }
    let found = ask(&live, "GET", &format!("{FUNCTIONS}/named?Qualifier=$LATEST"), Value::Null, 200).await;
    assert_eq!(found["Configuration"]["FunctionArn"], format!("{whole}:$LATEST"));

    let not_found = "ResourceNotFoundException";
    for (path, expected) in [
        ("named:7", (404, not_found, "named:7")),
        ("named?Qualifier=live", (404, not_found, "named:live")),
        ("other", (404, not_found, "function:other")),
        (
            "named:$LATEST?Qualifier=1",
            (400, "InvalidParameterValueException", "does not match the specified qualifier"),
        ),
        ("named?Qualifier=a%20b", (400, "ValidationException", "at 'qualifier' failed to satisfy")),
        ("a%20b", (400, "ValidationException", "Value 'a b' at 'functionName'")),
        ("arn:aws:lambda:eu-west-1:000000000000:function:named", (404, not_found, "'eu-west-1' are not reachable")),
        ("arn:aws:lambda:us-east-1:999999999999:function:named", (403, "AccessDeniedException", "999999999999")),
    ] {
        refused(&live, "GET", &format!("{FUNCTIONS}/{path}"), Value::Null, expected).await;
    }
    let last = "$LATEST version cannot be deleted without deleting the function.";
    refused(
        &live,
        "DELETE",
        &format!("{FUNCTIONS}/named:$LATEST"),
        Value::Null,
        (400, "InvalidParameterValueException", last),
    )
    .await;
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_come_and_go() {
    let live = Live::start().await;
    live.create_with("tagged", CODE, &[("team", "x")]).await;
    let path = format!("/2017-03-31/tags/{ARN}tagged");
    assert_eq!(ask(&live, "GET", &path, Value::Null, 200).await, json!({"Tags": {"team": "x"}}));
    ask(&live, "POST", &path, json!({"Tags": {"a": "1", "b c": "2"}}), 204).await;
    ask(&live, "DELETE", &format!("{path}?tagKeys=team&tagKeys=b%20c&tagKeys=never"), Value::Null, 204).await;
    assert_eq!(ask(&live, "GET", &path, Value::Null, 200).await, json!({"Tags": {"a": "1"}}));
    let found = ask(&live, "GET", &format!("{FUNCTIONS}/tagged"), Value::Null, 200).await;
    assert_eq!(found["Tags"], json!({"a": "1"}));
    ask(&live, "DELETE", &format!("{path}?tagKeys=a"), Value::Null, 204).await;
    assert!(ask(&live, "GET", &format!("{FUNCTIONS}/tagged"), Value::Null, 200).await.get("Tags").is_none());

    let parameter = "InvalidParameterValueException";
    let many: serde_json::Map<String, Value> = (0..51).map(|n| (format!("k{n}"), json!("v"))).collect();
    for (method, path, body, expected) in [
        ("POST", path.clone(), json!({"Tags": many}), (400, parameter, "Number of tags exceeds resource tag limit.")),
        ("POST", path.clone(), json!({"Tags": {"mayfly:state": "cold"}}), (400, parameter, "fresh")),
        ("POST", path.clone(), json!({}), (400, "ValidationException", "Value null at 'tags'")),
        (
            "DELETE",
            path.clone(),
            Value::Null,
            (
                400,
                "ValidationException",
                "Value null at 'tagKeys' failed to satisfy constraint: Member must not be null",
            ),
        ),
        (
            "GET",
            format!("{path}:1"),
            Value::Null,
            (400, parameter, "Tags on function aliases and versions are not supported."),
        ),
        (
            "GET",
            "/2017-03-31/tags/tagged".into(),
            Value::Null,
            (400, "ValidationException", "Value 'tagged' at 'resource'"),
        ),
        (
            "GET",
            format!("/2017-03-31/tags/{ARN}none"),
            Value::Null,
            (404, "ResourceNotFoundException", "function:none"),
        ),
    ] {
        refused(&live, method, &path, body, expected).await;
    }
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_concurrency_limits_and_is_shown() {
    let live = Live::start().await;
    live.create("reserved", CODE).await;
    let (put, get) = ("/2017-10-31/functions/reserved/concurrency", "/2019-09-30/functions/reserved/concurrency");
    let invoke = format!("{FUNCTIONS}/reserved/invocations");
    assert_eq!(ask(&live, "GET", get, Value::Null, 200).await, json!({}));

    let zero = json!({"ReservedConcurrentExecutions": 0});
    assert_eq!(ask(&live, "PUT", put, zero.clone(), 200).await, zero);
    assert_eq!(ask(&live, "GET", get, Value::Null, 200).await, zero);
    let found = ask(&live, "GET", &format!("{FUNCTIONS}/reserved"), Value::Null, 200).await;
    assert_eq!(found["Concurrency"], zero);
    let throttled = raw(&live.address, "POST", &invoke, &[], b"{}").await;
    let reason = "ReservedFunctionConcurrentInvocationLimitExceeded";
    assert_eq!(throttled.status, 429);
    assert_eq!(throttled.json(), json!({"message": "Rate Exceeded.", "Type": "User", "Reason": reason}));
    assert!(throttled.headers["retry-after"].parse::<u32>().is_ok_and(|seconds| seconds >= 1));

    ask(&live, "DELETE", put, Value::Null, 204).await;
    assert_eq!(ask(&live, "POST", &invoke, json!(1), 200).await, json!(1));
    let too_many = json!({"ReservedConcurrentExecutions": 901});
    refused(&live, "PUT", put, too_many, (400, "InvalidParameterValueException", "UnreservedConcurrentExecution"))
        .await;
    let negative = json!({"ReservedConcurrentExecutions": -1});
    refused(&live, "PUT", put, negative, (400, "ValidationException", "Value '-1' at 'reservedConcurrentExecutions'"))
        .await;
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_terraform_reads_is_there() {
    let live = Live::start().await;
    live.create("read", CODE).await;
    let versions = ask(&live, "GET", &format!("{FUNCTIONS}/read/versions"), Value::Null, 200).await;
    assert_eq!(versions["Versions"][0]["FunctionArn"], format!("{ARN}read:$LATEST"));
    assert_eq!(versions["Versions"].as_array().map(Vec::len), Some(1));
    assert_eq!(ask(&live, "GET", "/2020-06-30/functions/read/code-signing-config", Value::Null, 200).await, json!({}));
    let account = ask(&live, "GET", "/2016-08-19/account-settings", Value::Null, 200).await;
    assert_eq!(
        (&account["AccountLimit"]["ConcurrentExecutions"], &account["AccountUsage"]["FunctionCount"]),
        (&json!(1000), &json!(1))
    );

    let found = ask(&live, "GET", &format!("{FUNCTIONS}/read"), Value::Null, 200).await;
    let location = found["Code"]["Location"].as_str().expect("an address");
    let path = location.strip_prefix(&format!("http://{}", live.address)).expect("on this server");
    let zip = raw(&live.address, "GET", path, &[], b"").await;
    assert_eq!((zip.status, zip.body), (200, package(&[("handler.py", CODE)])));
    refused(
        &live,
        "GET",
        "/mayfly/v1/packages/..%2f..%2fcatalog",
        Value::Null,
        (404, "ResourceNotFoundException", "SHA-256"),
    )
    .await;
    refused(
        &live,
        "GET",
        &format!("/mayfly/v1/packages/{}", "0".repeat(64)),
        Value::Null,
        (404, "ResourceNotFoundException", ""),
    )
    .await;
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_do_nothing() {
    use base64::Engine as _;
    let live = Live::start().await;
    live.create("dry", CODE).await;
    let before = ask(&live, "GET", &format!("{FUNCTIONS}/dry/configuration"), Value::Null, 200).await;
    let other = package(&[("handler.py", "def handler(event, context):\n    return 'other'\n")]);
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let request = json!({"ZipFile": encode(&other), "DryRun": true});
    let dry = ask(&live, "PUT", &format!("{FUNCTIONS}/dry/code"), request, 200).await;
    assert_eq!(dry["CodeSha256"], encode(&Sha256::digest(&other)));
    assert_eq!(ask(&live, "GET", &format!("{FUNCTIONS}/dry/configuration"), Value::Null, 200).await, before);
    assert_eq!(ask(&live, "POST", &format!("{FUNCTIONS}/dry/invocations"), json!(1), 200).await, json!(1));
    let none = (400, "InvalidParameterValueException", "Please provide a source for function code.");
    refused(&live, "PUT", &format!("{FUNCTIONS}/dry/code"), json!({}), none).await;
    let unreadable = (400, "InvalidParameterValueException", "Could not unzip uploaded file. Please check your file");
    refused(&live, "PUT", &format!("{FUNCTIONS}/dry/code"), json!({"ZipFile": encode(b"no zip")}), unreadable).await;
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invoke_takes_any_json_and_nothing_else() {
    let live = Live::start().await;
    live.create("echo", CODE).await;
    let path = format!("{FUNCTIONS}/echo/invocations");
    for event in ["null", "7", "\"ä\\u0000\"", "[]", " {\"a\": {}} ", "1e400"] {
        let answer = raw(&live.address, "POST", &path, &[], event.as_bytes()).await;
        assert_eq!(answer.status, 200, "{event}");
    }
    assert_eq!(raw(&live.address, "POST", &path, &[], b"").await.json(), json!({}), "nothing counts as {{}}");
    // As deep as an event may be, the machine that reads it is the only one to suffer.
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(raw(&live.address, "POST", &path, &[], deep.as_bytes()).await.status, 200);
    for event in [&b"{"[..], b"\xff", b"{} {}", b"NaN"] {
        let answer = raw(&live.address, "POST", &path, &[], event).await;
        assert_eq!(
            (answer.status, answer.headers["x-amzn-errortype"].as_str()),
            (400, "InvalidRequestContentException")
        );
    }
    for (header, value, message) in [
        (
            "x-amz-invocation-type",
            "Later",
            "Value 'Later' at 'invocationType' failed to satisfy constraint: Member must satisfy enum value set: [Event, RequestResponse, DryRun]",
        ),
        (
            "x-amz-log-type",
            "Head",
            "Value 'Head' at 'logType' failed to satisfy constraint: Member must satisfy enum value set: [None, Tail]",
        ),
        ("x-amz-client-context", "no base64", "Client context"),
    ] {
        let answer = raw(&live.address, "POST", &path, &[(header, value)], b"{}").await;
        assert_eq!(answer.status, 400);
        assert!(answer.json()["message"].as_str().expect("text").contains(message), "{}", answer.json());
    }
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_event_passes_and_one_more_byte_does_not() {
    let live = Live::start().await;
    let code = "def handler(event, context):\n    return len(event)\n";
    live.create("large", code).await;
    let path = format!("{FUNCTIONS}/large/invocations");
    let event = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2)).into_bytes();
    let answer = raw(&live.address, "POST", &path, &[], &event(6_291_556)).await;
    assert_eq!((answer.status, answer.json()), (200, json!(6_291_554)));
    let answer = raw(&live.address, "POST", &path, &[], &event(6_291_557)).await;
    assert_eq!((answer.status, answer.headers["x-amzn-errortype"].as_str()), (413, "RequestEntityTooLargeException"));
    let too_large = raw(&live.address, "POST", FUNCTIONS, &[], &vec![b' '; 70_167_212]).await;
    assert_eq!(too_large.status, 413);
    assert_eq!(
        too_large.json(),
        json!({"message": "Request must be smaller than 70167211 bytes for the CreateFunction operation"})
    );
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_check_what_they_are_asked() {
    let live = Live::start().await;
    for (query, expected) in [
        (
            "FunctionVersion=invalid",
            (
                400,
                "ValidationException",
                "Value 'invalid' at 'functionVersion' failed to satisfy constraint: Member must satisfy enum value set: [ALL]",
            ),
        ),
        ("MaxItems=0", (400, "ValidationException", "Value '0' at 'maxItems'")),
        ("MaxItems=10001", (400, "ValidationException", "less than or equal to 10000")),
        ("MaxItems=x", (400, "SerializationException", "Integer")),
        ("Marker=%25", (400, "InvalidParameterValueException", "marker")),
    ] {
        refused(&live, "GET", &format!("{FUNCTIONS}?{query}"), Value::Null, expected).await;
    }
    assert_eq!(ask(&live, "GET", &format!("{FUNCTIONS}/"), Value::Null, 200).await, json!({"Functions": []}));
    refused(
        &live,
        "POST",
        &format!("{FUNCTIONS}/f/aliases"),
        json!({}),
        (501, "NotImplementedException", "CreateAlias"),
    )
    .await;
    refused(
        &live,
        "GET",
        "/2099-01-01/nothing",
        Value::Null,
        (404, "UnknownOperationException", "/2099-01-01/nothing"),
    )
    .await;
    refused(&live, "PATCH", &format!("{FUNCTIONS}/f"), Value::Null, (404, "UnknownOperationException", "PATCH")).await;
    live.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_pages_tell_how_it_is() {
    let live = Live::start().await;
    live.create("logged", CODE).await;
    assert_eq!(raw(&live.address, "GET", "/healthz", &[], b"").await.body, b"ok\n");
    assert_eq!(ask(&live, "GET", "/readyz", Value::Null, 200).await["ready"], json!(true));
    live.invoke("logged", &json!({})).await.good();
    let status = ask(&live, "GET", "/mayfly/v1/status", Value::Null, 200).await;
    assert_eq!((&status["functions"], &status["invocations_total"]), (&json!(1), &json!(1)));

    let path = "/mayfly/v1/functions/logged/logs";
    let page = ask(&live, "GET", path, Value::Null, 200).await;
    let lines = page["lines"].as_array().expect("lines");
    let line = lines.iter().find(|line| line["text"] == "a line").expect("the function's line");
    assert_eq!(line["request_id"].as_str().map(str::len), Some(36));
    let after = lines.last().expect("a line")["sequence"].as_u64().expect("a number");
    assert_eq!(ask(&live, "GET", &format!("{path}?after={after}"), Value::Null, 200).await, json!({"lines": []}));
    assert_eq!(
        ask(&live, "GET", &format!("{path}?limit=1"), Value::Null, 200).await["lines"].as_array().map(Vec::len),
        Some(1)
    );
    refused(
        &live,
        "GET",
        &format!("{path}?after=x"),
        Value::Null,
        (400, "InvalidParameterValueException", "not a number"),
    )
    .await;
    refused(
        &live,
        "GET",
        "/mayfly/v1/functions/none/logs",
        Value::Null,
        (404, "ResourceNotFoundException", "function:none"),
    )
    .await;
    live.stop().await;
}
