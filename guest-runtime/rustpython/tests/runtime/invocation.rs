//! Context, environment, state between invocations.

use crate::driver::{INVOKE, Program, invocation_meta};
use serde_json::json;

#[test]
fn the_context_of_a_plain_invocation() {
    let mut program = Program::with_handler(
        "def handler(event, context):
    return [context.aws_request_id, context.invoked_function_arn, context.function_name, context.function_version,
            context.memory_limit_in_mb, context.log_group_name, context.log_stream_name, context.client_context,
            context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id, context.tenant_id]",
    );
    assert_eq!(
        program.invoke(&json!({})).value(),
        json!([
            "00000000-0000-4000-8000-000000000001",
            "arn:aws:lambda:us-east-1:123456789012:function:f",
            "f",
            "7",
            "128",
            "/aws/lambda/f",
            "before",
            null,
            null,
            null,
            null
        ])
    );
}

#[test]
fn what_the_caller_says_of_itself() {
    let mut program = Program::with_handler(
        "def handler(event, context):
    known = context.client_context
    return [known.custom, known.env, known.client.app_title, known.client.installation_id,
            context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id, context.tenant_id]",
    );
    let mut meta = invocation_meta();
    meta["client_context"] = json!({"custom": {"a": 1}, "env": {"b": "2"}, "client": {"app_title": "t"}});
    meta["identity"] = json!({"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"});
    meta["tenant_id"] = json!("tenant");
    assert_eq!(
        program.send(INVOKE, 0, &meta, b"{}").value(),
        json!([{"a": 1}, {"b": "2"}, "t", null, "i", "p", "tenant"])
    );
}

#[test]
fn the_remaining_time_runs_out() {
    let mut program = Program::with_handler(
        "import time\ndef handler(event, context):
    before = context.get_remaining_time_in_millis()
    time.sleep(0.05)
    return [type(before).__name__, before, context.get_remaining_time_in_millis()]",
    );
    let times = program.invoke(&json!({})).value();
    let [before, after] = [1, 2].map(|i| times[i].as_u64().expect("a number"));
    assert_eq!(times[0], "int");
    assert!(before <= 3_000 && before > 1_000 && before - after >= 50, "{before} {after}");

    let mut meta = invocation_meta();
    meta["deadline_ms"] = json!(1);
    assert_eq!(program.send(INVOKE, 0, &meta, b"{}").value(), json!(["int", 0, 0]));
}

#[test]
fn the_trace_id_comes_and_goes() {
    let mut program =
        Program::with_handler("import os\ndef handler(event, context): return os.environ.get('_X_AMZN_TRACE_ID')");
    for trace_id in [json!("Root=1-a"), json!("Root=1-b"), json!(null), json!(null)] {
        let mut meta = invocation_meta();
        meta["trace_id"] = trace_id.clone();
        assert_eq!(program.send(INVOKE, 0, &meta, b"{}").value(), trace_id);
    }
}

#[test]
fn globals_live_on() {
    let mut program = Program::with_handler("n = 0\ndef handler(event, context):\n  global n\n  n += 1\n  return n");
    for n in 1..4 {
        assert_eq!(program.invoke(&json!({})).value(), json!(n));
    }
}

#[test]
fn threads_go_on_between_invocations() {
    let mut program = Program::with_handler(
        "import threading, queue\nwork, done = queue.Queue(), queue.Queue()
def serve():
    while True: done.put(work.get() * 2)
threading.Thread(target=serve, daemon=True).start()
def handler(event, context):
    work.put(event)
    return done.get()",
    );
    for n in 1..4 {
        assert_eq!(program.invoke(&json!(n)).value(), json!(n * 2));
    }
}
