//! Nothing random repeats in a clone.
//!
//! A host process cannot be cloned as a machine is, so a test sets every generator to the same state and then says that
//! memory was restored: what comes out must not be what that state gives.

use crate::driver::{Answer, FLAG_RESTORED, INIT, INVOKE, Program, invocation_meta};
use serde_json::json;

#[test]
fn generators_are_seeded_anew() {
    let mut program = Program::with_handler(
        "import random, tempfile, uuid
def state():
    return [random.getrandbits(64), next(tempfile._get_candidate_names()), str(uuid.uuid1())[19:], uuid.getnode()]
def handler(event, context):
    if event == 'same':
        random.seed(1)
        tempfile._get_candidate_names().rng.seed(1)
        uuid._node = 5
    return state()",
    );
    program.invoke(&json!("same"));
    let unchanged = program.invoke(&json!("same")).value();
    assert_eq!(program.invoke(&json!("same")).value()[0], unchanged[0], "the states are really the same");

    program.invoke(&json!("same"));
    let restored = program.send(INVOKE, FLAG_RESTORED, &invocation_meta(), b"\"\"").value();
    program.invoke(&json!("same"));
    let restored_again = program.send(INVOKE, FLAG_RESTORED, &invocation_meta(), b"\"\"").value();
    for i in 0..4 {
        assert_ne!(restored[i], unchanged[i], "{i}");
        assert_ne!(restored[i], restored_again[i], "{i}");
    }
}

#[test]
fn initialization_after_a_restore_is_random_too() {
    let source = "import random\nfirst = random.getrandbits(64)\ndef handler(event, context): return first";
    let numbers = [(); 2].map(|()| {
        let mut program = Program::start(&[("app.py", source)]);
        let meta = json!({"handler": "app.handler", "environment": {"LAMBDA_TASK_ROOT": program.task_root()}});
        assert_eq!(program.send(INIT, FLAG_RESTORED, &meta, b""), Answer::InitOk);
        program.invoke(&json!({})).value()
    });
    assert_ne!(numbers[0], numbers[1]);
}

#[test]
fn what_the_machine_is_called_changes_with_it() {
    let mut program = Program::with_handler(
        "import os\ndef handler(event, context): return [os.environ['KEY'], os.environ['TZ'], context.log_stream_name]",
    );
    let mut meta = invocation_meta();
    meta["restore"] = json!({"environment": {"KEY": "new"}, "log_stream_name": "after"});
    for meta in [meta, invocation_meta()] {
        assert_eq!(program.send(INVOKE, FLAG_RESTORED, &meta, b"{}").value(), json!(["new", ":UTC", "after"]));
    }
}

#[test]
fn randomness_is_the_kernels() {
    let mut program = Program::with_handler(
        "import os, secrets, uuid, random\ndef handler(event, context):
    os.urandom(8), secrets.token_hex(8), uuid.uuid4(), random.seed()
    paths = ['/proc/self/fd/' + name for name in os.listdir('/proc/self/fd')]
    return [os.readlink(path) for path in paths if os.path.exists(path)]",
    );
    let files = program.invoke(&json!({})).value().to_string();
    assert!(!files.contains("random"), "no device is kept open to be read instead: {files}");
}

#[test]
fn callbacks_are_called_after_a_restore_and_may_fail() {
    let mut program = Program::with_handler(
        "import mayfly
calls = 0
@mayfly.on_restore
def renew():
    global calls
    calls += 1
    if calls == 1: raise OSError('not yet')
def handler(event, context): return calls",
    );
    assert_eq!(program.invoke(&json!({})).value(), json!(0));
    let error = program.send(INVOKE, FLAG_RESTORED, &invocation_meta(), b"{}").error();
    assert_eq!((&error["errorType"], &error["errorMessage"]), (&json!("OSError"), &json!("not yet")));
    for _ in 0..2 {
        assert_eq!(program.invoke(&json!({})).value(), json!(2), "again before the next event, and then no more");
    }
}
